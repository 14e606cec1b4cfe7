"""The operations of runtime.md: every listed error, and the documents of `state` and hooks match the schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.conftest import TOP
from tests.harness import Bundle, Container, Runtime, wait_until

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]


def assert_is_a_state(document: Any) -> None:
    """Validate with the specification's schema, which allows free names only in annotations."""
    schema = json.loads((TOP / "spec/state.schema.json").read_text())
    schema["additionalProperties"] = False
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize("command", ["state", "create", "start", "kill", "delete"])
def test_an_operation_without_an_id(runtime: Runtime, bundle: Bundle, command: str) -> None:
    """ "MUST generate an error if it is not provided the ID", which applies to all five. create has a bundle here."""
    bundle.write()
    runtime.call(command, cwd=bundle.path).fails(status=None)
    assert runtime.ids() == []


@pytest.mark.parametrize("id", ["", "a/b", "..", "a b"])
def test_create_with_an_invalid_id(runtime: Runtime, bundle: Bundle, id: str) -> None:
    bundle.write()
    runtime.call("create", "--bundle", bundle.path, id).fails("invalid container ID format" if runtime.is_ocipy else "")
    assert runtime.ids() == []


def test_create_without_a_bundle(runtime: Runtime, new_id: NewId, work: Path) -> None:
    """It defaults to the current directory, which is not a bundle."""
    (work / "empty").mkdir()
    runtime.call("create", new_id(), cwd=work / "empty").fails("config.json")
    assert runtime.ids() == []


@pytest.mark.parametrize("command", ["state", "start", "kill", "delete"])
def test_an_operation_on_no_container(runtime: Runtime, new_id: NewId, command: str) -> None:
    runtime.call(command, new_id()).fails("container does not exist")
    assert runtime.ids() == []


@pytest.mark.parametrize("phase", ["created", "running", "stopped"])
def test_create_with_an_id_in_use_changes_nothing(
    container: MakeContainer, make_bundle: Callable[..., Bundle], phase: str
) -> None:
    one = in_phase(container(), phase)
    before = one.state()
    one.runtime.create(make_bundle(), one.id).fails("container with given ID already exists")
    assert one.state() == before


@pytest.mark.parametrize(
    ("command", "phase"),
    [
        ("start", "running"), ("start", "paused"), ("start", "stopped"), ("kill", "stopped"),
        ("delete", "created"), ("delete", "running"), ("delete", "paused"),
    ],
)  # fmt: skip
def test_an_operation_in_the_wrong_state_has_no_effect(container: MakeContainer, command: str, phase: str) -> None:
    one = in_phase(container(), phase)
    before = one.state()
    arguments = ["KILL"] if command == "kill" else []
    one.runtime.call(command, one.id, *arguments).fails()
    assert one.state() == before


def in_phase(one: Container, phase: str) -> Container:
    if phase != "created":
        one.start()
    if phase == "paused":
        one.runtime.call("pause", one.id).ok()
    if phase == "stopped":
        one.kill().wait_dead()
    return one


@pytest.mark.ocipy_only("the specification does not say what such a container is")
@pytest.mark.parametrize("command", ["start", "kill", "delete"])
def test_an_operation_on_a_container_that_is_being_created_has_no_effect(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, command: str
) -> None:
    """Neither created, nor running, nor stopped."""
    marker, go = work / "marker", work / "go"
    script = f"touch {marker}; while [ ! -e {go} ]; do sleep 0.02; done"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    bundle.args("sleep", "1000").write()
    id = new_id()
    create = runtime.begin("create", "--bundle", bundle.path, id)
    wait_until(marker.exists, "the hook")
    call = runtime.begin(command, id, *(["KILL"] if command == "kill" else []))
    before = runtime.state(id)
    assert before["status"] == "creating"
    call.wait().fails()
    assert runtime.state(id) == before
    go.touch()
    create.wait().ok()
    assert runtime.state(id)["status"] == "created"
    runtime.delete(id, force=True).ok()


def test_the_state_matches_the_schema(container: MakeContainer, bundle: Bundle) -> None:
    """In each status that a caller can see."""
    bundle.args("sleep", "1000")
    bundle.config["annotations"] = {"org.example": "x"}
    one = container(bundle)
    for expected, change in (
        ("created", lambda: one.start()),
        ("running", lambda: one.runtime.call("pause", one.id).ok()),
        ("paused", lambda: one.runtime.call("resume", one.id).ok()),
        ("running", lambda: one.kill().wait_dead()),
    ):
        document = one.state()
        assert_is_a_state(document)
        assert document["status"] == expected
        change()
    document = one.state()
    assert_is_a_state(document)
    assert document["status"] == "stopped"


def test_the_state_during_create_matches_the_schema(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path
) -> None:
    marker, go = work / "marker", work / "go"
    script = f"touch {marker}; while [ ! -e {go} ]; do sleep 0.02; done"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
    id = new_id()
    bundle.args("true").write()
    create = runtime.begin("create", "--bundle", bundle.path, id)
    wait_until(marker.exists, "the hook")
    document = runtime.state(id)
    go.touch()
    create.wait().ok()
    runtime.delete(id, force=True).ok()
    assert_is_a_state(document)
    if runtime.is_ocipy:
        assert document["status"] == "creating"


def test_the_state_for_hooks_matches_the_schema(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {bundle.path}/state-{kind}"]}] for kind in kinds
    }
    bundle.config["annotations"] = {"org.example": "x"}
    runtime.run(bundle.args("sleep", "0.1"), new_id()).ok()
    for kind in kinds:
        assert_is_a_state(json.loads((bundle.path / f"state-{kind}").read_text()))
