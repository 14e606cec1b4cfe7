"""podman as an unprivileged user: it calls the runtime as root of a user namespace that it has created."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.podman.rootless.conftest import RootlessPodman
from tests.harness import Host, cgroups_of, namespace, proc_status, wait_until
from tests.harness.user import FIRST_UID, RANGE, USER

pytestmark = [
    pytest.mark.engine("podman rootless"),
    pytest.mark.needs_program("newuidmap"),
    pytest.mark.needs_program("setpriv"),
]

Inspect = Callable[[str], str]


@pytest.mark.smoke
def test_hello(rootless: RootlessPodman) -> None:
    answer = rootless("run", "--rm", "localhost/alpine", "echo", "hello").ok()
    assert answer.stdout == "hello\n"


@pytest.mark.smoke
def test_user_and_its_range(rootless: RootlessPodman, name: str, look: Inspect) -> None:
    script = "id -u; cat /proc/self/uid_map; exec sleep 1000"
    rootless("run", "-d", "--name", name, "--network=none", "localhost/alpine", "sh", "-c", script).ok()
    wait_until(lambda: rootless("logs", name).stdout.count("\n") == 3)
    lines = [line.split() for line in rootless("logs", name).text.splitlines()]
    assert lines == [["0"], ["0", str(USER), "1"], ["1", str(FIRST_UID), str(RANGE)]]
    pid = int(look("{{.State.Pid}}"))
    assert set(proc_status(pid)["Uid"].split()) == {str(USER)}
    assert namespace(pid, "user") != namespace(os.getpid(), "user")
    assert look("{{.OCIRuntime}}") == rootless.runtime
    if Host().cgroup != "v2":
        assert cgroups_of(pid)["pids"] == cgroups_of(os.getpid())["pids"], "it does not have its own"


@pytest.mark.parametrize(("command", "status"), [("exit 7", 7), ("no-such-command", 127), ("/etc/passwd", 126)])
def test_exit_status(rootless: RootlessPodman, command: str, status: int) -> None:
    words = ["sh", "-c", command] if " " in command else [command]
    assert rootless("run", "--rm", "--network=none", "localhost/alpine", *words).status == status


@pytest.mark.smoke
def test_terminal(rootless: RootlessPodman) -> None:
    terminal = rootless.terminal("run", "--rm", "-it", "--network=none", "localhost/alpine", "sh")
    terminal.expect(r"/ # ")
    terminal.send("tty; echo $((6*7))\n")
    terminal.expect(r"/dev/pts/\d+\r\n42\r\n")
    terminal.expect(r"/ # ")
    terminal.send("exit 3\n")
    assert terminal.end() == 3


@pytest.mark.smoke
def test_detached_with_logs_stop_and_rm(rootless: RootlessPodman, name: str, look: Inspect) -> None:
    script = "trap 'echo stopping; exit 0' TERM; echo started; while :; do sleep 0.1; done"
    rootless("run", "-d", "--name", name, "--network=none", "localhost/alpine", "sh", "-c", script).ok()
    wait_until(lambda: rootless("logs", name).stdout == "started\n")
    assert look("{{.State.Status}}") == "running"
    rootless("stop", name).ok()
    assert rootless("logs", name).stdout == "started\nstopping\n"
    assert look("{{.State.Status}} {{.State.ExitCode}}") == "exited 0"
    rootless("rm", name).ok()


def test_kill(rootless: RootlessPodman, name: str, look: Inspect) -> None:
    """As seen from the host, the process belongs to another user."""
    rootless("run", "-d", "--name", name, "--user=1000", "--network=none", "localhost/alpine", "sleep", "1000").ok()
    rootless("kill", name).ok()
    wait_until(lambda: look("{{.State.Status}} {{.State.ExitCode}}") == "exited 137")


@pytest.mark.needs_program("slirp4netns")
def test_network(rootless: RootlessPodman) -> None:
    text = rootless("run", "--rm", "localhost/alpine", "ip", "-o", "-4", "addr", "show", "tap0").text
    assert "inet 10.0.2.100/24" in text


def test_network_of_the_host(rootless: RootlessPodman) -> None:
    inside = rootless("run", "--rm", "--network=host", "localhost/alpine", "readlink", "/proc/self/ns/net").text
    assert inside == namespace(os.getpid(), "net")


def test_volume(rootless: RootlessPodman) -> None:
    """The user's files belong to root in the container."""
    place = rootless.home / "volume"
    place.mkdir(exist_ok=True)
    os.chown(place, USER, USER)
    script = "stat -c %u /mnt; touch /mnt/made; chown 1000 /mnt/made"
    words = ["--rm", "--network=none", "-v", f"{place}:/mnt", "localhost/alpine", "sh", "-c", script]
    assert rootless("run", *words).text == "0"
    assert (place / "made").stat().st_uid == FIRST_UID + 999
    script = "touch /mnt/more || echo refused"
    words = ["--rm", "--network=none", "-v", f"{place}:/mnt:ro", "--read-only", "localhost/alpine", "sh", "-c", script]
    assert rootless("run", *words).text == "refused"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--user=1000:2000"], "uid=1000 gid=2000"),
        (["--userns=keep-id"], f"uid={USER} gid={USER}"),
        (["--group-add=33"], "uid=0 gid=0 groups=33"),
    ],
)
def test_users(rootless: RootlessPodman, flags: list[str], expected: str) -> None:
    text = rootless("run", "--rm", "--network=none", *flags, "localhost/alpine", "id").text
    words = re.sub(r"\([^)]*\)", "", text)
    assert words.startswith(expected)


