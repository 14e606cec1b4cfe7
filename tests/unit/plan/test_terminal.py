"""process.terminal and process.consoleSize, from config to steps."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.host.console import check_socket
from ocipy.operations import foreground
from ocipy.plan import terminal
from ocipy.plan.model import Host, Options, Plan, Planner
from ocipy.plan.terminal import Console, SendConsole
from tests.unit.documents import refused_at


def plan_of(process: dict[str, Any], has_console: bool = True) -> Plan:
    config: Any = {"process": {"cwd": "/", "args": ["sh"], **process}}
    options = Options(container_id="c", bundle="/b", has_console=has_console)
    planner = Planner(config, Host(), options)
    plan = planner.plan
    terminal.plan_check(planner)
    terminal.plan_console(planner)
    terminal.plan_send_console(planner)
    return plan


def test_without_a_terminal_there_is_nothing_to_do_and_the_size_is_ignored() -> None:
    for process in ({}, {"terminal": False}, {"consoleSize": {"height": 10**9, "width": 1}}):
        plan = plan_of(process, has_console=False)
        assert plan.init == []
        assert plan.host == []


def test_terminal() -> None:
    plan = plan_of({"terminal": True, "consoleSize": {"height": 25, "width": 80}, "user": {"uid": 7, "gid": 8}})
    assert plan.init == [Console("/process/terminal", rows=25, columns=80, uid=7, bind=True, controlling=True)]
    assert plan.host == [SendConsole("/process/terminal")]


@pytest.mark.parametrize(("member", "size"), [("height", (65536, 1)), ("width", (1, 65536))])
def test_a_size_that_no_terminal_has(member: str, size: tuple[int, int]) -> None:
    process = {"terminal": True, "consoleSize": {"height": size[0], "width": size[1]}}
    assert refused_at({"process": process}) == [f"/process/consoleSize/{member}"]


def test_a_terminal_that_nobody_takes() -> None:
    with pytest.raises(Error, match="cannot allocate tty if ocipy will detach without setting console socket"):
        plan_of({"terminal": True}, has_console=False)


def test_a_socket_without_a_terminal() -> None:
    with pytest.raises(Error, match="cannot use console socket if ocipy will not detach or allocate tty"):
        check_socket(False, "/run/socket")
    with pytest.raises(Error, match="cannot use console socket if ocipy will not detach or allocate tty"):
        foreground.check("/run/socket", detach=False)
    check_socket(True, "/run/socket")
    check_socket(False, "")
    foreground.check("/run/socket", detach=True)
    foreground.check("", detach=False)
