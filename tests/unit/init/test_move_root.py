"""Which mounts --no-pivot hides, and in which order: by ids, not by paths."""

from __future__ import annotations

import errno

import pytest

from ocipy.init import move_root
from ocipy.init.move_root import MountPoint, unescape
from ocipy.linux import _kernel


def full(parent: int, point: str) -> MountPoint:
    """A procfs or sysfs."""
    return MountPoint(parent, point, full=True)


def test_mounts_within_the_root_are_left_alone() -> None:
    """The root is on "/", so its paths are the host's."""
    mounts = {
        1: MountPoint(0, "/"),
        2: full(1, "/proc"),
        9: MountPoint(1, "/"),
        3: full(9, "/proc"),
        4: full(3, "/proc/deep"),
    }
    assert move_root._full_outside(mounts, 9) == [2]


def test_a_root_that_is_a_full_procfs() -> None:
    assert move_root._full_outside({1: MountPoint(1, "/"), 9: full(1, "/")}, 9) == []


def test_the_topmost_mounts_come_first() -> None:
    """A child can have the smaller id, if it was created before it was attached."""
    mounts = {
        7: MountPoint(7, "/"),
        6: full(7, "/sys"),
        5: full(6, "/sys"),
        4: full(5, "/sys/proc"),
        3: MountPoint(6, "/sys/x"),
    }
    assert move_root._full_outside(mounts, 99) == [4, 5, 6]


@pytest.mark.parametrize(
    ("text", "path"),
    [(b"/proc", "/proc"), (b"/a\\040b\\134c\\012", "/a b\\c\n"), (b"/\xff", "/\udcff"), (b"/\\011\\040", "/\t ")],
)
def test_unescape(text: bytes, path: str) -> None:
    assert unescape(text) == path


def test_a_mount_that_the_host_has_unmounted_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path now leads to the mount below, which is left alone."""
    mounts = {1: MountPoint(1, "/"), 2: MountPoint(1, "/a"), 3: full(2, "/a/proc")}

    def openat2(directory: int, path: str, flags: int, mode: int, resolve: int) -> int:
        if path == "/a/proc":
            raise OSError(errno.ENOENT, "")
        return 1000

    monkeypatch.setattr(_kernel, "openat2", openat2)
    monkeypatch.setattr(_kernel, "mount_id", lambda *_: 2)
    monkeypatch.setattr(_kernel, "umount2", lambda *_: pytest.fail("unmounted"))
    monkeypatch.setattr("posix.close", lambda fd: None)
    move_root._hide(mounts, 3)
