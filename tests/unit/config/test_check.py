"""The checker made ahead of time agrees with jsonschema on every document (ocipy/config: check, generate, rules)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from ocipy.config import schema
from ocipy.config.check import check, check_process, check_resources, find_failure, forget
from ocipy.config.rules import CONFIG
from ocipy.config.wording import schema_errors, validator, without_nulls
from ocipy.linux import _kernel
from tests.unit.documents import EDGES, SCHEMA, WORDS, at, instances, minimal, mutated, put, real_configs
from tests.unit.places import Place, every_place, with_value

VALIDATOR = validator(SCHEMA)
PUBLISHED = Path(__file__).parents[4] / "shared/oci-runtime-spec-1.3.0/schema/test"
"""The specification's own example documents; next to the checkout, if someone has put them there."""


def published(kind: str) -> list[Path]:
    return sorted(PUBLISHED.glob(f"{kind}/*/*.json"))


@pytest.mark.parametrize("name", ["config", "state", "features"])
def test_schemas_are_schemas(name: str) -> None:
    validator({}).check_schema(schema.load(name))


def assert_agreement(document: Any) -> None:
    failure = check(document)
    assert failure == find_failure(document, CONFIG)  # so C has not accepted what this refuses
    assert _kernel.obeys(document, CONFIG, []) == (failure is None)
    errors = schema_errors(document)
    assert (failure is None) == (not errors), (failure, errors)
    if failure is not None:
        # jsonschema reports the place too, so both lead to the same line of the document
        assert failure[0] in [pointer for pointer, _ in errors]
        at(document, failure[0])
        assert failure[1]


VALUES: list[Any] = [
    *EDGES,
    *WORDS,
    None,
    True,
    False,
    1.0,
    0.5,
    [],
    {},
    [None],
    [""],
    [0],
    [{}],
    {"": ""},
    {"a": 1},
    {"a": None},
]


@pytest.mark.parametrize("place", list(every_place()), ids=lambda place: place.field)
def test_agrees_with_jsonschema_at_every_place(place: Place) -> None:
    """Each place of the schema with each kind of value: the random tests below might miss a rule."""
    path = place.pointer.split("/")[1:]
    assert check(place.document) is None
    assert VALIDATOR.is_valid(place.document)
    for value in VALUES:
        document = with_value(place.document, path, value)
        assert (check(document) is None) == VALIDATOR.is_valid(without_nulls(document)), value
        assert check(document) == find_failure(document, CONFIG)
    near = [bound + step for bound in (place.node.get("minimum"), place.node.get("maximum")) if bound is not None
            for step in (-1, 0, 1)]  # fmt: skip
    for value in near:
        document = with_value(place.document, path, value)
        assert (check(document) is None) == VALIDATOR.is_valid(document), value


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(instances(SCHEMA))
def test_agrees_with_jsonschema_on_documents_made_from_the_schema(document: Any) -> None:
    assert_agreement(document)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_agrees_with_jsonschema_on_broken_real_documents(document: Any) -> None:
    assert_agreement(document)


@pytest.mark.parametrize("name", sorted(real_configs()))
def test_accepts_what_engines_write(name: str) -> None:
    assert check(real_configs()[name]) is None


@pytest.mark.parametrize("path", published("config"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_judges_the_published_documents_as_published(path: Path) -> None:
    try:
        document = json.loads(path.read_text())
    except ValueError:
        assert path.parent.name == "bad"
        return
    assert (check(document) is None) == (path.parent.name == "good")


@pytest.mark.parametrize("kind", ["state", "features"])
def test_other_schemas_judge_the_published_documents_as_published(kind: str) -> None:
    if not published(kind):
        pytest.skip(f"the specification's documents are not at {PUBLISHED}")
    judge = validator(schema.load(kind))
    for path in published(kind):
        try:
            document = json.loads(path.read_text())
        except ValueError:
            assert path.parent.name == "bad"
            continue
        assert judge.is_valid(document) == (path.parent.name == "good"), path


def test_the_published_documents_are_at_hand() -> None:
    if not PUBLISHED.is_dir():
        pytest.skip(f"the specification's documents are not at {PUBLISHED}")
    assert len(published("config")) >= 8


FAILURES = [
    ("/ociVersion", 1, "/ociVersion", "must be a string"),
    ("/process/terminal", 1, "/process/terminal", "must be true or false"),
    ("/process/user", {"uid": -1}, "/process/user/uid", "must be an integer from 0 to 4294967295"),
    ("/process/user", {"uid": True}, "/process/user/uid", "must be an integer from 0 to 4294967295"),
    ("/process/user", {"uid": 1.0}, "/process/user/uid", "must be an integer from 0 to 4294967295"),
    ("/process/oomScoreAdj", "0", "/process/oomScoreAdj", "must be an integer"),
    ("/process/args", ["a", 1], "/process/args/1", "must be a string"),
    ("/process/args", [None], "/process/args/0", "must be a string"),
    ("/process/args", "sh", "/process/args", "must be an array"),
    ("/process/cwd", None, "/process", "the member cwd is required"),
    ("/mounts", [{"type": "proc"}], "/mounts/0", "the member destination is required"),
    ("/annotations", {"a/b~c": 1}, "/annotations/a~1b~0c", "must be a string"),
    ("/hooks", {"poststop": [{"path": "/x", "timeout": 0}]}, "/hooks/poststop/0/timeout", "not less than 1"),
    ("/linux", {"namespaces": [{"type": "net"}]}, "/linux/namespaces/0/type", "must be one of mount, pid"),
    ("/linux", {"resources": {"hugepageLimits": [{"pageSize": "64kB", "limit": 1}]}},
     "/linux/resources/hugepageLimits/0/pageSize", "must be a size like 2MB or 1GB"),
    ("/linux", {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]}},
     "/linux/seccomp/syscalls/0/names", "with at least one element"),
    ("/linux", {"sysctl": [1]}, "/linux/sysctl", "must be an object"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "pointer", "text"), FAILURES)
