"""list: table, JSON and quiet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime

MakeContainer = Callable[..., Container]


def test_table(container: MakeContainer, runtime: Runtime) -> None:
    one = container().start()
    other = container()
    lines = runtime.call("list").ok().lines
    assert lines[0].split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert rows[one.id][1:4] == [str(one.pid), "running", str(one.bundle.path)]
    assert rows[other.id][2] == "created"
    assert rows[one.id][5] == "root"
    assert len(rows) == 2
    # Each column begins under its heading.
    for line in lines[1:]:
        assert line[lines[0].index("PID")] != " " and line[lines[0].index("PID") - 1] == " "


def test_json(container: MakeContainer, runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"a": "b"}
    one = container(bundle.args("sleep", "1000")).start()
    result = runtime.call("list", "--format", "json").ok()
    assert len(result.lines) == 1
    entry = result.json[0]
    state = one.state()
    for member in ("ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations"):
        assert entry[member] == state[member], member
    assert entry["rootfs"] == str(bundle.rootfs)
    assert entry["owner"] == "root"


def test_quiet(container: MakeContainer, runtime: Runtime) -> None:
    ids = sorted(container().id for _ in range(3))
    assert runtime.call("list", "--quiet").ok().lines == ids
    assert runtime.call("list", "-q").ok().lines == ids


def test_stopped(container: MakeContainer, runtime: Runtime) -> None:
    one = container().start().kill().wait_dead()
    [entry] = runtime.containers()
    assert (entry["id"], entry["status"], entry["pid"]) == (one.id, "stopped", 0)


@pytest.mark.unprivileged
def test_none(runtime: Runtime) -> None:
    runtime.root.mkdir()
    assert runtime.call("list").ok().lines[0].split()[0] == "ID"
    assert runtime.call("list", "-q").ok().stdout == ""
    assert runtime.call("list", "--format", "json").ok().json in (None, [])


@pytest.mark.unprivileged
def test_root_directory_that_is_missing(runtime: Runtime, work: Path) -> None:
    """A missing directory that the user has named is an error."""
    runtime.call("list", globals=["--root", work / "nowhere"]).fails("no such file or directory")


@pytest.mark.unprivileged
def test_unknown_format(runtime: Runtime) -> None:
    runtime.root.mkdir()
    runtime.call("list", "--format", "yaml").fails("format")


def test_half_made_entries_do_not_hide_the_others(container: MakeContainer, runtime: Runtime) -> None:
    one = container()
    (runtime.root / "empty").mkdir()
    (runtime.root / "a-file").write_text("")
    result = runtime.call("list", "--format", "json").ok()
    assert [entry["id"] for entry in result.json] == [one.id]
    (runtime.root / "empty").rmdir()
    (runtime.root / "a-file").unlink()
