"""init/sysctl.py: the procfs with /proc/sys is dangerous to keep open, and is closed after the last write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.init import sysctl
from ocipy.init.context import Init
from ocipy.linux.channel import pair
from ocipy.plan.sysctl import Sysctl, SysctlDone


def init_with(directory: Path) -> Init:
    init = Init(channel=pair()[0], state={})
    init.fds.sysctl = os.open(directory, os.O_PATH)
    return init


def test_the_procfs_is_closed_after_the_last_write(tmp_path: Path) -> None:
    init = init_with(tmp_path)
    fd = init.fds.sysctl
    sysctl.sysctl_done(init, SysctlDone())
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert init.fds.sysctl == -1


def test_a_parameter_is_written_below_proc_sys_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/net").mkdir(parents=True)
    (tmp_path / "proc/sys/net/one").touch()
    (tmp_path / "outside").touch()
    (tmp_path / "proc/sys/net/link").symlink_to("../../../outside")
    init = init_with(tmp_path / "proc")
    sysctl.sysctl(init, Sysctl(path="net/one", value="1"))
    assert (tmp_path / "proc/sys/net/one").read_text() == "1"
    for path in ("net/link", "net/../../../outside"):
        with pytest.raises(Error, match="cannot set"):
            sysctl.sysctl(init, Sysctl(path=path, value="1"))
    assert (tmp_path / "outside").read_text() == ""
    sysctl.sysctl_done(init, SysctlDone())
