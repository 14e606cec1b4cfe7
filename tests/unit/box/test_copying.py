"""A box's file does not go where an earlier copy of its symlink leads on the host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ocipy import Error
from ocipy.box.copying import copy_out


def test_a_symlink_of_the_target_s_name_is_not_followed(tmp_path: Path) -> None:
    """A first copy has brought it; then the box puts a directory in its place."""
    root, victim, target = (tmp_path / name for name in ("root", "victim", "report"))
    (root / "report").mkdir(parents=True)
    (root / "report/evil").write_text("evil")
    victim.mkdir()
    target.symlink_to(victim)
    with pytest.raises(Error, match="is a symlink"):
        copy_out(str(root), "/report", target)
    assert not list(victim.iterdir())


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    os.mkfifo(tmp_path / "root/pipe")
    with pytest.raises(Error, match="neither a file nor a directory"):
        copy_out(str(tmp_path / "root"), "/pipe", tmp_path / "out")


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
    copy_out(str(root), "/srv", out)
    inside.unlink()
    if kind == "file":
        inside.write_text("evil")
    else:
        inside.mkdir()
        (inside / "evil").write_text("evil")
    with pytest.raises(Error, match="is a symlink"):
        copy_out(str(root), "/srv/report", out / "srv")
    assert victim.read_text() == "untouched" if kind == "file" else not list(victim.iterdir())


def test_a_file_that_is_there_is_written_again(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    for content in ("one and more", "two"):
        (tmp_path / "root/report").write_text(content)
        copy_out(str(tmp_path / "root"), "/report", tmp_path)
    assert (tmp_path / "report").read_text() == "two"


def test_what_is_no_file_keeps_its_mode(tmp_path: Path) -> None:
    # As root, a copy to /dev/null would close it to everybody else.
    (tmp_path / "root").mkdir()
    (tmp_path / "root/report").write_text("one")
    os.mkfifo(tmp_path / "pipe", 0o600)
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    copy_out(str(tmp_path / "root"), "/report", tmp_path / "pipe")
    assert os.read(reading, 10) == b"one"
    assert stat.S_IMODE(os.stat(tmp_path / "pipe").st_mode) == 0o600
    os.close(reading)
