"""The host lane's side of the cgroup, with a state that only records what it was told."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ocipy.cgroups import creation, files
from ocipy.cgroups.ending import remove
from ocipy.cgroups.layout import Layout
from ocipy.errors import Error
from ocipy.host import cgroup
from ocipy.host.context import HostRun
from ocipy.linux import _kernel
from ocipy.plan.cgroup import CgroupCreate, CgroupJoin, CgroupOpen
from ocipy.plan.model import Options, Plan


class RememberingState:
    """state.state.State, as far as the step uses it."""

    def __init__(self) -> None:
        self.cgroup: Any = None
        self.saved: list[Any] = []

    def save(self) -> None:
        self.saved.append(self.cgroup)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostRun:
    layout = Layout({}, str(tmp_path), {"": "/"})
    monkeypatch.setattr(cgroup, "probe", lambda: layout)
    state: Any = RememberingState()
    return HostRun({"ociVersion": "1.0.2"}, Options(container_id="c", bundle="/b"), Plan(), state)


def create(run: HostRun) -> None:
    cgroup.cgroup_create(
        run,
        CgroupCreate(path="/a/b", tolerant=False, enable=(), domain=False, cpuset=True, frozen=True, pids_shared=False),
    )


def test_the_state_names_the_cgroup_before_it_is_made(
    run: HostRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`delete --force` must find the leftovers of a create, whenever it was killed."""
    state: Any = run.state

    def killed(*_: Any, **__: Any) -> None:
        assert not (tmp_path / "a").exists()
        assert state.saved[-1]["created"] == [f"{tmp_path}/a", f"{tmp_path}/a/b"]
        raise KeyboardInterrupt

    monkeypatch.setattr(cgroup, "make_cgroup", killed)
    with pytest.raises(KeyboardInterrupt):
        create(run)
    assert state.saved[-1]["paths"] == {"": f"{tmp_path}/a/b"}


def test_the_state_lists_only_cgroups_that_were_made(
    run: HostRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> list[str]:
        raise PermissionError(13, "no")

    monkeypatch.setattr(files, "make_directory", refused)
    with pytest.raises(Error):
        create(run)
    assert run.cgroup is not None and run.cgroup.created == []
    remove(run.cgroup)


def test_descriptors_for_init_are_closed_after_the_clone(run: HostRun, tmp_path: Path) -> None:
    (tmp_path / "tasks").write_text("")
    run.cgroup = creation.locate(Layout({"pids": str(tmp_path)}, "", {"pids": "/"}), "/", "c")
    cgroup.cgroup_open(run, CgroupOpen())
    fd = run.fds.cgroups["pids"]
    cgroup.cgroup_join(run, CgroupJoin(tolerant=False))
    assert run.fds.cgroups == {}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@pytest.mark.parametrize("refused", [False, True])
def test_a_clone_into_the_cgroup_leaves_nothing_open(
    run: HostRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Even if the kernel refuses, and the process must be moved later."""

    def clone3(_flags: int, _signal: int, directory: int) -> tuple[int, int]:
        if refused and directory >= 0:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return 77, -1

    run.cgroup = creation.locate(Layout({}, str(tmp_path), {"": "/"}), "/", "c")
    monkeypatch.setattr(_kernel, "clone3", clone3)
    before = os.listdir("/proc/self/fd")
    assert cgroup.clone_into(run, 0, 17, required=False) == (77, -1)
    assert run.in_cgroup is not refused
    assert os.listdir("/proc/self/fd") == before
    if refused:
        with pytest.raises(OSError, match="not supported"):
            cgroup.clone_into(run, 0, 17, required=True)
