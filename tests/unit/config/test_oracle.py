"""The specification's schemas and ours judge all documents alike, except for the differences in spec/README.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft4Validator

from ocipy.config import schema
from ocipy.config.check import check
from ocipy.config.wording import validator, without_nulls
from tests.unit import oracle, published
from tests.unit.documents import EDGES, WORDS, at, instances, minimal, mutated, pointers, put
from tests.unit.documents import SCHEMA as OURS
from tests.unit.oracle import as_published
from tests.unit.places import Place, every_place, with_value

pytestmark = pytest.mark.skipif(not oracle.SCHEMAS.is_dir(), reason=f"the schemas are not at {oracle.SCHEMAS}")

README = (Path(__file__).resolve().parents[3] / "spec/README.md").read_text()

VALUES: list[Any] = [*EDGES, *WORDS, True, 1.0, [], {}, [None], [""], [0], [{}], {"": ""}, {"": 1}, {"a": 1}]


@pytest.fixture(scope="module")
def theirs() -> Draft4Validator:
    return oracle.validator("config")


def assert_alike(theirs: Draft4Validator, document: Any) -> None:
    plain = without_nulls(document)
    assert (check(document) is None) == theirs.is_valid(as_published(plain)), document


def test_both_have_the_same_members() -> None:
    ours = {place.field for place in every_place() if not place.field.endswith("/*")}
    theirs = {name for name in oracle.members("config") if not name.startswith("/linux/timeOffsets/")}
    assert theirs - ours == {
        "/process/commandLine",
        "/process/user/username",
        # semantic.py checks it, and only with a terminal.
        "/process/consoleSize/height",
        "/process/consoleSize/width",
    }
    # Theirs names the two clocks; their values are the same.
    assert ours - theirs == {"/linux/timeOffsets/*/secs", "/linux/timeOffsets/*/nanosecs"}


@pytest.mark.parametrize("place", list(every_place()), ids=lambda place: place.field)
def test_every_member_with_every_kind_of_value(theirs: Draft4Validator, place: Place) -> None:
    """Out of range, of the wrong type, removed, and with an extra member."""
    path = place.pointer.split("/")[1:]
    assert_alike(theirs, place.document)
    near = [bound + step for bound in (place.node.get("minimum"), place.node.get("maximum")) if bound is not None
            for step in (-1, 0, 1)]  # fmt: skip
    for value in VALUES + near:
        assert_alike(theirs, with_value(place.document, path, value))
    holder = at(place.document, "/".join(place.pointer.split("/")[:-1]))
    if isinstance(holder, dict):
        for change in ({"x-unknown": 1}, {path[-1]: None}):
            document = with_value(place.document, path[:-1], {**holder, **change})
            assert_alike(theirs, document)


CONFIGS = [*(path for path in published.documents()), *sorted(oracle.SCHEMAS.glob("test/config/*/*.json"))]


def broken(document: Any, seed: str) -> Iterator[Any]:
    """The document with each of some of its places removed, replaced, or given one more member."""
    random = Random(seed)
    places = pointers(document)
    for place in random.sample(places, min(len(places), 25)):
        changed = deepcopy(document)
        holder, _, name = place.rpartition("/")
        parent = at(changed, holder)
        key: Any = int(name) if isinstance(parent, list) else name.replace("~1", "/").replace("~0", "~")
        change = random.choice(("remove", "value", "value", "extra"))
        if change == "remove":
            del parent[key]
        elif change == "extra" and isinstance(parent, dict):
            parent["x-unknown"] = random.choice(VALUES)
        else:
            parent[key] = random.choice(VALUES)
        yield changed


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_published_documents_and_what_is_broken_of_them(theirs: Draft4Validator, path: Path) -> None:
    try:
        document = json.loads(path.read_text())
    except ValueError:
        return
    assert_alike(theirs, document)
    for changed in broken(document, path.name):
        assert_alike(theirs, changed)


UNHEALTHY = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@settings(max_examples=200, deadline=None, suppress_health_check=UNHEALTHY)
@given(document=instances(OURS))
def test_documents_made_from_our_schema(theirs: Draft4Validator, document: Any) -> None:
    assert_alike(theirs, document)


@settings(max_examples=200, deadline=None, suppress_health_check=UNHEALTHY)
@given(document=mutated())
def test_broken_documents_of_engines(theirs: Draft4Validator, document: Any) -> None:
    assert_alike(theirs, document)


BLOCK = "/linux/resources/blockIO/throttle"
DEVICE = [{"major": 8, "minor": 0}]
SAMPLES: dict[str, tuple[str, Any]] = {
    "sections of other platforms": ("/windows", 1),
    "process.commandLine": ("/process/commandLine", 1),
    "process.consoleSize": ("/process/consoleSize", 1),
    "process.user.username": ("/process/user", {"username": 1}),
    "annotations": ("/annotations", {"": 1}),
    "linux.sysctl": ("/linux/sysctl", {"": 1}),
    "linux.resources.unified": ("/linux/resources/unified", {"": 1}),
    "linux.timeOffsets": ("/linux/timeOffsets", {"realtime": 1}),
    "linux.devices[].fileMode": ("/linux/devices", [{"type": "p", "path": "/x", "fileMode": 8612}]),
    "linux.rootfsPropagation": ("/linux/rootfsPropagation", "rslave"),
    "linux.seccomp.defaultAction": ("/linux/seccomp", {"defaultAction": ""}),
    "linux.resources.pids.limit": ("/linux/resources/pids", {}),
    **{
        f"linux.resources.blockIO.throttle{what}Device[].rate": (f"{BLOCK}{what}Device", DEVICE)
        for what in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")
    },
    "linux.memoryPolicy.mode": ("/linux/memoryPolicy", {}),
    "linux.personality.domain": ("/linux/personality", {}),
}
"""A member for each difference, of which the two schemas think differently."""


def test_each_difference_has_a_sample() -> None:
    assert set(SAMPLES) == set(oracle.DIFFERENCES)


@pytest.mark.parametrize("difference", list(SAMPLES))
def test_each_listed_difference_is_real_and_documented(theirs: Draft4Validator, difference: str) -> None:
    document = put(minimal(), *SAMPLES[difference])
    assert (check(document) is None) != theirs.is_valid(document)
    assert_alike(theirs, document)
    assert f"| `{difference}` |" in README or f"| {difference} |" in README


@pytest.mark.parametrize("kind", ["state", "features"])
def test_state_and_features(kind: str) -> None:
    theirs, ours = oracle.validator(kind), validator(schema.load(kind))
    for path in sorted(oracle.SCHEMAS.glob(f"test/{kind}/*/*.json")):
        try:
            document = json.loads(path.read_text())
        except ValueError:
            assert path.parent.name == "bad"
            continue
        for changed in [document, *broken(document, path.name)]:
            theirs_too = deepcopy(changed)
            if kind == "state" and isinstance(changed, dict):
                _as_published_state(theirs_too)
            if kind == "features" and isinstance(changed.get("linux"), dict):
                _as_published_features(theirs_too["linux"])
            assert ours.is_valid(changed) == theirs.is_valid(theirs_too), changed


def _as_published_state(state: dict[str, Any]) -> None:
    if state.get("status") not in ("creating", "stopped"):
        state.setdefault("pid", "missing")
    if state.get("status") == "paused":
        state["status"] = "running"


def _as_published_features(linux: dict[str, Any]) -> None:
    linux.pop("memoryPolicy", None)
    if isinstance(linux.get("intelRdt"), dict):
        for name in ("schemata", "monitoring"):
            linux["intelRdt"].pop(name, None)
