"""The specification's schemas, by which ours are judged, and the differences between the two (spec/README.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

FOLDER = Path(__file__).resolve().parents[3] / "shared/oci-runtime-spec-1.3.0"
SCHEMAS = FOLDER / "schema"
"""Next to the checkout, if someone has put them there."""

OTHER_PLATFORMS = ("freebsd", "solaris", "vm", "windows", "zos")


def validator(name: str) -> Draft4Validator:
    """The validator of "config", "state" or "features"."""
    documents = {path.name: _as_ecmascript(json.loads(path.read_text())) for path in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (file, DRAFT4.create_resource(document)) for file, document in documents.items()
    )
    return Draft4Validator(documents[f"{name}-schema.json"], registry=registry)


def _as_ecmascript(node: Any) -> Any:
    """Convert patterns to ECMAScript's meaning: $ does not match before a final newline."""
    if isinstance(node, list):
        return [_as_ecmascript(part) for part in node]
    if isinstance(node, dict):
        return {
            name: part + r"(?!\n)" if name == "pattern" and isinstance(part, str) else _as_ecmascript(part)
            for name, part in node.items()
        }
    return node


def as_published(config: Any) -> Any:
    """A config that the published schema must judge as ours judges the given one, which has no nulls."""
    config = deepcopy(config)
    if isinstance(config, dict):
        for change in DIFFERENCES.values():
            change(config)
    return config


def _found(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    """(object, name) of each member at a path such as "linux.devices[].fileMode", including absent ones."""
    first, _, rest = path.partition(".")
    name = first.removesuffix("[]")
    if not isinstance(value, dict):
        return
    if not rest:
        yield value, name
    elif first.endswith("[]"):
        for item in value[name] if isinstance(value.get(name), list) else ():
            yield from _found(item, rest)
    else:
        yield from _found(value.get(name), rest)


def _required(path: str) -> Callable[[Any], None]:
    """Ours requires the member, theirs does not: give theirs a value that it refuses instead of a missing one."""

    def change(config: Any) -> None:
        for holder, name in _found(config, path):
            holder.setdefault(name, {})

    return change


def _replaced(path: str, value: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Replace a value that only ours accepts with one that theirs accepts, if it is present."""

    def change(config: Any) -> None:
        for holder, name in _found(config, path):
            if name in holder:
                holder[name] = value(holder[name])

    return change


def _removed(path: str) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        for holder, name in _found(config, path):
            holder.pop(name, None)

    return change


def _file_mode(mode: Any) -> Any:
    return 511 if type(mode) is int and 511 < mode <= 2**32 - 1 else mode


def _propagation(kind: Any) -> Any:
    return "private" if kind in ("rprivate", "rshared", "rslave", "runbindable", "") else kind


def _default_action(action: Any) -> Any:
    return "SCMP_ACT_ALLOW" if action == "" else action


def _named_keys(strings: Any) -> Any:
    """Theirs ignores keys without a character that a dot matches."""
    return {f"x{name}": value for name, value in strings.items()} if isinstance(strings, dict) else strings


def _clocks(offsets: Any) -> Any:
    """Theirs ignores clocks other than the two existing ones."""
    if not isinstance(offsets, dict):
        return offsets
    free = [clock for clock in ("boottime", "monotonic") if clock not in offsets]
    return {clock if clock in ("boottime", "monotonic") or not free else free.pop(): offset
            for clock, offset in offsets.items()}  # fmt: skip


def _without_other_platforms(config: Any) -> None:
    for name in OTHER_PLATFORMS:
        config.pop(name, None)


def _pids_limit(config: Any) -> None:
    for holder, name in _found(config, "linux.resources.pids.limit"):
        holder.setdefault(name, 1)


DIFFERENCES: dict[str, Callable[[Any], None]] = {
    "sections of other platforms": _without_other_platforms,
    "process.commandLine": _removed("process.commandLine"),
    "process.consoleSize": _removed("process.consoleSize"),
    "process.user.username": _removed("process.user.username"),
    "annotations": _replaced("annotations", _named_keys),
    "linux.sysctl": _replaced("linux.sysctl", _named_keys),
    "linux.resources.unified": _replaced("linux.resources.unified", _named_keys),
    "linux.timeOffsets": _replaced("linux.timeOffsets", _clocks),
    "linux.devices[].fileMode": _replaced("linux.devices[].fileMode", _file_mode),
    "linux.rootfsPropagation": _replaced("linux.rootfsPropagation", _propagation),
    "linux.seccomp.defaultAction": _replaced("linux.seccomp.defaultAction", _default_action),
    "linux.resources.pids.limit": _pids_limit,
    **{
        path: _required(path)
        for path in (
            "linux.resources.blockIO.throttleReadBpsDevice[].rate",
            "linux.resources.blockIO.throttleWriteBpsDevice[].rate",
            "linux.resources.blockIO.throttleReadIOPSDevice[].rate",
            "linux.resources.blockIO.throttleWriteIOPSDevice[].rate",
            "linux.memoryPolicy.mode",
            "linux.personality.domain",
        )
    },
}
"""What differs, and how a document has to be changed for the published schema to judge it as ours does."""


def members(name: str) -> set[str]:
    """The pointer of every member in a published schema, with "*" for elements and free keys."""
    found: set[str] = set()
    documents = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}

    def walk(node: Any, file: str, pointer: str) -> None:
        if "$ref" in node:
            other, _, way = node["$ref"].partition("#")
            target = documents[other or file]
            for part in way.split("/")[1:]:
                target = target[part]
            walk(target, other or file, pointer)
            return
        for member, below in node.get("properties", {}).items():
            if pointer or member not in OTHER_PLATFORMS:
                found.add(f"{pointer}/{member}")
                walk(below, file, f"{pointer}/{member}")
        for below in [
            *([node["items"]] if "items" in node else []),
            *node.get("patternProperties", {}).values(),
            *([node["additionalProperties"]] if isinstance(node.get("additionalProperties"), dict) else []),
        ]:
            walk(below, file, pointer + "/*")
        for part in node.get("allOf", []) + node.get("anyOf", []) + node.get("oneOf", []):
            walk(part, file, pointer)

    top = f"{name}-schema.json"
    walk(documents[top], top, "")
    return found
