"""Every command of a box's life, as root, as an ordinary user, and as a user from whom /proc hides other processes.

No test has a terminal: standard input is empty, as in cron and CI.
"""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.box.conftest import Box, box_of, left_behind
from tests.harness.host import scaled, wait_until
from tests.harness.user import HIDDEN

SCRIPT = "echo begun; echo odd >&2; echo kept > /srv/kept; sleep 1000 & wait"


@pytest.fixture(params=["root", "user", "hidepid"])
def box(request: pytest.FixtureRequest, login: dict[str, str]) -> Box:
    made = box_of(request.param, request, login)
    if request.param == "hidepid":
        made.before = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", "2", *made.before]
    return made


def test_from_run_to_rm(box: Box) -> None:
    none = ("--network", "none")
    name = box("run", "-d", "--name", "web", "-l", "a=b", *none, "busybox", "sh", "-c", SCRIPT).stdout.strip()
    assert len(name) == 12 and "web" in box("ps").stdout
    wait_until(lambda: box("logs", "web").stdout == "begun\n", "it has begun")
    assert box("logs", "web").stderr == "odd\n"
    found = box.inspect("web")
    assert found["id"] == name and found["state"]["status"] == "running"
    assert found["state"]["pid"] in found["processes"] and len(found["processes"]) == 2
    assert len(found["namespaces"]) == 8 and found["request"]["labels"] == [["a", "b"]]
    assert {"destination": "/", "type": "overlay"}.items() <= found["mounts"][0].items()
    text = box("inspect", "web").stdout
    assert "status: running" in text and "namespaces:" in text and "\n  /proc proc proc rw," in text
    assert box("top", "--no-stream", "web").stdout.count("\n") == 3
    heading, line = box("stats", "--no-stream").stdout.strip().split("\n")
    assert heading.startswith("NAME") and line.startswith("web")
    explained = box("explain", "web").stdout
    assert "/linux/namespaces/0" in explained and "/process/capabilities" in explained
    assert box("exec", "web", "cat", "/srv/kept").stdout == "kept\n"
    assert box("exec", "-i", "web", "cat", input="typed").stdout == "typed"
    assert "A /srv/kept" in box("diff", "web").stdout
    box("cp", "web:/srv/kept", f"{box.places}/copy")
    box("cp", f"{box.places}/copy", "web:/srv/back")
    assert box("exec", "web", "cat", "/srv/back").stdout == "kept\n"
    box("restart", "-t", "0", "web")
    begun = time.monotonic()
    box("restart", "web")
    box("kill", "web")
    assert box("wait", "web").stdout == "137\n"
    box("start", "web")
    box("stop", "-t", "0", "web")
    assert "exited (137)" in box("ps", "-a").stdout and box("ps", "-q").stdout == ""
    assert box.inspect("web")["processes"] == [] and box.inspect("web")["usage"] is None
    for command in ("top", "explain", "exec", "attach", "kill"):
        words = [command, "web", *(["true"] if command == "exec" else [])]
        assert "is not running" in box(*words, status=1).stderr, command
    box("start", "web")
    box("rm", "-f", "web")
    assert time.monotonic() - begun < scaled(30), "no command waits for a timeout"
    assert box("ps", "-aq").stdout == ""


def test_a_start_right_after_a_kill(box: Box) -> None:
    """What conmon calls at the end of the killed run does not end the new one."""
    box("run", "-d", "--name", "web", "--network", "none", "busybox", "sleep", "1000")
    for _ in range(4):
        box("kill", "web")
        wait_until(lambda: box("start", "web", status=None).returncode == 0, "it has ended and starts again")
        time.sleep(0.5)
        assert "running" in box("ps").stdout


def test_logs_are_followed_to_the_end(box: Box) -> None:
    box(
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; sleep 1; done",
    )
    assert box("logs", "-f", "web").stdout == "1\n2\n3\n"
    assert box("wait", "web").stdout == "0\n"


