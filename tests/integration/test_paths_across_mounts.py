"""init opens the directory that it has just made, not a mount that another process puts on it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocipy.init import paths
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import MNT_DETACH

pytestmark = pytest.mark.ocipy_only(reason="its way of making paths")


@pytest.fixture
def covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A root in which another process mounts a tmpfs on `new` as soon as it exists."""
    real_mkdir, real_open = os.mkdir, os.open
    place = tmp_path / "new"

    def cover() -> None:
        monkeypatch.setattr("posix.mkdir", real_mkdir)
        monkeypatch.setattr("posix.open", real_open)
        if place.is_dir():
            _kernel.mount("tmpfs", str(place), "tmpfs", 0, None)
        else:
            (tmp_path / "other").touch()
            _kernel.mount(str(tmp_path / "other"), str(place), None, 0x1000, None)  # MS_BIND

    def mkdir(name: str, mode: int, *, dir_fd: int) -> None:
        real_mkdir(name, mode, dir_fd=dir_fd)
        cover()

    def open(name: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        fd = real_open(name, flags, mode, dir_fd=dir_fd)
        cover()
        return fd

    root = os.open(tmp_path, os.O_PATH)
    monkeypatch.setattr("posix.mkdir", mkdir)
    monkeypatch.setattr("posix.open", open)
    yield root
    monkeypatch.undo()
    _kernel.umount2(str(place), MNT_DETACH)
    os.close(root)


@pytest.mark.parametrize(
    "make",
    [
        lambda root: paths.make_directory(root, "new"),
        lambda root: paths.make_directory(root, "new/below"),
        lambda root: paths.make(root, "new", directory=False),
        lambda root: paths.make_plain_directory(root, "new"),
    ],
    ids=["directory", "below", "file", "plain"],
)
def test_a_new_directory_is_not_opened_across_a_mount(covered: int, make: Callable[[int], int]) -> None:
    """Otherwise the next directory is created in, or mounted on, a foreign filesystem (CVE-2021-30465)."""
    with pytest.raises(OSError) as caught:
        make(covered)
    assert caught.value.errno == errno.EXDEV


def test_paths_in_our_procfs_do_not_leave_it(source: Path) -> None:
    """The path to a file never crosses a mount or a magic link, or leads upwards (CVE-2025-52881)."""
    (source / "below/file").touch()
    (source / "file").touch()
    directory, proc = os.open(source, os.O_PATH), os.open("/proc", os.O_PATH)
    os.close(procfs.open_file(directory, "file", os.O_RDONLY))
    for place, path, number in (
        (directory, "below/file", errno.EXDEV),
        (directory, "../source/file", errno.EXDEV),
        (proc, f"self/fd/{directory}/file", errno.ELOOP),
        (proc, "self/root/etc/passwd", errno.ELOOP),
    ):
        with pytest.raises(OSError) as caught:
            procfs.open_file(place, path, os.O_RDONLY)
        assert caught.value.errno == number, path
    os.close(directory)
    os.close(proc)
