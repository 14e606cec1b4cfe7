"""podman run: everyday commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import alike, docs
from tests.engines.conftest import CGROUP_PARENT
from tests.engines.podman.conftest import Podman
from tests.harness import cgroup_value, proc_status, wait_until

Inspect = Callable[[str, str], str]


@pytest.mark.smoke
def test_hello(podman: Podman) -> None:
    answer = podman("run", "--rm", "alpine", "echo", "hello").ok()
    assert (answer.stdout, answer.stderr) == ("hello\n", "")


@pytest.mark.smoke
@pytest.mark.parametrize("words", docs.commands("podman.md", "podman"))
def test_recipe_of_the_docs(podman: Podman, words: list[str]) -> None:
    """By its path, by its name in containers.conf, and without cgroups."""
    runtime, command = words[0].removeprefix("--runtime="), words[1:]
    if runtime == "--runtime":
        assert words[1] == docs.INSTALLED
        runtime, command = podman.runtime, words[2:]
    assert podman.by(runtime, *command).text == "hello"


def test_podman_knows_the_runtime(podman: Podman) -> None:
    info = json.loads(podman("info", "--format", "json").text)["host"]["ociRuntime"]
    assert info["path"] == podman.runtime
    assert "version" in info["version"]


def test_standard_streams(podman: Podman) -> None:
    answer = podman("run", "--rm", "-i", "alpine", "sh", "-c", "cat; echo err >&2", stdin=b"to and fro\n").ok()
    assert (answer.stdout, answer.stderr) == ("to and fro\n", "err\n")


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_exit_status(podman: Podman, status: int) -> None:
    assert podman("run", "--rm", "alpine", "sh", "-c", f"exit {status}").status == status


@pytest.mark.parametrize("command", ["no-such-command", "/no/such/path"])
def test_missing_command(podman: Podman, command: str) -> None:
    answer = podman("run", "--rm", "alpine", command)
    assert answer.status == 127, repr(answer)
    assert command in answer.stderr


@pytest.mark.parametrize("command", ["/etc/passwd", "/etc"])
def test_command_not_executable(podman: Podman, command: str) -> None:
    assert podman("run", "--rm", "alpine", command).status == 126


def test_network_address_and_route(podman: Podman) -> None:
    text = podman("run", "--rm", "alpine", "sh", "-c", "ip -o -4 addr show eth0; ip route").text
    assert re.search(r"eth0 +inet 10\.88\.\d+\.\d+/16", text)
    assert "default via 10.88.0.1 dev eth0" in text


def test_network_between_containers_and_from_the_host(podman: Podman, name: str, inspect: Inspect) -> None:
    script = "mkdir -p /tmp/www; echo served > /tmp/www/index.html; exec httpd -f -h /tmp/www -p 8000"
    podman("run", "-d", "--name", name, "-p", "127.0.0.1:18000:8000", "alpine", "sh", "-c", script).ok()
    address = inspect(name, "{{.NetworkSettings.IPAddress}}")
    fetch = f"for i in 1 2 3 4 5; do wget -q -O - http://{address}:8000/ && break; sleep 0.2; done"
    assert podman("run", "--rm", "alpine", "sh", "-c", fetch).text == "served"
    assert podman("run", "--rm", "alpine", "ping", "-c", "1", "-W", "5", address).status == 0


def test_no_network_and_the_hosts(podman: Podman) -> None:
    assert "eth0" not in podman("run", "--rm", "--network=none", "alpine", "ip", "link").text
    inside = podman("run", "--rm", "--network=host", "alpine", "readlink", "/proc/self/ns/net").text
    assert inside == str(Path("/proc/self/ns/net").readlink())


@pytest.mark.smoke
def test_interactive_under_a_terminal(podman: Podman) -> None:
    terminal = podman.terminal("run", "--rm", "-it", "alpine", "sh")
    terminal.expect(r"/ # ")
    terminal.send("tty; echo $((6*7))\n")
    terminal.expect(r"/dev/pts/\d+\r\n42\r\n")
    terminal.expect(r"/ # ")
    terminal.send("ls -l /dev/console | cut -c1; exit 3\n")
    terminal.expect(r"c\r\n")
    assert terminal.end() == 3


def test_terminal_follows_the_windows_size(podman: Podman) -> None:
    alike.follow_the_windows_size(podman)


def test_interrupt_key(podman: Podman) -> None:
    alike.interrupt(podman)


@pytest.mark.smoke
def test_detached_with_logs_stop_and_rm(podman: Podman, name: str, inspect: Inspect) -> None:
    script = "trap 'echo stopping; exit 0' TERM; echo started; while :; do sleep 0.1; done"
    id = podman("run", "-d", "--name", name, "alpine", "sh", "-c", script).text
    assert re.fullmatch("[0-9a-f]{64}", id)
    wait_until(lambda: podman("logs", name).stdout == "started\n")
    assert inspect(name, "{{.State.Status}}") == "running"
    assert name in podman("ps", "--format", "{{.Names}}").text
    podman("stop", name).ok()
    assert podman("logs", name).stdout == "started\nstopping\n"
    assert inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 0"
    podman("start", name).ok()
    wait_until(lambda: podman("logs", name).stdout == "started\nstopping\nstarted\n")
    podman("rm", "--force", "--time", "5", name).ok()
    assert podman("ps", "--all", "--quiet").text == ""


def test_stop_of_a_container_that_ignores_the_signal(podman: Podman, name: str, inspect: Inspect) -> None:
    podman("run", "-d", "--name", name, "alpine", "sleep", "1000").ok()
    podman("stop", "--time", "1", name).ok()
    assert inspect(name, "{{.State.ExitCode}}") == "137"


def test_kill(podman: Podman, name: str, inspect: Inspect) -> None:
    alike.kill(podman, name)
    podman("wait", name).ok()
    assert inspect(name, "{{.State.ExitCode}}") == "137"
    assert podman("kill", name).status != 0


def test_create_and_start(podman: Podman, name: str) -> None:
    podman("create", "--name", name, "alpine", "echo", "later").ok()
    assert podman("start", "--attach", name).text == "later"
    assert podman("wait", name).text == "0"


@pytest.mark.smoke
def test_memory_cpus_and_pids_limit(podman: Podman, name: str, inspect: Inspect) -> None:
    flags = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50"]
    podman("run", "-d", "--name", name, *flags, "alpine", "sleep", "1000").ok()
    pid = int(inspect(name, "{{.State.Pid}}"))
    assert CGROUP_PARENT in Path(f"/proc/{pid}/cgroup").read_text()
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert cgroup_value(pid, "", "memory.max") == str(64 << 20)
        assert cgroup_value(pid, "", "cpu.max") == "50000 100000"
    else:
        assert cgroup_value(pid, "memory", "memory.limit_in_bytes") == str(64 << 20)
        assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us") == "50000"
    assert cgroup_value(pid, "pids", "pids.max") == "50"


def test_pids_limit_is_enforced(podman: Podman) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo all"
    answer = podman("run", "--rm", "--pids-limit", "8", "alpine", "sh", "-c", script)
    assert "can't fork" in answer.stderr, repr(answer)


def test_memory_limit_is_enforced(podman: Podman, name: str, inspect: Inspect) -> None:
    command = ["sh", "-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived"]
    answer = podman("run", "--name", name, "--memory", "32m", "--memory-swap", "32m", "alpine", *command)
    assert "survived" not in answer.stdout
    assert inspect(name, "{{.State.ExitCode}}") != "0"


def test_volume(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    script = "cat /data/in; echo from inside > /data/out"
    assert podman("run", "--rm", "-v", f"{tmp_path}:/data", "alpine", "sh", "-c", script).text == "from the host"
    assert (tmp_path / "out").read_text() == "from inside\n"
    answer = podman("run", "--rm", "-v", f"{tmp_path}:/data:ro", "alpine", "sh", "-c", "echo x > /data/ro")
    assert answer.status != 0
    assert "Read-only" in answer.stderr
    assert not (tmp_path / "ro").exists()


def test_named_volume_and_tmpfs(podman: Podman) -> None:
    podman("run", "--rm", "-v", "kept:/v", "alpine", "sh", "-c", "echo kept > /v/f").ok()
    try:
        assert podman("run", "--rm", "-v", "kept:/v", "alpine", "cat", "/v/f").text == "kept"
    finally:
        podman("volume", "rm", "kept").ok()
    text = podman("run", "--rm", "--tmpfs", "/t:size=1m,mode=700", "alpine", "sh", "-c", "stat -c %a /t; df -k /t").text
    assert text.startswith("700")
    assert "1024" in text


def test_read_only(podman: Podman) -> None:
    answer = podman(
        "run", "--rm", "--read-only", "alpine", "sh", "-c", "echo x > /file || echo x > /tmp/file && echo tmp"
    )
    assert answer.text == "tmp"
    assert "Read-only" in answer.stderr


def test_user(podman: Podman) -> None:
    assert podman("run", "--rm", "--user", "1000:1000", "alpine", "sh", "-c", "id -u; id -g").text.split() == [
        "1000",
        "1000",
    ]
    assert podman("run", "--rm", "--user", "user", "alpine", "id", "-u").text == "1000"
    # The user can reopen streams that they own.
    answer = podman("run", "--rm", "--user", "1000", "alpine", "sh", "-c", "echo again > /dev/stdout")
    assert answer.text == "again"


def test_capabilities(podman: Podman) -> None:
    script = "grep Cap /proc/self/status"
    dropped = podman("run", "--rm", "--cap-drop", "ALL", "alpine", "sh", "-c", script).text
    assert set(re.findall(r":\s*([0-9a-f]{16})", dropped)) == {"0" * 16}
    answer = podman("run", "--rm", "--cap-drop", "CHOWN", "alpine", "chown", "1", "/etc/passwd")
    assert answer.status != 0
    added = podman("run", "--rm", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "alpine", "sh", "-c", script).text
    assert re.search(r"CapEff:\s*0*1000\b", added)


def test_default_confinement(podman: Podman, name: str, inspect: Inspect) -> None:
    """podman's own seccomp profile and capabilities arrive."""
    podman("run", "-d", "--name", name, "alpine", "sleep", "1000").ok()
    status = proc_status(int(inspect(name, "{{.State.Pid}}")))
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16).bit_count() < 20
    assert (int(status["SigIgn"], 16), int(status["SigBlk"], 16)) == (0, 0)


