"""An ordinary user of podman can do what root can: exec, health checks, pods, builds, options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import alike
from tests.engines.podman.rootless.conftest import RootlessPodman
from tests.harness import namespace

pytestmark = [pytest.mark.engine("podman rootless"), pytest.mark.needs_program("newuidmap")]

IMAGE = "localhost/alpine"
Inspect = Callable[[str], str]


@pytest.fixture
def sleeping(rootless: RootlessPodman, name: str) -> Callable[..., str]:
    """sleeping(*flags): the name of a sleeping container."""
    return alike.sleeper(rootless, name, IMAGE, "--network=none")


@pytest.mark.smoke
def test_exec(rootless: RootlessPodman, sleeping: Callable[..., str]) -> None:
    one = sleeping("--env", "A=1")
    alike.execute_with_streams(rootless, one)
    rootless("exec", one, "no-such-command").fails(status=127)
    assert rootless("exec", "--user=1000:1000", one, "id", "-u").text == "1000"


def test_exec_it(rootless: RootlessPodman, sleeping: Callable[..., str]) -> None:
    terminal = rootless.terminal("exec", "-it", sleeping(), "sh")
    terminal.shell()
    assert terminal.end() == 3


@pytest.mark.feature("exec --detach, top")
@pytest.mark.parametrize("userns", ["--userns=host", "--userns=keep-id"])
def test_exec_is_in_all_of_the_container(
    rootless: RootlessPodman, sleeping: Callable[..., str], look: Inspect, userns: str
) -> None:
    one = sleeping(userns)
    first = int(look("{{.State.Pid}}"))
    fields = ("Uid", "CapEff", "CapBnd", "Seccomp", "NoNewPrivs")
    alike.in_all_of_the_container(rootless, one, first, ["hpid", "args"], fields)


def test_healthcheck(rootless: RootlessPodman, sleeping: Callable[..., str], look: Inspect) -> None:
    one = sleeping("--health-cmd", "test ! -e /sick", "--health-interval=disable", "--health-retries=1")
    rootless("healthcheck", "run", one).ok()
    rootless("exec", one, "touch", "/sick").ok()
    rootless("healthcheck", "run", one).fails()
    assert look("{{.State.Health.Status}}") == "unhealthy"


@pytest.mark.feature("restart, stop --time")
def test_restart(rootless: RootlessPodman, sleeping: Callable[..., str], look: Inspect) -> None:
    one = sleeping()
    first = look("{{.State.Pid}}")
    rootless("restart", "--time", "0", one).ok()
    assert look("{{.State.Pid}}") != first
    rootless("stop", "--time", "1", one).ok()
    assert look("{{.State.ExitCode}}") == "137"


@pytest.mark.feature("pods with shared namespaces")
def test_pod(rootless: RootlessPodman, name: str) -> None:
    try:
        rootless("pod", "create", "--name", name, "--network=none", "--share", "net,ipc,uts,pid").ok()
        for number in (1, 2):
            words = ["--name", f"{name}-{number}", IMAGE, "sleep", f"100{number}"]
            rootless("run", "-d", f"--pod={name}", *words).ok()
        first, second = (
            int(rootless("inspect", "--format", "{{.State.Pid}}", f"{name}-{number}").text) for number in (1, 2)
        )
        for kind in ("net", "ipc", "uts", "pid", "user"):
            assert namespace(first, kind) == namespace(second, kind)
        assert "sleep 1002" in rootless("exec", f"{name}-1", "ps").text
    finally:
        rootless("pod", "rm", "--force", "--time", "0", name).ok()


@pytest.mark.feature("podman build")
def test_build(rootless: RootlessPodman, name: str) -> None:
    context = rootless.home / "context"
    context.mkdir(exist_ok=True)
    (context / "Containerfile").write_text(
        f"FROM {IMAGE}\nRUN id -u > /who\nUSER 1000:1000\nRUN id -u > /tmp/who\nCMD cat /who /tmp/who\n"
    )
    rootless("build", "--network=none", "--isolation=oci", "--tag", name, str(context)).ok()
    try:
        assert rootless("run", "--rm", "--network=none", name).lines == ["0", "1000"]
    finally:
        rootless("rmi", "--force", name).ok()


@pytest.mark.feature("--init --tmpfs --ulimit --sysctl --security-opt seccomp --device --mount")
def test_options(rootless: RootlessPodman, tmp_path: Path) -> None:
    profile = rootless.home / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod", "fchmodat"], \
"action": "SCMP_ACT_ERRNO"}]}'
    )
    profile.chmod(0o644)
    flags = ["--init", "--tmpfs=/t:size=1m,mode=700", "--ulimit=nofile=100:200", "--ulimit=nproc=300:400"]
    flags += [f"--security-opt=seccomp={profile}", "--device=/dev/kmsg:/dev/kernel-log"]
    flags += ["--mount=type=tmpfs,destination=/two,tmpfs-size=2m", "--hostname=named"]
    script = """cat /proc/1/comm; stat -c %a /t; ulimit -n; chmod 1 /t 2> /dev/null || echo refused
        stat -c %t,%T /dev/kernel-log; df -k /two | tail -1 | tr -s ' ' | cut -d' ' -f2; hostname"""
    lines = rootless("run", "--rm", "--network=none", *flags, IMAGE, "sh", "-c", script).lines
    assert lines[0] in ("catatonit", "podman-init")
    assert lines[1:] == ["700", "100", "refused", "1,b", "2048", "named"]


@pytest.mark.feature("20 containers at once")
def test_many_at_once(rootless: RootlessPodman, name: str) -> None:
    names = [f"{name}-{number}" for number in range(20)]
    for one in names:
        rootless("create", "--name", one, "--network=none", IMAGE, "sleep", "1000").ok()
    rootless("start", *names, timeout=240).ok()
    assert set(rootless("ps", "--format", "{{.Names}}").lines) == set(names)
    rootless("rm", "--force", "--time", "0", *names, timeout=240)
