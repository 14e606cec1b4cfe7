"""init/paths.py: an image's symlinks stay inside the root, and a directory that was swapped is not opened."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.init import paths
from ocipy.linux import _kernel


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A host directory with a file that identifies it."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/whose").write_text("host")
    return tmp_path / "outside"


@pytest.fixture
def root(tmp_path: Path, outside: Path) -> Iterator[int]:
    """A root with links to the host's directory: by absolute path, by "..", and by a chain of links."""
    tree = tmp_path / "root"
    tree.mkdir()
    (tree / "absolute").symlink_to(outside)
    (tree / "up").symlink_to("../outside")
    (tree / "chain").symlink_to("absolute")
    (tree / "deep").mkdir()
    (tree / "deep/up").symlink_to("../../../../../.." + str(outside))
    fd = os.open(tree, os.O_PATH)
    yield fd
    os.close(fd)


LINKS = ["absolute", "up", "chain", "deep/up", "/absolute", "../outside", "deep/../../outside"]


@pytest.mark.parametrize("link", LINKS)
def test_nothing_outside_is_opened(root: int, link: str) -> None:
    with pytest.raises(FileNotFoundError):
        paths.open_below(root, f"{link}/whose")


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("directory", [True, False])
def test_missing_directories_are_made_inside(root: int, outside: Path, link: str, directory: bool) -> None:
    fd, made = paths.make(root, f"{link}/made", directory=directory)
    assert made
    where = os.readlink(f"/proc/self/fd/{fd}")
    assert where.startswith(str(outside.parent / "root") + "/")
    assert paths.is_directory(fd) is directory
    assert [path.name for path in outside.iterdir()] == ["whose"]
    os.close(fd)


def test_magic_links_are_not_followed(tmp_path: Path) -> None:
    """/proc/self/fd/N in an image with a procfs leads anywhere (openat2(2))."""
    held = os.open(tmp_path, os.O_PATH)
    proc = os.open("/proc", os.O_PATH)
    with pytest.raises(OSError) as caught:
        paths.open_below(proc, f"self/fd/{held}")
    assert caught.value.errno == errno.ELOOP
    os.close(held)
    os.close(proc)


@pytest.mark.parametrize("path", [*LINKS[:4], "absolute/new", "deep/up/new", "dangling"])
def test_no_symlink_is_followed_if_the_text_must_be_the_place(root: int, tmp_path: Path, path: str) -> None:
    (tmp_path / "root/dangling").symlink_to("nothing")
    with pytest.raises(OSError) as caught:
        paths.make(root, path, directory=True, follow=False)
    assert caught.value.errno == errno.ELOOP


def test_a_symlink_that_appears_is_not_followed_either(
    root: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes it right after the kernel has not found anything there."""
    real = _kernel.openat2
    (tmp_path / "root/elsewhere").mkdir()

    def openat2(directory: int, path: str, flags: int, mode: int, resolve: int) -> int:
        try:
            return real(directory, path, flags, mode, resolve)
        except FileNotFoundError:
            (tmp_path / "root/new").symlink_to("elsewhere")
            raise

    monkeypatch.setattr(_kernel, "openat2", openat2)
    with pytest.raises(OSError) as caught:
        paths.make(root, "new", directory=True, follow=False)
    assert caught.value.errno == errno.ELOOP
    assert not any((tmp_path / "root/elsewhere").iterdir())


@pytest.mark.parametrize("follow", [False, True])
def test_whether_something_was_missing(root: int, follow: bool) -> None:
    for made in (True, False):
        fd, found = paths.make(root, "deep/new/er", directory=True, follow=follow)
        assert found is made
        os.close(fd)


def test_going_up_from_a_missing_directory_is_refused(root: int) -> None:
    with pytest.raises(Error, match="after a missing directory"):
        paths.make(root, "missing/../../outside", directory=True)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_directory_that_was_swapped_is_not_opened(
    root: int, outside: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Between mkdir and open another process replaces it."""
    real = os.mkdir

    def mkdir(name: str, mode: int, *, dir_fd: int) -> None:
        real(name, mode, dir_fd=dir_fd)
        os.rmdir(name, dir_fd=dir_fd)
        if kind == "link":
            os.symlink(outside, name, dir_fd=dir_fd)
        else:
            os.close(os.open(name, os.O_CREAT, dir_fd=dir_fd))

    monkeypatch.setattr("posix.mkdir", mkdir)
    with pytest.raises(OSError) as caught:
        paths.make_directory(root, "new/below")
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
    assert [path.name for path in outside.iterdir()] == ["whose"]


@pytest.mark.parametrize("kind", ["link", "file"])
def test_make_plain_directory_refuses_a_link(root: int, tmp_path: Path, kind: str) -> None:
    """For proc and sysfs: masks rely on their places (CVE-2019-19921)."""
    (tmp_path / "root/real").mkdir()
    if kind == "link":
        (tmp_path / "root/proc").symlink_to("real")
    else:
        (tmp_path / "root/proc").touch()
    with pytest.raises(Error, match="not an ordinary directory"):
        paths.make_plain_directory(root, "/proc")