def test_environment_hostname_workdir(podman: Podman) -> None:
    flags = ["--env", "A=b c", "--hostname", "named", "--workdir", "/usr"]
    assert podman("run", "--rm", *flags, "alpine", "sh", "-c", 'echo "$A"; hostname; pwd').text.split("\n") == [
        "b c",
        "named",
        "/usr",
    ]


def test_user_namespace(podman: Podman, name: str, inspect: Inspect) -> None:
    maps = ["--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000"]
    podman("run", "-d", "--name", name, *maps, "alpine", "sleep", "1000").ok()
    pid = int(inspect(name, "{{.State.Pid}}"))
    assert proc_status(pid)["Uid"].split()[0] == "100000"


def test_shared_namespaces(podman: Podman, name: str) -> None:
    podman("run", "-d", "--name", name, "alpine", "sleep", "1000").ok()
    shared = ["--network", f"container:{name}", "--pid", f"container:{name}", "--ipc", f"container:{name}"]
    text = podman("run", "--rm", *shared, "alpine", "sh", "-c", "cat /proc/1/comm; ip -o -4 addr show eth0").text
    assert "10.88." in text
    assert "sleep" in podman("run", "--rm", "--pid", f"container:{name}", "alpine", "ps").text


def test_privileged_and_init(podman: Podman) -> None:
    text = podman(
        "run", "--rm", "--privileged", "alpine", "sh", "-c", "grep CapEff /proc/self/status; ls /dev | wc -l"
    ).text
    assert int(text.split()[1], 16).bit_count() > 30
    assert int(text.split()[2]) > 15


def test_many_at_once(podman: Podman, name: str) -> None:
    names = [f"{name}-{number}" for number in range(6)]
    for one in names:
        podman("create", "--name", one, "--network=none", "alpine", "sleep", "1000").ok()
    podman("start", *names).ok()
    assert set(podman("ps", "--format", "{{.Names}}").text.split()) >= set(names)
    podman("rm", "--force", "--time", "0", *names).ok()
