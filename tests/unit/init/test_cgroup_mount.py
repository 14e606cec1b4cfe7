"""Which cgroup2 mounts are new, and which are bind mounts."""

from __future__ import annotations

import os
import posix
from typing import Any

import pytest

from ocipy.cgroups.layout import Layout
from ocipy.errors import Error
from ocipy.init import cgroup_mount, mounts
from ocipy.init.context import Init
from ocipy.linux import channel
from ocipy.plan.cgroup_mount import MountCgroup2

FIRST = 4026531835  # ls -L -i /proc/1/ns/cgroup prints it on every host


def mounted(monkeypatch: pytest.MonkeyPatch, namespace: str, inode: int, data: tuple[str, ...] = ()) -> list[str]:
    """The kind of mount in a cgroup namespace with this inode."""
    done: list[str] = []
    monkeypatch.setattr(mounts, "open_target", lambda *_: -1)
    monkeypatch.setattr(mounts, "attach", lambda *_: None)
    monkeypatch.setattr(mounts, "set_recursive", lambda *_: None)
    monkeypatch.setattr(mounts, "finish_attached", lambda *_: None)
    monkeypatch.setattr(mounts, "make_filesystem", lambda *_: done.append("new"))
    monkeypatch.setattr(cgroup_mount, "_bind", lambda path, _: done.append(path))
    monkeypatch.setattr(cgroup_mount, "probe", lambda: Layout({}, "/sys/fs/cgroup", {"": "/own"}))
    monkeypatch.setattr(posix, "stat", lambda *_, **__: os.stat_result((0, inode, *[0] * 8)))
    ours, theirs = channel.pair()
    init = Init(channel=theirs, state={}, cgroup_paths={"": "/sys/fs/cgroup/box"})
    arguments: dict[str, Any] = {
        "destination": "/sys/fs/cgroup", "source": "cgroup", "data": data, "attributes": 0, "propagation": (),
        "recursive_set": 0, "recursive_clear": 0, "namespace": namespace, "mask": False,
    }  # fmt: skip
    cgroup_mount.mount_cgroup2(init, MountCgroup2(**arguments))
    os.close(ours.fd)
    os.close(theirs.fd)
    return done


@pytest.mark.parametrize("namespace", ["", "joined"])
def test_in_the_first_cgroup_namespace_the_hosts_mount_is_bound(
    monkeypatch: pytest.MonkeyPatch, namespace: str
) -> None:
    """A new one would reset the options of the host's hierarchy: nsdelegate would be lost."""
    assert mounted(monkeypatch, namespace, FIRST) == ["/sys/fs/cgroup"]
    assert mounted(monkeypatch, namespace, FIRST, ("nsdelegate",)) == ["new"]


@pytest.mark.parametrize("namespace", ["new", "joined"])
def test_in_another_cgroup_namespace_the_mount_is_new(monkeypatch: pytest.MonkeyPatch, namespace: str) -> None:
    assert mounted(monkeypatch, namespace, FIRST + 1) == ["new"]


@pytest.mark.parametrize("mask", [True, False])
def test_a_host_that_has_not_mounted_cgroup2_is_no_internal_error(monkeypatch: pytest.MonkeyPatch, mask: bool) -> None:
    """A v1 host: the kernel lists the v2 hierarchy all the same, as "0::/"."""
    made: list[str] = []
    monkeypatch.setattr(cgroup_mount, "probe", lambda: Layout({"pids": "/sys/fs/cgroup/pids"}, "", {"": "/"}))
    monkeypatch.setattr(mounts, "make_filesystem", lambda kind, *_: made.append(kind))
    ours, theirs = channel.pair()
    init = Init(channel=theirs, state={})
    try:
        if mask:
            cgroup_mount._bind_unified(init, 0, "new", mask)
        else:
            with pytest.raises(Error, match="cannot bind the cgroup"):
                cgroup_mount._bind_unified(init, 0, "new", mask)
    finally:
        os.close(ours.fd)
        os.close(theirs.fd)
    assert made == ["tmpfs"] * mask
