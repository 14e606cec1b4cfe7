"""Once init may be in the container, it would import the container's modules (CVE-2019-14271)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.init import exec, lane, stage
from ocipy.init.context import ACTIONS, Init
from ocipy.linux import channel
from ocipy.plan.model import Plan
from ocipy.plan.process import Umask
from tests.unit.init.test_lanes import reported

NAME = "planted_by_an_image"


def by_statement() -> None:
    import planted_by_an_image  # type: ignore[import-not-found]  # noqa: F401


def by_importlib() -> None:
    """Import by the machinery below __import__, which Python's C code calls too."""
    importlib.import_module(NAME)


def by_path_of_package() -> None:
    """Import a submodule of a package that was loaded on the host."""
    importlib.import_module("ocipy." + NAME)


WAYS = pytest.mark.parametrize("way", [by_statement, by_importlib, by_path_of_package])


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in Python's search path that leaves a marker when it runs. Return the marker."""
    marker = tmp_path / "loaded"
    (tmp_path / f"{NAME}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys.modules["ocipy"], "__path__", [*sys.modules["ocipy"].__path__, str(tmp_path)])
    return marker


@WAYS
def test_a_planted_module_would_be_found_without_the_seal(planted: Path, way: Callable[[], None]) -> None:
    """Without the seal it is imported: otherwise the tests below could not fail."""
    way()
    assert planted.exists()
    for name in (NAME, "ocipy." + NAME):
        sys.modules.pop(name, None)


@WAYS
def test_init_imports_nothing(planted: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[], None]) -> None:
    monkeypatch.setitem(ACTIONS, Umask, lambda _init, _step: way())
    plan = Plan()
    plan.init.append(Umask("/process/user/umask", mask=0))
    error = reported(lambda init: lane.become_init(plan, init))
    assert not planted.exists()
    assert NAME in error.line


@WAYS
def test_the_joiner_imports_nothing(planted: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[], None]) -> None:
    """Imports are sealed before the first setns."""

    def join(*_arguments: object) -> None:
        way()

    monkeypatch.setattr(exec, "_join", join)
    monkeypatch.setattr(exec, "wait_for_host", lambda *_: None)

    def child(init: Init) -> None:
        _, init.fds.container = (end.fd for end in channel.pair())
        exec.run_joining(Plan(), init, ("mount",), False, False, 1)

    error = reported(child)
    assert not planted.exists()
    assert NAME in error.line


@WAYS
def test_the_stage_imports_nothing(planted: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[], None]) -> None:
    """It may join a container's mount namespace."""
    monkeypatch.setattr(stage, "join", lambda *_: way())
    monkeypatch.setattr(stage, "wait_for_host", lambda *_: None)
    error = reported(lambda init: stage.run_stage(Plan(), init, (), False, False, (), False, False))
    assert not planted.exists()
    assert NAME in error.line
