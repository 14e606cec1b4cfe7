"""What restore does in children: a filesystem may block one, so a signal must be able to end it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from ocipy.children import interrupts
from ocipy.errors import Error
from ocipy.host import restore
from ocipy.host.context import HostRun
from ocipy.plan.model import Options, Plan
from ocipy.plan.restore import RestoreMountPoints
from ocipy.state.state import State
from tests.unit.child import in_child


def a_run() -> HostRun:
    return HostRun({}, Options(container_id="c", bundle="/b"), Plan(), State("/nowhere/c", "c", "/b"))  # type: ignore[typeddict-item]


def test_the_mount_points_come_from_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore, "_make_mount_points", lambda *_: {"/data": "/real/data", "/\udcff": "/\udcff"})
    run = a_run()
    restore.restore_mount_points(run, RestoreMountPoints("/mounts", mounts=()))
    assert run.mount_points == {"/data": "/real/data", "/\udcff": "/\udcff"}


def test_a_failure_in_the_child_keeps_its_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise Error("cannot make it", pointer="/mounts/3")

    monkeypatch.setattr(restore, "_make_mount_points", fail)
    with pytest.raises(Error, match="cannot make it") as raised:
        restore.restore_mount_points(a_run(), RestoreMountPoints("/mounts", mounts=()))
    assert raised.value.pointer == "/mounts/3"


def test_a_signal_ends_the_wait_for_the_mount_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*_: object) -> Any:
        os.kill(os.getppid(), signal.SIGTERM)
        signal.pause()

    monkeypatch.setattr(restore, "_make_mount_points", wait)

    def interrupted() -> None:
        run = a_run()
        run.interrupts = interrupts.catch()
        with pytest.raises(Error, match="interrupted by SIGTERM"):
            restore.restore_mount_points(run, RestoreMountPoints("/mounts", mounts=()))
        with pytest.raises(ChildProcessError):
            os.waitpid(-1, 0)  # the child is gone

    in_child(interrupted)
