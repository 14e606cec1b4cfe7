"""Programs in images and boxes may be set-uid: no other user of the host can reach them (CVE-2021-41091)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.box.conftest import Box
from tests.harness.user import USER


@pytest.mark.parametrize(("who", "kind"), [("root", "host"), ("root", "auto"), ("user", "auto")])
def test_no_other_user_reaches_a_set_uid_program(request: pytest.FixtureRequest, who: str, kind: str) -> None:
    box: Box = request.getfixturevalue(f"{who}_box")
    data = box.places / "data"
    data.mkdir()
    data.chmod(0o711)  # as an earlier version made it
    if who == "user":
        os.chown(data, USER, USER)
    words = ("--network", "none", "--userns", kind, "busybox", "sh", "-c", "cp /bin/busybox /srv/b; chmod 4755 /srv/b")
    box("run", "--name", "one", *words)
    made = Path(box.inspect("one")["directory"], "upper/srv/b")
    assert made.stat().st_mode & 0o4000
    other = ["setpriv", "--reuid", str(USER + 1), "--regid", str(USER + 1), "--clear-groups", "--"]
    for path in (made, Path(box.inspect("one")["image"]["rootfs"], "bin/busybox")):
        done = subprocess.run([*other, "ls", "-d", path], check=False, capture_output=True, text=True)
        assert done.returncode != 0 and "Permission denied" in done.stderr
    box("cp", "one:/srv/b", str(box.places / "b"))
    box("start", "one")
    box("stop", "one")
