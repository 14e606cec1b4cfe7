"""ps: a container's processes, as a table of the host's ps and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.harness import Container, Runtime, wait_until
from tests.harness.look import descendants

MakeContainer = Callable[..., Container]


@pytest.fixture
def family(container: MakeContainer) -> Container:
    """A running container with three processes."""
    one = container(sh="sleep 1000 & sleep 1001 & echo ready; wait").start()
    one.wait_output("ready")
    wait_until(lambda: len(descendants(one.pid)) == 2)
    return one


def pids_of(one: Container) -> list[int]:
    return sorted([one.pid, *descendants(one.pid)])


@pytest.mark.smoke
def test_json(family: Container) -> None:
    """The pids are the host's. Engines read both streams as one, so there is no other output."""
    result = family.runtime.call("ps", "--format", "json", family.id).ok()
    assert sorted(json.loads(result.stdout)) == pids_of(family)
    assert result.stderr == ""
    assert family.runtime.call("ps", "-f=json", family.id).ok().json == result.json


def test_table(family: Container) -> None:
    lines = family.runtime.call("ps", family.id).ok().lines
    assert lines[0].split()[:3] == ["UID", "PID", "PPID"]
    rows = {int(line.split()[1]): line for line in lines[1:]}
    assert sorted(rows) == pids_of(family)
    assert sorted(rows[pid].split()[-1] for pid in descendants(family.pid)) == ["1000", "1001"]
    assert family.runtime.call("ps", "--format", "table", family.id).ok().lines[0] == lines[0]


@pytest.mark.parametrize("options", [("-o", "pid,comm"), ("-eo", "comm,pid"), ("aux",), ("-e", "-f")])
def test_options_of_ps(family: Container, options: tuple[str, ...]) -> None:
    """The words after the ID are for ps."""
    lines = family.runtime.call("ps", family.id, *options).ok().lines
    column = lines[0].split().index("PID")
    found = {int(line.split()[column]) for line in lines[1:]}
    # Without -e or x, ps only shows processes on its terminal.
    assert found == set(pids_of(family)) or (options[0] == "-o" and found <= set(pids_of(family)))


def test_options_without_the_column_pid(family: Container) -> None:
    family.runtime.call("ps", family.id, "-eo", "comm").fails("couldn't find PID field in ps output")


def test_options_that_ps_refuses(family: Container) -> None:
    family.runtime.call("ps", family.id, "--no-such-option").fails("unknown gnu long option")


def test_unknown_format(family: Container) -> None:
    family.runtime.call("ps", "--format", "yaml", family.id).fails("format")


def test_created_and_paused(container: MakeContainer) -> None:
    one = container()
    assert one.runtime.call("ps", "--format", "json", one.id).ok().json == [one.pid]
    one.runtime.call("pause", one.id).ok()
    assert one.runtime.call("ps", "--format", "json", one.id).ok().json == [one.pid]


def test_stopped(container: MakeContainer) -> None:
    """Without processes the table has only a heading; JSON is null, as in runc, which engines read as an empty list."""
    one = container().start().kill().wait_dead()
    assert one.runtime.call("ps", "--format", "json", one.id).ok().json in (None, [])
    [heading] = one.runtime.call("ps", one.id).ok().lines
    assert "PID" in heading.split()


def test_for_a_missing_container(runtime: Runtime, new_id: Callable[[], str]) -> None:
    runtime.call("ps", new_id()).fails("container does not exist")
    runtime.call("ps", "--format", "json", new_id()).fails("container does not exist")
    runtime.call("ps").fails()
