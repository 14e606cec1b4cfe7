"""A user's boxes on fuse-overlayfs, on a filesystem that the kernel's overlayfs refuses: another overlay."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocipy.linux.capabilities import names
from tests.box.conftest import NAME, V4, V6, Box, Neighbour, left_behind
from tests.box.test_killed import killed_at
from tests.harness.host import scaled, wait_until
from tests.harness.leaks import reap
from tests.harness.user import FIRST_UID, USER

pytestmark = pytest.mark.needs_program("fuse-overlayfs")

RUN = ("--network", "none")


@pytest.fixture
def box(user_box: Box) -> Box:
    """The command as the user calls it."""
    return user_box


@pytest.fixture
def user_places() -> Iterator[Path]:
    """A user's directory on an overlay, which is on a tmpfs."""
    path = Path(tempfile.mkdtemp(prefix="box-"))
    subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    for name in ("lower", "upper", "work", "top"):
        (path / name).mkdir()
    options = f"lowerdir={path}/lower,upperdir={path}/upper,workdir={path}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, path / "top"], check=True)
    for one in (path, path / "top"):
        one.chmod(0o755)
    (path / "top/b").mkdir()
    os.chown(path / "top/b", USER, USER)
    yield path / "top/b"
    unmount = ["umount", str(path / "top")]
    wait_until(lambda: subprocess.run(unmount, check=False).returncode == 0, "conmon has ended", timeout=20)
    subprocess.run(["umount", path], check=True)
    path.rmdir()


def servers(places: Path) -> list[int]:
    """The pids of the fuse-overlayfs that serve boxes kept there."""
    reap()
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if words.startswith(b"fuse-overlayfs\0") and str(places).encode() in words:
                found.append(int(name))
    return found


def test_it_is_used_and_reported_where_the_kernel_refuses(box: Box) -> None:
    box("run", "-d", "--name", "one", *RUN, "busybox", "sleep", "1000")
    assert "fuse-overlayfs / fuse " in box("exec", "one", "cat", "/proc/mounts").stdout
    chosen = box.inspect("one")["copyOnWrite"]
    assert chosen["by"] == "fuse-overlayfs" and "refuses" in chosen["why"] and "Invalid argument" in chosen["why"]
    for words in (("explain", "one"), ("run", "--dry-run", *RUN, "busybox")):
        assert "/: copied on write by fuse-overlayfs: the kernel's overlayfs refuses" in box(*words).stdout
    assert len(servers(box.places)) == 1


def test_the_life_of_a_box(box: Box) -> None:
    script = "mkdir /srv/p; echo x > /srv/p/secret; chmod 600 /srv/p/secret; chown -R 33 /srv/p; chmod 700 /srv/p; "
    script += "rm /etc/group; rm -r /usr/bin; mkdir /usr/bin; touch /ready; trap 'exit 0' TERM; sleep 1000 & wait"
    box("run", "-d", "--name", "one", *RUN, "busybox", "sh", "-c", script)
    wait_until(lambda: box("exec", "one", "test", "-e", "/ready", status=None).returncode == 0, "it is ready")
    assert box("exec", "-u", "nobody", "one", "id", "-u").stdout == "65534\n"
    changed = ["C /etc", "D /etc/group", "A /ready", "C /srv", "A /srv/p", "A /srv/p/secret"]
    changed += ["C /usr", "C /usr/bin", "D /usr/bin/*"]
    assert box("diff", "one").stdout.split("\n")[:-1] == changed
    box("cp", "one:/srv/p/secret", str(box.places / "secret"))
    assert (box.places / "secret").read_text() == "x\n" and (box.places / "secret").stat().st_uid == USER
    box("cp", str(box.places / "secret"), "one:/srv/again")
    box("restart", "one")
    assert box("exec", "one", "cat", "/srv/again", "/srv/p/secret").stdout == "x\nx\n"
    assert "sleep 1000\n" in box("top", "--no-stream", "one").stdout
    assert len(servers(box.places)) == 1
    box("stop", "-t", "0", "one")
    assert not servers(box.places)
    box("cp", "one:/srv/again", str(box.places / "later"))
    assert (box.places / "later").read_text() == "x\n"
    box("start", "one")
    assert box("exec", "one", "cat", "/srv/again").stdout == "x\n"
    box("rm", "-f", "one")
    assert not servers(box.places) and not list((box.places / "run").glob("fuse-*"))


