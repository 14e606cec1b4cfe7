"""A --root that other users can write to: their files, and above all their hooks, do not count as ours."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime

pytestmark = pytest.mark.ocipy_only("runc uses whatever state there is")

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
STRANGER = 4242
REFUSED = f"the state was made by another user (uid {STRANGER})"


@pytest.fixture
def planted(container: MakeContainer, work: Path) -> Iterator[Container]:
    """A container whose state, with a hook, another user has written."""
    one = container()
    document = json.loads((one.runtime.root / one.id / "state.json").read_text())
    document["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"touch {work}/marker"]}]}
    (one.runtime.root / one.id / "state.json").write_text(json.dumps(document))
    yield one
    for path in (one.runtime.root / one.id, one.runtime.root / one.id / "state.json"):
        os.chown(path, 0, 0)


@pytest.mark.parametrize("what", ["state.json", "."])
@pytest.mark.parametrize(
    "words", [["delete"], ["delete", "--force"], ["start"], ["update", "--pids-limit", "5"]], ids=" ".join
)
def test_commands_that_need_the_lock_are_refused(planted: Container, work: Path, what: str, words: list[str]) -> None:
    os.chown(planted.runtime.root / planted.id / what, STRANGER, STRANGER)
    before = sorted(os.listdir(planted.runtime.root / planted.id))
    planted.runtime.call(*words, planted.id).fails(REFUSED)
    assert sorted(os.listdir(planted.runtime.root / planted.id)) == before
    assert not (work / "marker").exists()
    assert os.path.exists(f"/proc/{planted.pid}/ns")


@pytest.mark.parametrize(
    "words", [["state"], ["kill"], ["ps", "--format", "json"], ["pause"], ["events", "--stats"]], ids=" ".join
)
def test_commands_that_only_read_the_state_are_refused(planted: Container, words: list[str]) -> None:
    """Otherwise we would kill its pid, and read its cgroup's files, with our privileges."""
    os.chown(planted.runtime.root / planted.id / "state.json", STRANGER, STRANGER)
    planted.runtime.call(*words, planted.id).fails(REFUSED)


def test_a_fifo_in_place_of_the_state_blocks_no_command(planted: Container) -> None:
    path = planted.runtime.root / planted.id / "state.json"
    kept = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    os.chown(path, STRANGER, STRANGER)
    planted.runtime.call("state", planted.id, timeout=5).fails(REFUSED)
    path.unlink()
    path.write_bytes(kept)


def test_list_shows_the_others(planted: Container, container: MakeContainer) -> None:
    own = container()
    os.chown(planted.runtime.root / planted.id / "state.json", STRANGER, STRANGER)
    result = own.runtime.call("list", "--format", "json").ok()
    assert [entry["id"] for entry in result.json] == [own.id]
    assert REFUSED in result.stderr


@pytest.mark.parametrize(
    ("owner", "mode", "word"), [(STRANGER, 0o755, f"belongs to uid {STRANGER}"), (0, 0o777, "is writable by everyone")]
)
def test_create_warns_about_a_root_that_others_can_change(
    container: MakeContainer, runtime: Runtime, owner: int, mode: int, word: str
) -> None:
    runtime.root.mkdir(exist_ok=True)
    os.chown(runtime.root, owner, owner)
    runtime.root.chmod(mode)
    one = container()
    os.chown(runtime.root, 0, 0)
    assert one.created is not None
    assert f"ocipy: warning: {runtime.root}: --root {word}" in one.created.stderr


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777])
def test_no_warning_about_a_root_in_which_others_cannot_replace_our_files(
    container: MakeContainer, runtime: Runtime, bundle: Bundle, mode: int
) -> None:
    runtime.root.mkdir(exist_ok=True)
    runtime.root.chmod(mode)
    one = container(bundle)
    assert one.created is not None
    assert one.created.stderr == ""
