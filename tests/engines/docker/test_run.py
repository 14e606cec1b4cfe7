"""docker run: everyday commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import alike, docs
from tests.engines.docker.conftest import Docker
from tests.harness import namespace, proc_status

Inspect = Callable[[str, str], str]
Sleeping = Callable[..., str]


@pytest.mark.smoke
def test_run(docker: Docker) -> None:
    answer = docker("run", "--rm", "alpine", "echo", "hello").ok()
    assert (answer.stdout, answer.stderr) == ("hello\n", "")
    answer = docker("run", "--rm", "-i", "alpine", "sh", "-c", "cat; echo err >&2", stdin=b"to and fro\n").ok()
    assert (answer.stdout, answer.stderr) == ("to and fro\n", "err\n")


@pytest.mark.parametrize("words", docs.commands("docker.md", "docker"))
def test_recipe_of_the_docs(docker: Docker, words: list[str]) -> None:
    expected = "ocipy" if words[0] == "info" else "hello"
    assert docker(*words).text == expected


@pytest.mark.smoke
def test_as_default_runtime(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    """Docker's state directory for the runtime has the container."""
    id = inspect(sleeping(), "{{.Id}}")
    assert inspect(id, "{{.HostConfig.Runtime}}") == "ocipy"
    state = docker.call([docker.runtime, "--root", f"{docker.home}/exec/runtime-runc/moby", "state", id])
    assert '"running"' in state.text


@pytest.mark.smoke
def test_runtime_with_arguments(docker: Docker) -> None:
    """Docker turns it into a shell script, which becomes the runtime's parent."""
    answer = docker("run", "--rm", "--runtime=with-args", "alpine", "sh", "-c", "echo 'a  b'; exit 3")
    assert (answer.status, answer.stdout, answer.stderr) == (3, "a  b\n", "")


@pytest.mark.feature("exit status")
@pytest.mark.parametrize("status", [0, 1, 125, 255])
def test_exit_status(docker: Docker, status: int) -> None:
    assert docker("run", "--rm", "alpine", "sh", "-c", f"exit {status}").status == status


@pytest.mark.feature("exit status")
def test_exit_status_of_a_killed_container(docker: Docker) -> None:
    assert docker("run", "--rm", "--init", "alpine", "sh", "-c", "kill -9 $$").status == 137


@pytest.mark.smoke
@pytest.mark.feature("exit status 127 and 126")
@pytest.mark.parametrize("command", ["no-such-command", "/no/such/path"])
def test_missing_command(docker: Docker, command: str) -> None:
    docker("run", "--rm", "alpine", command).fails(f'exec: "{command}"', status=127)


@pytest.mark.feature("exit status 127 and 126")
def test_command_not_executable(docker: Docker) -> None:
    docker("run", "--rm", "alpine", "/etc/passwd").fails("ermission denied", status=126)


@pytest.mark.smoke
def test_run_it(docker: Docker) -> None:
    terminal = docker.terminal("run", "--rm", "-it", "alpine", "sh")
    terminal.shell()
    assert terminal.end() == 3


@pytest.mark.feature("run it")
def test_terminal_follows_the_windows_size(docker: Docker) -> None:
    alike.follow_the_windows_size(docker)


@pytest.mark.feature("run it")
def test_interrupt_key(docker: Docker) -> None:
    alike.interrupt(docker)


@pytest.mark.feature("--env --hostname --workdir --user --group-add")
def test_environment_hostname_workdir(docker: Docker) -> None:
    flags = ["--env", "A=b c", "--hostname", "named", "--workdir", "/usr", "--user", "1000:1000", "--group-add", "33"]
    lines = docker("run", "--rm", *flags, "alpine", "sh", "-c", 'echo "$A"; hostname; pwd; id').lines
    assert lines[:3] == ["b c", "named", "/usr"]
    assert re.match(r"uid=1000\S* gid=1000\S* groups=(1000\S*,)?33", lines[3])


