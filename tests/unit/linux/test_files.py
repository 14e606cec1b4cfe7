"""Small files are read and written as a whole."""

from __future__ import annotations

import errno
import os
import posix
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.cgroups import files
from ocipy.linux import _kernel
from ocipy.linux.files import read_file, write_file


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(str(path), b"one")
    write_file(str(path), b"two" * 100000)
    assert path.read_bytes() == b"two" * 100000
    with pytest.raises(OSError):
        write_file(str(tmp_path / "missing/file"), b"")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("obstacle", [None, errno.EINVAL])
def test_a_file_can_be_exchanged_with_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: int | None
) -> None:
    """Not every filesystem can do that."""
    path = tmp_path / "file"
    if obstacle:
        monkeypatch.setattr(_kernel, "renameat2", refusing(obstacle))
    write_file(str(path), b"one", exchange=True)
    old = path.open("rb")
    write_file(str(path), b"two", exchange=True)
    assert path.read_bytes() == b"two"
    assert old.read() == b"one", "it is another file"
    assert os.listdir(tmp_path) == ["file"]


def refusing(number: int) -> Callable[[str, str, int], None]:
    def refuse(old: str, new: str, flags: int) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_relative_path_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_file("pid", b"1")
    assert (tmp_path / "pid").read_bytes() == b"1"


def test_a_file_is_read_to_its_end_even_by_short_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may return less than a page at a time: cgroup.procs, mountinfo."""
    path = tmp_path / "file"
    path.write_bytes(b"1\n\xff\n" * 500)
    read = posix.read
    monkeypatch.setattr(posix, "read", lambda fd, size: read(fd, min(size, 100)))
    assert read_file(str(path)) == b"1\n\xff\n" * 500
    assert files.read(str(path)) == "1\n\udcff\n" * 500


def test_a_control_file_gets_the_bytes_that_were_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"/a\xffb\x1c")
    files.write(str(path), files.read(str(path)))
    assert path.read_bytes() == b"/a\xffb\x1c"