def test_two_boxes_on_one_base(box: Box) -> None:
    for name in ("one", "two"):
        box("run", "-d", "--name", name, *RUN, "busybox", "sh", "-c", f"echo {name} > /etc/motd; sleep 1000")
    for name in ("one", "two"):
        read = ("exec", name, "cat", "/etc/motd")
        wait_until(lambda read=read, name=name: box(*read, status=None).stdout == f"{name}\n", "its own write is there")  # type: ignore[misc]
    (rootfs,) = (box.places / "data/images").glob("*/rootfs")
    assert not (rootfs / "etc/motd").exists()


def test_ids_are_the_allotted_ones(box: Box) -> None:
    box("run", "--name", "one", *RUN, "busybox", "sh", "-c", "mkdir /srv/x; chown 33 /srv/x")
    (directory,) = (box.places / "data/boxes").glob("[!.]*")
    assert (directory / "upper/srv/x").stat().st_uid == FIRST_UID + 32


def test_read_only_and_volumes(box: Box) -> None:
    done = box("run", "--rm", "--read-only", *RUN, "busybox", "touch", "/x", status=1)
    assert "Read-only file system" in done.stderr
    assert box.run("-v", f"{box.places}/data:/data", "busybox", "ls", "/data") == "boxes\nimages\n"


def test_a_box_holds_nothing_of_the_server(box: Box) -> None:
    """Neither the device through which its root is served, nor rights over the server: its user namespace is below."""
    box("run", "-d", "--name", "one", *RUN, "--cap-add", "ALL", "busybox", "sleep", "1000")
    pid = box.inspect("one")["state"]["pid"]
    held = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    assert not [one for one in held if "fuse" in one]
    (server,) = servers(box.places)
    for kind in ("user", "mnt", "pid"):
        assert os.readlink(f"/proc/{server}/ns/{kind}") != os.readlink(f"/proc/{pid}/ns/{kind}")
    numbers = box("exec", "one", "ls", "/proc").stdout.split()
    shown = [box("exec", "one", "cat", f"/proc/{one}/cmdline", status=None).stdout for one in numbers if one.isdigit()]
    assert not [one for one in shown if "fuse-overlayfs" in one]


def test_the_server_has_only_the_capabilities_that_it_needs(box: Box) -> None:
    box("run", "-d", "--name", "one", *RUN, "--cap-add", "ALL", "busybox", "sleep", "1000")
    (server,) = servers(box.places)
    lines = [line.partition(":\t") for line in Path(f"/proc/{server}/status").read_text().split("\n")]
    status = {name: value for name, _, value in lines}
    assert status["NoNewPrivs"] == "1"
    needed = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP"}
    for kind in ("CapEff", "CapPrm", "CapBnd"):
        assert set(names(int(status[kind], 16))) == needed
    assert not int(status["CapInh"], 16) and not int(status["CapAmb"], 16)


# Each line needs another of the server's capabilities; the last one needs none.
CHANGES = """
import os, stat
os.chdir("/srv")
open("a", "w").write("x"); os.chown("a", 33, 34)
os.chmod("a", 0o600); os.utime("a", (5, 5))
open("a", "a").write("y")
os.chmod("a", 0o2755)
capability = bytes.fromhex("0100000200040000000000000000000000000000")
os.setxattr("a", "security.capability", capability)
assert os.getxattr("a", "security.capability") == capability
one = os.stat("a")
print(oct(one.st_mode), one.st_uid, one.st_gid, one.st_size)
os.mkfifo("f"); os.link("a", "h"); os.symlink("a", "l"); os.lchown("l", 5, 5); os.unlink("/etc/group")
os.setgroups([]); os.setresgid(34, 34, 34); os.setresuid(33, 33, 33)
os.mkdir("/tmp/own"); os.chmod("a", 0o400)
"""