def test_nested_user_namespace(rootless: RootlessPodman) -> None:
    """--userns=keep-id is below podman's own user namespace: its map has three pieces."""
    command = ["localhost/alpine", "cat", "/proc/self/uid_map"]
    text = rootless("run", "--rm", "--network=none", "--userns=keep-id", *command).text
    assert [line.split()[0] for line in text.splitlines()] == ["0", str(USER), str(USER + 1)]


def test_devices(rootless: RootlessPodman) -> None:
    script = "stat -c '%t %T' /dev/null /dev/kmsg; cat /dev/null && echo open"
    words = ["--rm", "--network=none", "--device=/dev/kmsg", "localhost/alpine", "sh", "-c", script]
    assert rootless("run", *words).text.splitlines() == ["1 3", "1 b", "open"]


def test_privileged(rootless: RootlessPodman) -> None:
    """Everything that the user may see, and nothing else."""
    script = "grep CapEff /proc/self/status; mkdir /sys/fs/cgroup/*/new 2>/dev/null && echo made; echo end"
    text = rootless("run", "--rm", "--network=none", "--privileged", "localhost/alpine", "sh", "-c", script).text
    every = (1 << int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1) - 1
    assert text.splitlines() == [f"CapEff:\t{every:016x}", "end"]


def test_capabilities(rootless: RootlessPodman) -> None:
    words = ["--rm", "--network=none", "--cap-drop=all", "localhost/alpine", "grep", "Cap", "/proc/self/status"]
    assert set(re.findall(r"[0-9a-f]{16}", rootless("run", *words).text)) == {"0" * 16}


def test_shared_network_namespace(rootless: RootlessPodman, name: str) -> None:
    """A container in another container's namespaces, as in a pod."""
    rootless("run", "-d", "--name", name, "--network=none", "localhost/alpine", "sleep", "1000").ok()
    first = rootless("inspect", "--format", "{{.State.Pid}}", name).text
    command = ["localhost/alpine", "readlink", "/proc/self/ns/net"]
    assert rootless("run", "--rm", f"--network=container:{name}", *command).text == namespace(int(first), "net")


@pytest.mark.needs_cgroup_v1
def test_podman_ignores_limits_on_v1(rootless: RootlessPodman) -> None:
    """On cgroup v1 podman asks the runtime for no limits, and says so."""
    answer = rootless("run", "--rm", "--network=none", "--memory=50m", "--pids-limit=50", "localhost/alpine", "true")
    assert "ignored on cgroups V1 rootless" in answer.ok().stderr


@pytest.mark.differs_from_runc("runc fails")
def test_oom_score_that_cannot_be_lowered(rootless: RootlessPodman) -> None:
    words = ["--rm", "--network=none", "--oom-score-adj=-100", "localhost/alpine", "cat", "/proc/self/oom_score_adj"]
    assert rootless("run", *words).text == Path("/proc/self/oom_score_adj").read_text().strip()