def test_in_the_foreground_and_as_a_plan(box: Box) -> None:
    assert box.run("-i", "busybox", "cat", input="typed") == "typed"
    assert box.run("busybox", "cat", input="not handed on") == ""
    shown = box("run", "--dry-run", "--network", "none", "busybox", "true").stdout
    root, _, rest = shown.partition("\n\nconfig.json\n\n")
    config, _, plan = rest.partition("\n\nplan\n\n")
    assert root.startswith("root\n\n") and json.loads(config)["process"]["args"] == ["true"] and "exec" in plan
    assert "\n\ncommands\n\n" not in shown
    shown = box("create", "--dry-run", "--network", "none", "busybox", "true").stdout
    assert "\nconmon --api-version 1 " in shown and shown.endswith(" start 0123456789ab\n")
    assert box("ps", "-aq").stdout == ""


def test_what_a_start_and_an_exec_would_do(box: Box) -> None:
    """--dry-run: the plan as ocipy makes it, and nothing changes."""
    made = box("create", "--name", "one", "--network", "none", "busybox", "sleep", "1000").stdout.strip()
    before = files_of(box)
    shown = box("start", "--dry-run", "one").stdout
    assert shown == box("restart", "--dry-run", "one").stdout and box("ps", "-q").stdout == ""
    assert files_of(box) == before
    assert "exec" in box("exec", "--dry-run", "one", "id", status=1).stderr  # as without the flag: it does not run
    config, _, rest = shown.partition("\n\nconfig.json\n\n")[2].partition("\n\nplan\n\n")
    plan, _, commands = rest.partition("\n\ncommands\n\n")
    conmon, start = commands.strip().split("\n")
    assert conmon.startswith("conmon ") and f"--bundle {box.places}/data/boxes/{made}/bundle" in conmon
    assert start.endswith(f" start {made}")
    box("start", "one")
    real = json.loads((box.places / "data/boxes" / made / "bundle/config.json").read_bytes())
    for document in (real, shown_config := json.loads(config)):
        for namespace in document["linux"]["namespaces"]:
            namespace.pop("path", None)
        for name in ("uidMappings", "gidMappings"):  # fuse-overlayfs: see docs/box.md
            document["linux"].pop(name, None)
    assert shown_config == real
    assert "already running" in box("start", "--dry-run", "one", status=1).stderr
    assert plan.split("\n")[-1].startswith("init ") and "sleep 1000" in plan
    before = files_of(box)
    shown = box("exec", "--dry-run", "-t", "-u", "nobody", "-w", "/tmp", "one", "id", "-u").stdout
    assert "clone_joining" in shown and "pid" in shown and "65534" in shown and "id -u" in shown
    assert shown.startswith("host    1  ") and box("top", "--no-stream", "one").stdout.count("\n") == 2
    assert files_of(box) == before


def files_of(box: Box) -> list[str]:
    """Every file below the box's places, with its modification time."""
    places = (box.places / "data", box.places / "run")
    words = ["find", *map(str, places), "-not", "-name", ".lock", "-type", "f", "-printf", "%p %T@\n"]
    return sorted(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split("\n"))


def test_the_terminal_flag_works_without_a_terminal(box: Box) -> None:
    """-t without a terminal: the box still has one."""
    assert box.run("-t", "busybox", "tty").strip() == "/dev/pts/0"


@pytest.mark.parametrize(
    "words",
    [
        ("busybox", "no-such-program"),
        ("busybox", "/etc"),
        ("--tmpfs", "/bin/busybox/x", "busybox", "true"),
        ("--userns", "auto", "--sysctl", "kernel.msgmax=-1", "busybox", "true"),
    ],
)
def test_an_error_is_the_same_in_the_background(box: Box, words: tuple[str, ...]) -> None:
    """With its hint and its exit status."""
    foreground = box("run", "--rm", "--network", "none", *words, status=None)
    background = box("run", "-d", "--rm", "--network", "none", *words, status=None)
    assert foreground.stderr.startswith("ocipy: box run: ") and background.stderr == foreground.stderr
    assert background.returncode == foreground.returncode >= 125
    assert not left_behind(box.places, set()), "conmon, or what it calls at the end, still works"
