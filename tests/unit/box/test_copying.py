"""A box's file does not go where an earlier copy of its symlink leads on the host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ocipy import Error
from ocipy.box.copying import copy_in, copy_out


def test_a_symlink_with_the_targets_name_is_not_followed(tmp_path: Path) -> None:
    """An earlier copy has brought it; then the box puts a directory in its place."""
    root, victim, target = (tmp_path / name for name in ("root", "victim", "report"))
    (root / "report").mkdir(parents=True)
    (root / "report/evil").write_text("evil")
    victim.mkdir()
    target.symlink_to(victim)
    with pytest.raises(Error, match="is a symlink"):
        copy_out(str(root), "/report", str(target))
    assert not list(victim.iterdir())


def test_copying_anything_but_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    os.mkfifo(tmp_path / "root/pipe")
    with pytest.raises(Error, match="neither a file, a directory"):
        copy_out(str(tmp_path / "root"), "/pipe", str(tmp_path / "out"))
    with pytest.raises(Error, match="neither a file, a directory"):
        copy_in(str(tmp_path / "root/pipe"), str(tmp_path / "root"), "/other")


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_a_symlink_that_came_from_the_box_is_not_followed(tmp_path: Path, kind: str) -> None:
    root, host, out = (tmp_path / name for name in ("root", "host", "out"))
    for path in (root, host, out):
        path.mkdir()
    victim = host / "victim"
    victim.write_text("untouched") if kind == "file" else victim.mkdir()
    inside = root / "srv/report"
    inside.parent.mkdir()
    inside.symlink_to(victim)
    copy_out(str(root), "/srv", str(out))
    inside.unlink()
    if kind == "file":
        inside.write_text("evil")
    else:
        inside.mkdir()
        (inside / "evil").write_text("evil")
    with pytest.raises(Error, match="is a symlink"):
        copy_out(str(root), "/srv/report", f"{out}/srv")
    assert victim.read_text() == "untouched" if kind == "file" else not list(victim.iterdir())


def test_an_existing_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for content in ("one and more", "two"):
        (tmp_path / "root/report").write_text(content)
        copy_out(str(tmp_path / "root"), "/report", str(tmp_path))
    assert (tmp_path / "report").read_text() == "two"


def test_a_copy_to_a_device_keeps_its_mode(tmp_path: Path) -> None:
    # As root, a copy to /dev/null would close it to everybody else.
    (tmp_path / "root").mkdir()
    (tmp_path / "root/report").write_text("one")
    os.mkfifo(tmp_path / "pipe", 0o600)
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    copy_out(str(tmp_path / "root"), "/report", f"{tmp_path}/pipe")
    assert os.read(reading, 10) == b"one"
    assert stat.S_IMODE(os.stat(tmp_path / "pipe").st_mode) == 0o600
    os.close(reading)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A box's root and a host directory, each with a directory, a file in it, and a symlink to each."""
    for top in (tmp_path / "root", tmp_path / "host"):
        (top / "real").mkdir(parents=True)
        (top / "real/file").write_text(top.name)
        (top / "link").symlink_to("real")
        (top / "name").symlink_to("real/file")
    return tmp_path


def test_a_symlink_of_the_box_is_copied_as_one(linked: Path) -> None:
    (linked / "out").mkdir()
    for _ in range(2):  # the second copy replaces the first
        copy_out(f"{linked}/root", "/link", f"{linked}/out")
        assert (linked / "out/link").readlink() == Path("real")
    copy_out(f"{linked}/root", "/link", f"{linked}/followed", follow=True)
    copy_out(f"{linked}/root", "/link/", f"{linked}/slash")
    copy_out(f"{linked}/root", "/name", f"{linked}/content", follow=True)
    assert (linked / "followed/file").read_text() == (linked / "slash/file").read_text() == "root"
    assert not (linked / "content").is_symlink() and (linked / "content").read_text() == "root"


def test_a_symlink_out_of_the_box_is_followed_inside_it(linked: Path) -> None:
    (linked / "root/out").symlink_to("/host")
    with pytest.raises(FileNotFoundError):
        copy_out(f"{linked}/root", "/out/real/file", f"{linked}/content")
    with pytest.raises(FileNotFoundError):
        copy_out(f"{linked}/root", "/out", f"{linked}/content", follow=True)


@pytest.mark.parametrize("source", ["/real/file", "/real", "/name"])
def test_a_symlink_to_a_directory_of_the_host_is_followed_only_with_a_slash(linked: Path, source: str) -> None:
    with pytest.raises(Error, match="is a symlink") as caught:
        copy_out(f"{linked}/root", source, f"{linked}/host/link")
    assert caught.value.hint.endswith("/host/link/")
    assert [path.name for path in (linked / "host/real").iterdir()] == ["file"]
    (linked / "host/real/file").unlink()
    copy_out(f"{linked}/root", source, f"{linked}/host/link/")
    assert [path.name for path in (linked / "host/real").iterdir()] == [Path(source).name]


def test_a_symlink_of_the_host_is_copied_as_one(linked: Path) -> None:
    root = f"{linked}/root"
    copy_in(f"{linked}/host/link", root, "/real")
    copy_in(f"{linked}/host/name", root, "/real")
    assert (linked / "root/real/link").readlink() == Path("real")
    assert (linked / "root/real/name").readlink() == Path("real/file")
    copy_in(f"{linked}/host/link", root, "/followed", follow=True)
    copy_in(f"{linked}/host/link/", root, "/slash")
    copy_in(f"{linked}/host/name", root, "/real", follow=True)
    for copied in ("followed/file", "slash/file", "real/name"):
        assert not (linked / "root" / copied).is_symlink() and (linked / "root" / copied).read_text() == "host"


def test_the_content_of_a_directory(linked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (f"{linked}/host/real/.", "."):
        monkeypatch.chdir(linked / "host/real")
        copy_in(word, f"{linked}/root", "/link")
        assert (linked / "root/real/file").read_text() == "host" and not (linked / "root/real/real").exists()
        (linked / "root/real/file").write_text("root")
    (linked / "out").mkdir()
    copy_out(f"{linked}/root", "/real/.", f"{linked}/out")
    assert (linked / "out/file").read_text() == "root"