def test_what_its_capabilities_are_for(box: Box) -> None:
    libraries = [word for name in ("usr:/py/usr", "lib:/lib", "lib64:/lib64") for word in ("-v", f"/{name}:ro")]
    flags = (*libraries, "-e", "PYTHONHOME=/py/usr", "--cap-add", "ALL")
    assert box.run(*flags, "busybox", "/py/usr/bin/python3", "-c", CHANGES) == "0o102755 33 34 2\n"


def test_the_server_is_killed(box: Box) -> None:
    """Nothing hangs, and rm -f clears the box; the next start gets a new server."""
    box("run", "-d", "--name", "one", *RUN, "busybox", "sh", "-c", "echo x > /etc/motd; sleep 1000")
    wait_until(lambda: box("exec", "one", "cat", "/etc/motd", status=None).stdout == "x\n", "it has written")
    os.kill(servers(box.places)[0], signal.SIGKILL)
    wait_until(lambda: not servers(box.places), "it is gone")
    done = box("exec", "one", "cat", "/etc/motd", status=None)
    assert done.returncode == 1 and "that served the root of box one has ended" in done.stderr
    assert "box restart one" in done.stderr and done.stderr.count("\n") == 2
    assert "has ended" in box("cp", "one:/etc/motd", str(box.places / "motd"), status=1).stderr
    box("stop", "-t", "0", "one")
    box("start", "one")
    assert box("exec", "one", "cat", "/etc/motd").stdout == "x\n"
    os.kill(servers(box.places)[0], signal.SIGKILL)
    box("rm", "-f", "one")


def test_a_server_that_cannot_serve_says_why(box: Box, places: Path) -> None:
    box("create", "--name", "one", *RUN, "busybox", "true")
    (rootfs,) = (box.places / "data/images").glob("*/rootfs")
    rootfs.rename(rootfs.with_name("elsewhere"))
    done = box("start", "one", status=1)
    assert "fuse-overlayfs cannot serve the box's root (cannot read lower dirs: No such file" in done.stderr
    assert done.stderr.count("\n") <= 2
    assert not servers(places)
    rootfs.with_name("elsewhere").rename(rootfs)


COMMANDS = {
    "run": ("run", "--name", "one", *RUN, "busybox", "true"),
    "run -d": ("run", "-d", "--name", "one", *RUN, "busybox", "sleep", "1000"),
}


@pytest.mark.needs_program("strace")
@pytest.mark.parametrize("name", COMMANDS)
def test_rm_clears_what_a_killed_command_has_left(box: Box, name: str) -> None:
    """Killed at each fork, wait and answer of the processes that make the root."""
    box.run("busybox", "true")  # fetches the image
    steps = 0
    for call in ("clone", "read", "wait4", "vfork"):
        number, killed = 1, True
        while killed:
            killed = killed_at(box, call, number, COMMANDS[name])
            ids = {path.name for path in (box.places / "data/boxes").glob("[!.]*")}
            found = box("ps", "-aq").stdout.split()
            if found:
                box("rm", "-f", *found)

            def nothing_left(ids: set[str] = ids) -> bool:
                reap()
                return not servers(box.places) and not left_behind(box.places, ids)

            wait_until(nothing_left, f"nothing is left, killed at {call} {number}", timeout=10)
            number += {"read": 7}.get(call, 1)
            steps += killed
    assert steps > 8


def closed(path: str, cover: Path) -> list[str]:
    """Words to put before a command: they cover a host file with another one, for this command alone."""
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {cover} {path} && exec "$@"', "sh"]


