"""A Docker container's life: logs, stop, kill, restart, pause, and how Docker reports its end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.engines import alike
from tests.engines.docker.conftest import Docker
from tests.harness import wait_until

Inspect = Callable[[str, str], str]
Sleeping = Callable[..., str]


@pytest.mark.smoke
@pytest.mark.feature("run --detach, logs, stop, start, rm")
def test_detached(docker: Docker, name: str, inspect: Inspect) -> None:
    script = "trap 'echo stopping; exit 0' TERM; echo started; while :; do sleep 0.1; done"
    docker("run", "-d", "--name", name, "alpine", "sh", "-c", script).ok()
    wait_until(lambda: docker("logs", name).stdout == "started\n")
    docker("stop", name).ok()
    assert docker("logs", name).stdout == "started\nstopping\n"
    assert inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 0"
    docker("start", name).ok()
    wait_until(lambda: docker("logs", name).stdout == "started\nstopping\nstarted\n")
    docker("rm", name).fails("running")
    docker("rm", "--force", name).ok()
    assert docker("ps", "--all", "--quiet").text == ""


@pytest.mark.feature("stop --time")
def test_stop_of_a_container_that_ignores_the_signal(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping()
    begin = time.monotonic()
    docker("stop", "--time", "1", one).ok()
    assert time.monotonic() - begin >= 1
    assert inspect(one, "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"


@pytest.mark.smoke
def test_kill(docker: Docker, name: str, inspect: Inspect) -> None:
    alike.kill(docker, name)
    assert docker("wait", name).text == "137"
    docker("kill", name).fails("is not running")


@pytest.mark.feature("kill of one in the host's PID namespace")
def test_kill_without_pid_namespace(docker: Docker, name: str) -> None:
    """All of its processes end: containerd's shim kills the rest of the cgroup."""
    docker("run", "-d", "--name", name, "--pid=host", "alpine", "sh", "-c", "sleep 1000 & exec sleep 1000").ok()
    wait_until(lambda: len(docker("top", name).lines) == 3)
    docker("kill", name).ok()


@pytest.mark.feature("restart")
def test_restart(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping()
    first = inspect(one, "{{.State.Pid}}")
    docker("restart", "--time", "0", one).ok()
    assert inspect(one, "{{.State.Running}}") == "true"
    assert inspect(one, "{{.State.Pid}}") != first


@pytest.mark.smoke
@pytest.mark.feature("restart policy")
def test_restart_on_failure(docker: Docker, name: str, inspect: Inspect) -> None:
    docker("run", "-d", "--name", name, "--restart=on-failure:3", "alpine", "sh", "-c", "echo once; exit 9").ok()
    wait_until(lambda: inspect(name, "{{.RestartCount}} {{.State.Status}}") == "3 exited", timeout=60)
    assert docker("logs", name).stdout == "once\n" * 4
    assert inspect(name, "{{.State.ExitCode}}") == "9"


@pytest.mark.feature("restart policy")
def test_restart_always(docker: Docker, sleeping: Sleeping, inspect: Inspect) -> None:
    """A second process kills the one that its init runs."""
    one = sleeping("--restart=always", "--init")
    docker("exec", one, "sh", "-c", "kill -KILL $(pidof sleep)").ok()
    wait_until(lambda: inspect(one, "{{.RestartCount}} {{.State.Running}}") == "1 true", timeout=30)


@pytest.mark.smoke
@pytest.mark.feature("pause, unpause")
def test_pause(docker: Docker, name: str, inspect: Inspect) -> None:
    script = "while :; do echo x >> /ticks; sleep 0.05; done"
    docker("run", "-d", "--name", name, "alpine", "sh", "-c", script).ok()

    def ticks() -> str:
        return docker("cp", f"{name}:/ticks", "-").stdout

    wait_until(lambda: docker("exec", name, "cat", "/ticks").status == 0)
    docker("pause", name).ok()
    assert inspect(name, "{{.State.Status}}") == "paused"
    assert "(Paused)" in docker("ps", "--format", "{{.Status}}").text
    before = ticks()
    time.sleep(0.3)
    assert ticks() == before
    docker("pause", name).fails("already paused")
    docker("unpause", name).ok()
    assert inspect(name, "{{.State.Status}}") == "running"
    wait_until(lambda: ticks() != before)
    docker("unpause", name).fails("is not paused")


@pytest.mark.feature("rm --force of one that is paused")
def test_remove_a_paused_container(docker: Docker, sleeping: Sleeping) -> None:
    one = sleeping()
    docker("pause", one).ok()
    docker("rm", "--force", one).ok()


@pytest.mark.feature("attach")
def test_attach(docker: Docker, name: str) -> None:
    docker("create", "-i", "--name", name, "alpine", "cat").ok()
    assert docker("start", "--attach", "--interactive", name, stdin=b"there and back").text == "there and back"
