"""Config documents for the tests: real ones, generated ones, and ways to break them."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from ocipy.config import schema
from ocipy.config.check import check
from ocipy.config.semantic import errors
from ocipy.config.template import rootless_template, template

CONFIGS = Path(__file__).parent.parent / "configs"

SCHEMA = schema.load("config")


def real_configs() -> dict[str, dict[str, Any]]:
    """Name → document."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(CONFIGS.glob("*.json"))}
    return {**found, "template": template(), "rootless-template": rootless_template(1000, 1000)}


def minimal() -> dict[str, Any]:
    """The smallest config that can start."""
    return {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["true"]}}


def whole() -> Any:
    """Minimal, but complete enough for create on any host."""
    return put(minimal(), "/linux/namespaces", [{"type": "mount"}, {"type": "pid"}])


def refused_at(config: Any) -> list[str]:
    """The places that config/ reports in a config, which may lack required members."""
    whole: Any = {**minimal(), **config}
    whole["process"] = {**minimal()["process"], **(config.get("process") or {})}
    failure = check(whole)
    found = [failure] if failure is not None else errors(whole)
    return list(dict.fromkeys(pointer for pointer, _ in found))


def at(document: Any, pointer: str) -> Any:
    """The value that a JSON pointer names. Raises KeyError or IndexError if it does not exist."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def put(document: Any, pointer: str, value: Any) -> Any:
    """A copy of the document with a member set; creates objects on the way. "-" appends to an array."""
    result = deepcopy(document)
    place = result
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in parts[:-1]:
        place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
    if isinstance(place, list):
        if parts[-1] == "-":
            place.append(value)
        else:
            place[int(parts[-1])] = value
    else:
        place[parts[-1]] = value
    return result


def pointers(value: Any, pointer: str = "") -> list[str]:
    """Every place in a document except the root."""
    found = []
    if isinstance(value, dict):
        members = [(name.replace("~", "~0").replace("/", "~1"), member) for name, member in value.items()]
    else:
        members = [(str(index), item) for index, item in enumerate(value)] if isinstance(value, list) else []
    for name, member in members:
        found.append(f"{pointer}/{name}")
        found += pointers(member, f"{pointer}/{name}")
    return found


EDGES = [0, 1, -1, 65535, 65536, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64]
"""Integers next to the ends of the schema's ranges."""

WORDS = ["", "a", "RLIMIT_CORE", "RLIMIT_", "RLIMIT_x", "RLIMIT_CORE\n", "0-3,7", "0-3\n", "2MB", "02MB", "2kB"]
WORDS += ["c", "bc", "MB:0=20", "MB:\n", "L3:0=f", "mount", "SCMP_ACT_ALLOW", "SCHED_FIFO", "LINUX", "slave"]
WORDS += ["rslave", "1GB\n"]

junk = st.recursive(
    st.none() | st.booleans() | st.sampled_from(EDGES) | st.sampled_from(WORDS) | st.just(1.0) | st.just(0.5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=2),
    max_leaves=4,
)


def instances(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values for a node of the schema: mostly valid ones, sometimes null or a value of another type."""
    if "$ref" in node:
        return instances(SCHEMA["$defs"][node["$ref"].removeprefix("#/$defs/")])
    good = _good(node)
    return st.integers(0, 49).flatmap(lambda dice: junk if dice == 0 else st.none() if dice == 1 else good)


def _good(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    kind = node.get("type")
    if kind is None:
        return junk
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        low, high = node.get("minimum"), node.get("maximum")
        edges = [edge for edge in EDGES if (low is None or low <= edge) and (high is None or edge <= high)]
        return st.sampled_from(edges) | st.integers(low, high)
    if kind == "string":
        if "enum" in node:
            return st.sampled_from(node["enum"])
        if "pattern" in node:
            return st.from_regex(node["pattern"], alphabet=st.characters(max_codepoint=126)) | st.sampled_from(WORDS)
        return st.text(max_size=3)
    if kind == "array":
        return st.lists(instances(node["items"]), min_size=node.get("minItems", 0), max_size=2)
    if "additionalProperties" in node:
        return st.dictionaries(st.text(max_size=3), instances(node["additionalProperties"]), max_size=2)
    required = set(node.get("required", ()))
    members = {name: instances(member) for name, member in node["properties"].items()}
    return st.fixed_dictionaries(
        {name: strategy for name, strategy in members.items() if name in required},
        optional={name: strategy for name, strategy in members.items() if name not in required}
        | {"x-unknown": st.integers()},
    )


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A real config with up to three places removed, replaced by junk, or by the value of another place."""
    document = deepcopy(draw(st.sampled_from(list(real_configs().values()))))
    for _ in range(draw(st.integers(1, 3))):
        places = pointers(document)
        if not places:
            break
        place = draw(st.sampled_from(places))
        holder, _, name = place.rpartition("/")
        parent = at(document, holder)
        key: Any = int(name) if isinstance(parent, list) else name.replace("~1", "/").replace("~0", "~")
        change = draw(st.sampled_from(["remove", "junk", "copy"]))
        if change == "remove":
            del parent[key]
        elif change == "junk":
            parent[key] = draw(junk)
        else:
            parent[key] = deepcopy(at(document, draw(st.sampled_from(places))))
    return document
