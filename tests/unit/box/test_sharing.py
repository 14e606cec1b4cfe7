"""Images with layers in common share files, and nothing else about them changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocipy.box.images.sharing import TEMPORARY, share


def tree(top: Path, files: dict[str, str]) -> Path:
    """Files with their content, all with the same modification time."""
    top.mkdir()
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(content)
        os.utime(top / name, (1, 1))
    for place, _, _ in os.walk(top, topdown=False):
        os.utime(place, (2, 2))
    return top


def shared(new: Path, old: Path) -> list[str]:
    """The paths at which both trees have the same file."""
    found = []
    for path in sorted(new.rglob("*")):
        other = old / path.relative_to(new)
        if path.is_file() and not path.is_symlink() and other.exists() and path.samefile(other):
            found.append(str(path.relative_to(new)))
    return found


def test_equal_files_are_shared(tmp_path: Path) -> None:
    files = {"bin/sh": "shell", "etc/a/b": "deep", "etc/empty": "", "etc/motd": "one"}
    old = tree(tmp_path / "old", files)
    new = tree(tmp_path / "new", files | {"etc/motd": "two", "srv/only/here": "x", "var/last": "y"})
    assert share(new, old) == len("shell") + len("deep")
    assert shared(new, old) == ["bin/sh", "etc/a/b"]
    assert (new / "etc/motd").read_text() == "two" and (new / "srv/only/here").read_text() == "x"
    assert {(new / name).stat().st_mtime for name in ("bin", "etc", "etc/a", "srv/only")} == {2}
    assert not list(new.rglob(TEMPORARY))


@pytest.mark.parametrize("what", ["mode", "time", "owner", "xattr", "size"])
def test_files_that_differ_in_an_attribute_are_not_shared(tmp_path: Path, what: str) -> None:
    old, new = tree(tmp_path / "old", {"a": "same"}), tree(tmp_path / "new", {"a": "same"})
    if what == "mode":
        (new / "a").chmod(0o4755)
    elif what == "time":
        os.utime(new / "a", (1, 2))
    elif what == "owner":
        if os.geteuid() != 0:
            pytest.skip("needs root, to give a file away")
        os.chown(new / "a", 33, 33)
    elif what == "xattr":
        os.setxattr(new / "a", "user.x", b"1")
    else:
        (new / "a").write_text("more")
        os.utime(new / "a", (1, 1))
    assert share(new, old) == 0 and shared(new, old) == []


def test_symlinks_and_hard_links_stay(tmp_path: Path) -> None:
    """Neither is followed: an image's link may lead anywhere; a file with two names keeps both."""
    old, new = tree(tmp_path / "old", {"a": "same", "etc/passwd": "x"}), tree(tmp_path / "new", {"a": "same"})
    os.link(new / "a", new / "b")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/passwd").write_text("x")
    os.utime(tmp_path / "outside/passwd", (1, 1))
    (new / "etc").symlink_to(tmp_path / "outside")
    assert share(new, old) == 0
    assert (new / "a").samefile(new / "b") and (new / "etc").is_symlink()
    assert not (old / "etc/passwd").samefile(tmp_path / "outside/passwd")
    (old / "lib").symlink_to(tmp_path / "outside")
    (new / "lib").mkdir()
    (new / "lib/passwd").write_text("x")
    os.utime(new / "lib/passwd", (1, 1))
    assert share(new, old) == 0
    assert not (new / "lib/passwd").samefile(tmp_path / "outside/passwd")


def test_a_name_like_the_temporary_one(tmp_path: Path) -> None:
    files = {TEMPORARY: "mine", "a": "same"}
    old, new = tree(tmp_path / "old", files), tree(tmp_path / "new", files)
    share(new, old)
    assert (new / TEMPORARY).read_text() == "mine" and (new / "a").read_text() == "same"


def test_two_files_of_an_image_stay_two(tmp_path: Path) -> None:
    # In the old one they are one: with overlayfs's index (overlayfs.rst), a box that changes one changes the other.
    old, new = tree(tmp_path / "old", {"a": "same"}), tree(tmp_path / "new", {"a": "same", "b": "same"})
    os.link(old / "a", old / "b")
    share(new, old)
    assert not (new / "a").samefile(new / "b") and shared(new, old) == ["a"]
