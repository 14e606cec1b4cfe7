"""docker exec, top, cp and the health check: they join a running container."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engines import alike
from tests.engines.docker.conftest import Docker
from tests.harness import wait_until

Inspect = Callable[[str, str], str]
Sleeping = Callable[..., str]


@pytest.mark.smoke
def test_exec(docker: Docker, sleeping: Sleeping) -> None:
    one = sleeping("--env", "A=1")
    alike.execute_with_streams(docker, one)
    missing = docker("exec", one, "no-such-command").fails()
    # Since version 23 two threads of the daemon set 127 and 126, in no fixed order (moby/moby#45795).
    assert missing.status in ((126,) if docker_is_old(docker) else (126, 127))
    assert docker("exec", one, "cat", "/proc/1/comm").text == "sleep"


def docker_is_old(docker: Docker) -> bool:
    """Before version 23, exec of a missing program has the status of a program that cannot be executed."""
    return int(docker("version", "--format", "{{.Server.Version}}").text.split(".")[0]) < 23


@pytest.mark.smoke
def test_exec_it(docker: Docker, sleeping: Sleeping) -> None:
    terminal = docker.terminal("exec", "-it", sleeping(), "sh")
    terminal.shell()
    assert terminal.end() == 3


@pytest.mark.feature("exec --user --env --workdir --privileged")
def test_exec_as_another(docker: Docker, sleeping: Sleeping) -> None:
    one = sleeping()
    flags = ["--user", "1000:1000", "--env", "A=b c", "--workdir", "/usr"]
    assert docker("exec", *flags, one, "sh", "-c", 'id -u; echo "$A"; pwd').lines == ["1000", "b c", "/usr"]
    assert docker("exec", "--workdir", "/usr", one, "pwd").text == "/usr"
    usual = docker("exec", one, "grep", "CapEff", "/proc/self/status").text
    assert int(usual.split()[1], 16).bit_count() < 20


@pytest.mark.feature("exec --privileged")
@pytest.mark.needs_capability("CAP_SYS_RESOURCE")
def test_exec_privileged(docker: Docker, sleeping: Sleeping) -> None:
    text = docker("exec", "--privileged", sleeping(), "grep", "CapEff", "/proc/self/status").text
    assert int(text.split()[1], 16).bit_count() > 30


@pytest.mark.smoke
@pytest.mark.feature("exec --detach")
def test_exec_is_in_all_of_the_container(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping()
    first = int(inspect(one, "{{.State.Pid}}"))
    alike.in_all_of_the_container(docker, one, first, ["-eo", "pid,args"])


def test_top(docker: Docker, sleeping: Sleeping) -> None:
    lines = docker("top", sleeping()).lines
    assert lines[0].split()[:2] == ["UID", "PID"]
    assert lines[1].endswith("sleep 1000")


@pytest.mark.smoke
@pytest.mark.feature("health check")
def test_healthcheck(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping("--health-cmd", "test ! -e /sick", "--health-interval", "0.3s", "--health-retries", "1")
    wait_until(lambda: inspect(one, "{{.State.Health.Status}}") == "healthy", timeout=30)
    docker("exec", one, "touch", "/sick").ok()
    wait_until(lambda: inspect(one, "{{.State.Health.Status}}") == "unhealthy", timeout=30)


@pytest.mark.feature("exec, many at once")
def test_many_execs(docker: Docker, sleeping: Sleeping) -> None:
    one = sleeping()
    for _ in range(12):
        docker("exec", "--detach", one, "sh", "-c", "echo x >> /written").ok()
    wait_until(lambda: len(docker("exec", one, "cat", "/written").text.split()) == 12, timeout=30)


@pytest.mark.feature("exec in one that is paused or stopped")
def test_exec_refused(docker: Docker, sleeping: Sleeping) -> None:
    one = sleeping()
    docker("pause", one).ok()
    docker("exec", one, "true").fails("is paused")
    docker("unpause", one).ok()
    docker("kill", one).ok()
    docker("exec", one, "true").fails("is not running")