@pytest.mark.smoke
@pytest.mark.feature("--volume --mount --tmpfs --read-only")
def test_mounts(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    script = "cat /data/in; echo from inside > /data/out"
    assert docker("run", "--rm", "-v", f"{tmp_path}:/data", "alpine", "sh", "-c", script).text == "from the host"
    assert (tmp_path / "out").read_text() == "from inside\n"
    mount = f"type=bind,source={tmp_path},target=/data,readonly"
    docker("run", "--rm", "--mount", mount, "alpine", "sh", "-c", "echo x > /data/ro").fails("Read-only")
    script = "echo x > /file || stat -c %a /t; df -k /t | tail -1"
    lines = docker("run", "--rm", "--read-only", "--tmpfs", "/t:size=1m,mode=700", "alpine", "sh", "-c", script).lines
    assert lines[0] == "700"
    assert "1024" in lines[1]
    docker("run", "--rm", "-v", "kept:/v", "alpine", "sh", "-c", "echo kept > /v/f").ok()
    assert docker("run", "--rm", "-v", "kept:/v", "alpine", "cat", "/v/f").text == "kept"
    docker("volume", "rm", "kept").ok()


@pytest.mark.feature("--cap-add --cap-drop")
def test_capabilities(docker: Docker) -> None:
    flags = ["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"]
    text = docker("run", "--rm", *flags, "alpine", "grep", "Cap", "/proc/self/status").text
    assert set(re.findall(r":\s*0*([0-9a-f]+)", text)) == {"1000", "0"}


@pytest.mark.feature("default confinement")
def test_default_confinement(sleeping: Sleeping, inspect: Inspect) -> None:
    """Docker's own seccomp profile and capabilities arrive, and no signal is ignored."""
    status = proc_status(int(inspect(sleeping(), "{{.State.Pid}}")))
    assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16).bit_count() < 20
    assert (int(status["SigIgn"], 16), int(status["SigBlk"], 16)) == (0, 0)


@pytest.mark.smoke
@pytest.mark.feature("--security-opt seccomp, no-new-privileges")
def test_security_options(docker: Docker, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    script = "mkdir /made || echo refused; grep NoNewPrivs /proc/self/status"
    flags = ["--security-opt", f"seccomp={profile}", "--security-opt", "no-new-privileges"]
    assert docker("run", "--rm", *flags, "alpine", "sh", "-c", script).lines == ["refused", "NoNewPrivs:\t1"]
    flags = ["--security-opt", "seccomp=unconfined"]
    assert docker("run", "--rm", *flags, "alpine", "grep", "Seccomp:", "/proc/self/status").text.endswith("0")


@pytest.mark.feature("--privileged")
@pytest.mark.needs_capability("CAP_SYS_RESOURCE")
def test_privileged(docker: Docker) -> None:
    script = "grep CapEff /proc/self/status; ls /dev | wc -l"
    words = docker("run", "--rm", "--privileged", "alpine", "sh", "-c", script).text.split()
    assert int(words[1], 16).bit_count() > 30
    assert int(words[2]) > 15


@pytest.mark.feature("--device --init")
def test_device_and_init(docker: Docker) -> None:
    script = "stat -c '%t %T' /dev/kmsg; (: > /dev/kmsg) && echo open"
    assert docker("run", "--rm", "--device", "/dev/kmsg", "alpine", "sh", "-c", script).lines == ["1 b", "open"]
    docker("run", "--rm", "--device", "/dev/kmsg:/dev/kmsg:r", "alpine", "sh", "-c", script).fails("not permitted")
    assert docker("run", "--rm", "--init", "alpine", "cat", "/proc/1/comm").text == "docker-init"


@pytest.mark.feature("--ulimit --sysctl --shm-size")
def test_ulimit_and_sysctl(docker: Docker) -> None:
    script = "ulimit -n; cat /proc/sys/net/ipv4/ip_default_ttl; df -k /dev/shm | tail -1"
    flags = ["--ulimit", "nofile=100:200", "--sysctl", "net.ipv4.ip_default_ttl=33", "--shm-size", "2m"]
    lines = docker("run", "--rm", *flags, "alpine", "sh", "-c", script).lines
    assert lines[:2] == ["100", "33"]
    assert "2048" in lines[2]


@pytest.mark.feature("--pid --ipc --uts --cgroupns=host, container:NAME")
def test_namespaces_of_the_host_and_of_another(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    script = "for n in pid ipc uts cgroup; do readlink /proc/self/ns/$n; done"
    flags = ["--pid=host", "--ipc=host", "--uts=host", "--cgroupns=host"]
    own = [namespace("self", kind) for kind in ("pid", "ipc", "uts", "cgroup")]
    assert docker("run", "--rm", *flags, "alpine", "sh", "-c", script).lines == own
    other = sleeping("--ipc=shareable", "--cgroupns=private")
    pid = int(inspect(other, "{{.State.Pid}}"))
    script = "for n in pid ipc net; do readlink /proc/self/ns/$n; done; cat /proc/1/comm"
    flags = [f"--{kind}=container:{other}" for kind in ("pid", "ipc", "network")]
    theirs = [namespace(pid, kind) for kind in ("pid", "ipc", "net")]
    assert docker("run", "--rm", *flags, "alpine", "sh", "-c", script).lines == [*theirs, "sleep"]
    assert namespace(pid, "cgroup") != namespace("self", "cgroup")


def test_many_at_once(docker: Docker, name: str) -> None:
    names = [f"{name}-{number}" for number in range(12)]
    for one in names:
        docker("create", "--name", one, "--network=none", "alpine", "sleep", "1000").ok()
    docker("start", *names).ok()
    assert set(docker("ps", "--format", "{{.Names}}").lines) == set(names)