def test_neither_overlayfs_nor_fuse_overlayfs(box: Box) -> None:
    box.before = [*closed("/usr/bin/fuse-overlayfs", Path("/dev/null")), *box.before]
    done = box("run", "--rm", *RUN, "busybox", "true", status=125)
    assert "the kernel's overlayfs refuses" in done.stderr and "fuse-overlayfs is not installed" in done.stderr
    assert "install fuse-overlayfs" in done.stderr and done.stderr.count("\n") == 2
    assert not list((box.places / "data/boxes").glob("[!.]*"))


def test_the_device_may_not_be_opened(box: Box, tmp_path: Path) -> None:
    (tmp_path / "closed").write_text("")
    (tmp_path / "closed").chmod(0o600)
    box.before = [*closed("/dev/fuse", tmp_path / "closed"), *box.before]
    done = box("run", "--rm", *RUN, "busybox", "true", status=125)
    assert "the kernel's overlayfs refuses" in done.stderr and "cannot open /dev/fuse" in done.stderr


def test_it_goes_away_between_two_starts(box: Box) -> None:
    box("run", "--name", "one", *RUN, "busybox", "true")
    before = box.before
    box.before = [*closed("/usr/bin/fuse-overlayfs", Path("/dev/null")), *box.before]
    done = box("start", "one", status=1)
    assert "cannot copy the box's root on write: fuse-overlayfs is not installed" in done.stderr
    box.before = before
    box("start", "one")


def test_with_pasta(box: Box, neighbour: Neighbour, server: Callable[..., Any], tmp_path: Path) -> None:
    """Its network namespace belongs to the box's own user namespace: a box serves a low port."""
    neighbour.serve(server, tmp_path)
    assert box.run("--network", "pasta", "busybox", "wget", "-q", "-O", "-", f"http://{NAME}/") in (V4[0], V6[0])
    box("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", "echo hello > /index.html; httpd -f -h /")
    fetch = ["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]

    def answers() -> bool:
        return subprocess.run(fetch, check=False, capture_output=True).stdout == b"hello\n"

    wait_until(answers, "it serves", timeout=20)
    box("rm", "-f", "web")


def test_a_box_cannot_make_the_marks_of_fuse_overlayfs(box: Box) -> None:
    """It marks deleted files and opaque directories with names."""
    script = (
        "touch /srv/.wh.etc 2>/dev/null; mkdir /srv/a; touch /srv/a/b; rm -r /srv/a; mkdir /srv/a; ls -A /srv /srv/a"
    )
    assert box.run("busybox", "sh", "-c", script).split() == ["/srv:", "a", "/srv/a:"]


def test_a_box_on_fuse_never_asks_for_the_kernels_overlay_again(box: Box) -> None:
    """The record says what has written the upper directory."""
    box("create", "--name", "one", *RUN, "busybox", "true")
    (record,) = (box.places / "data/boxes").glob("[!.]*/box.json")
    assert json.loads(record.read_text())["copyOnWrite"]["by"] == "fuse-overlayfs"
    assert not list((box.places / "run").glob("overlayfs-*"))
    assert stat.S_IMODE(record.stat().st_mode) & 0o022 == 0


def test_a_missing_command_is_reported_at_once(box: Box) -> None:
    box.run("busybox", "true")
    for words in ((), ("-d",)):
        began = time.monotonic()
        box("run", "--name", "one", *words, *RUN, "busybox", "/nonexistent", status=127)
        assert time.monotonic() - began < scaled(4)
    assert servers(box.places) == []


def test_a_box_whose_record_cannot_be_read_leaves_nothing(box: Box) -> None:
    box_id = box("run", "-d", *RUN, "busybox", "sleep", "1000").stdout.strip()
    (box.places / "data/boxes" / box_id / "box.json").write_text("{")
    box("rm", "-f", box_id)
    assert servers(box.places) == [] and list((box.places / "run").glob("fuse-overlayfs-*.pid")) == []
