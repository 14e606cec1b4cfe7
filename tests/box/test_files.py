"""A box's files, seen from the host: `cp`, `diff`, `rm` of what a hostile box has made."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.box.conftest import PYTHON, Box

# Far deeper than the interpreter's stack, PATH_MAX and the limit on open files.
DEEP = """
import os
os.chdir("/srv")
for _ in range(1500):
    os.mkdir("deep")
    os.chdir("deep")
open("file", "w").close()
"""


def test_a_tree_deeper_than_any_stack(box: Box, tmp_path: Path) -> None:
    box("run", "--name", "one", "--network", "none", *PYTHON, DEEP)
    changed = [line for line in box("diff", "one").stdout.split("\n") if "/srv/" in line]
    assert len(changed) == 1501 and changed[-1].endswith("/deep/file")
    try:
        box("cp", "one:/srv", str(tmp_path / "out"))
        found = subprocess.run(["find", tmp_path / "out", "-type", "f"], check=True, capture_output=True).stdout
        assert found.count(b"/deep") == 1500
        box("create", "--name", "two", "--network", "none", "busybox")
        box("cp", str(tmp_path / "out"), "two:/srv")
        assert box("diff", "two").stdout.count("\n") == 1503
    finally:
        subprocess.run(["find", tmp_path / "out", "-delete"], check=False)
    box("rm", "one", "two")


def test_a_box_that_has_never_run(box: Box, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hello\n")
    box("create", "--name", "one", "--network", "none", "busybox", "cat", "/etc/motd")
    box("cp", str(tmp_path / "motd"), "one:/etc/motd")
    box("start", "one")
    box("wait", "one")
    assert box("logs", "one").stdout == "hello\n"
