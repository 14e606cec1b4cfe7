"""Every place of config.json in the schema, each with a document that contains it. Derived from the schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.unit.documents import SCHEMA


class Place(NamedTuple):
    """pointer: the place in the document. node: its schema. document: a valid config that contains it."""

    pointer: str
    node: dict[str, Any]
    document: dict[str, Any]

    @property
    def field(self) -> str:
        """The name of the field: the pointer with "*" for array indices and free keys."""
        return "/".join("*" if part in ("0", KEY) else part for part in self.pointer.split("/"))


KEY = "key.x"
"""The key that stands for any in a map."""

EXAMPLES = {
    "^RLIMIT_[A-Z]+$(?!\\n)": "RLIMIT_NOFILE",
    "^[0-9, -]*$(?!\\n)": "0-1",
    "^[1-9][0-9]*[KMG]B$(?!\\n)": "2MB",
    "^[cbup]$(?!\\n)": "c",
    "^MB:[^\\n]*$(?!\\n)": "MB:0=20",
}


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """The node, or the definition that it refers to."""
    if "$ref" in node:
        return resolved(SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")])
    return node


def example(node: dict[str, Any]) -> Any:
    """The smallest value that the schema allows here."""
    node = resolved(node)
    kind = node.get("type", "anything")
    if kind in ("object", "anything"):
        properties = node.get("properties", {})
        return {name: example(properties[name]) for name in node.get("required", ())}
    if kind == "array":
        return [example(node["items"])] * node.get("minItems", 0)
    if kind == "integer":
        return max(node.get("minimum", 0), 0)
    if kind == "boolean":
        return True
    if "enum" in node:
        return node["enum"][0]
    return EXAMPLES[node["pattern"]] if "pattern" in node else "text"


def every_place() -> Iterator[Place]:
    """All places in the schema's order; objects and arrays before their content."""
    yield from _below("", SCHEMA, example(SCHEMA), [])


def every_leaf() -> Iterator[Place]:
    """The configurable places: scalars, arrays of scalars, and the values of maps."""
    for place in every_place():
        if place.node.get("type") not in ("object", "array"):
            yield place


def _below(pointer: str, node: dict[str, Any], document: Any, path: list[str]) -> Iterator[Place]:
    """path: the parts of the pointer."""
    node = resolved(node)
    children: list[tuple[str, dict[str, Any]]] = []
    kind = node.get("type", "anything")
    if kind == "array":
        children = [("0", node["items"])]
    elif "additionalProperties" in node:
        children = [(KEY, node["additionalProperties"])]
    elif kind == "object":
        children = list(node["properties"].items())
    for name, child in children:
        child = resolved(child)
        whole = with_value(document, [*path, name], example(child))
        yield Place(f"{pointer}/{name}", child, whole)
        yield from _below(f"{pointer}/{name}", child, whole, [*path, name])


def with_value(document: Any, path: list[str], value: Any) -> Any:
    """A copy of the document with the value at the path, whose parent exists. An empty array gets its first item."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(document, list):
        return [with_value(document[0] if document else None, rest, value), *document[1:]]
    return {**document, first: with_value(document.get(first), rest, value)}
