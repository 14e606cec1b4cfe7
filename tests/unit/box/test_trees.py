"""Trees deeper than the interpreter's stack, PATH_MAX and the limit on open files: a box may make one."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.box import changes, copying, trees

DEPTH = 3000


def deepen(top: Path) -> None:
    """Make directories in directories, with a file in the lowest."""
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)


def depth_of(top: Path) -> tuple[int, list[str]]:
    """(number of directories below, names of files)."""
    found = list(trees.walk(os.open(top, os.O_RDONLY)))
    return sum(one.after for one in found), [one.name for one in found if one.name != "d"]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A directory with a deep one in it; few files may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    deepen(tmp_path / "deep")
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    subprocess.run(["find", tmp_path, "-delete"], check=True)
    tmp_path.mkdir()


def test_a_deep_tree_is_copied_out(deep: Path) -> None:
    copying.copy_out(str(deep), "/deep", f"{deep}/copy")
    assert depth_of(deep / "copy") == (DEPTH, ["file"])


def test_a_deep_tree_is_copied_in(deep: Path) -> None:
    (deep / "box").mkdir()
    copying.copy_in(f"{deep}/deep", str(deep / "box"), "/")
    assert depth_of(deep / "box/deep") == (DEPTH, ["file"])


def test_a_deep_tree_is_removed(deep: Path) -> None:
    trees.remove_tree(deep / "deep")
    assert not (deep / "deep").exists()


def test_the_changes_of_a_deep_tree(deep: Path) -> None:
    (deep / "lower").mkdir()
    found = list(changes.changes(deep / "deep", deep / "lower"))
    assert found[0] == ("A", "/d") and found[-1] == ("A", "/d" * DEPTH + "/file")


def test_the_size_of_a_deep_tree(deep: Path) -> None:
    assert trees.size_of(deep / "deep") == 0


def test_a_directory_that_moves_meanwhile_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "top/a/b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    walked = trees.walk(os.open(tmp_path / "top", os.O_RDONLY))
    assert [next(walked).name, next(walked).name] == ["a", "b"]
    next(walked)  # in b, and out of it again
    (tmp_path / "top/a").rename(tmp_path / "elsewhere/a")
    with pytest.raises(OSError, match="moved"):
        list(walked)


def test_symlinks_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    (tmp_path / "top").mkdir()
    (tmp_path / "top/link").symlink_to(tmp_path / "kept")
    trees.remove_tree(tmp_path / "top")
    assert (tmp_path / "kept/file").exists() and not (tmp_path / "top").exists()


def test_an_images_symlink_is_not_followed_for_changes(tmp_path: Path) -> None:
    """A directory took the place of an image's symlink: what it contains is new, whatever the link leads to."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("x")
    (tmp_path / "lower").mkdir()
    (tmp_path / "lower/etc").symlink_to(tmp_path / "outside")
    (tmp_path / "upper/etc").mkdir(parents=True)
    (tmp_path / "upper/etc/file").write_text("y")
    assert list(changes.changes(tmp_path / "upper", tmp_path / "lower")) == [("C", "/etc"), ("A", "/etc/file")]