def test_names_the_place_and_what_is_expected(place: str, value: Any, pointer: str, text: str) -> None:
    document = put(minimal(), place, value)
    failure = check(document)
    assert failure is not None and failure[0] == pointer and text in failure[1]
    assert pointer in [found for found, _ in schema_errors(document)]


def test_a_required_member_in_another_case() -> None:
    (found,) = schema_errors(put(minimal(), "/mounts", [{"Destination": "/a"}]))
    assert found == ("/mounts/0", "the member destination is required; case matters, so Destination does not count")


@pytest.mark.parametrize("document", [None, [], 1, "config", True])
def test_a_config_is_an_object(document: Any) -> None:
    assert check(document) == ("", "must be an object")


ACCEPTED = [
    ("/linux", {"resources": None}),
    ("/mounts", [{"destination": "/x", "options": None, "type": None, "source": None}]),
    ("/mounts", None),
    ("/annotations", {"a": None}),
    ("/process/rlimits", None),
    ("/some-new-member", {"of": ["a", "later", "version"]}),
    ("/process/user", {"username": 5}),
    ("/windows", 5),
    ("/linux", {"devices": [{"type": "c", "path": "/dev/x", "major": 1, "minor": 2, "fileMode": 8612}]}),
    ("/linux", {"rootfsPropagation": "rshared"}),
    ("/linux", {"resources": {"pids": {}}}),
    ("/linux", {"resources": {"memory": {"limit": -1, "swappiness": 18446744073709551615}}}),
]


@pytest.mark.parametrize(("place", "value"), ACCEPTED)
def test_accepts_the_habits_of_go(place: str, value: Any) -> None:
    assert_agreement(put(minimal(), place, value))
    assert check(put(minimal(), place, value)) is None


def test_a_required_member_that_is_null_is_absent() -> None:
    assert check({"ociVersion": None}) == ("", "the member ociVersion is required")
    assert without_nulls({"a": None, "b": [{"c": None}, None]}) == {"b": [{}, None]}


def test_parts_that_come_alone() -> None:
    assert check_process({"cwd": "/", "args": ["sh"]}) is None
    assert check_process({"cwd": 1}) == ("/cwd", "must be a string")
    assert check_resources({"pids": {"limit": 1}, "memory": None}) is None
    failure = check_resources({"cpu": {"shares": -1}})
    assert failure is not None and failure[0] == "/cpu/shares"


def test_unknown_members_at_every_level_are_reported_and_can_be_removed() -> None:
    document = put(minimal(), "/x", 1)
    document = put(document, "/process/user", {"uid": 1, "username": "a", "y": None})
    document = put(document, "/linux", {"devices": [{"type": "c", "path": "/d", "major": 1, "minor": 1, "z": []}]})
    document = put(document, "/annotations", {"free": "text"})
    document = put(document, "/linux/netDevices", {"eth0": {"name": "a", "mtu": 5}})
    unknown: Any = []
    assert check(document, unknown) is None
    assert sorted(name for _, name, _ in unknown) == ["mtu", "username", "x", "y", "z"]
    forget(unknown)
    rest: Any = []
    assert check(document, rest) is None and rest == []
    assert document["annotations"] == {"free": "text"} and document["process"]["user"] == {"uid": 1}
