"""podman exec, top and the health check: they join a running container."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest

from tests.engines import alike
from tests.engines.podman.conftest import Podman

Inspect = Callable[[str, str], str]
Sleeping = Callable[..., str]


@pytest.mark.smoke
def test_exec(podman: Podman, sleeping: Sleeping) -> None:
    one = sleeping("--env", "A=1")
    alike.execute_with_streams(podman, one)
    assert podman("exec", one, "cat", "/proc/1/comm").text == "sleep"


@pytest.mark.feature("exec: exit status 127 and 126")
@pytest.mark.parametrize(("command", "status"), [("no-such-command", 127), ("/no/such", 127), ("/etc/passwd", 126)])
def test_exec_that_does_not_start(podman: Podman, sleeping: Sleeping, command: str, status: int) -> None:
    podman("exec", sleeping(), command).fails(command, status=status)


@pytest.mark.smoke
def test_exec_it(podman: Podman, sleeping: Sleeping) -> None:
    terminal = podman.terminal("exec", "-it", sleeping(), "sh")
    terminal.shell()
    assert terminal.end() == 3


@pytest.mark.feature("exec --user --env --workdir --privileged")
def test_exec_as_another(podman: Podman, sleeping: Sleeping) -> None:
    one = sleeping()
    flags = ["--user", "1000:1000", "--env", "A=b c", "--workdir", "/usr"]
    assert podman("exec", *flags, one, "sh", "-c", 'id -u; echo "$A"; pwd').lines == ["1000", "b c", "/usr"]
    podman("exec", "--workdir", "/no/such", one, "pwd").fails("/no/such")
    text = podman("exec", "--privileged", one, "grep", "CapEff", "/proc/self/status").text
    assert int(text.split()[1], 16).bit_count() > 30


@pytest.mark.feature("exec --detach")
def test_exec_is_in_all_of_the_container(podman: Podman, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping("--memory=64m")
    first = int(inspect(one, "{{.State.Pid}}"))
    alike.in_all_of_the_container(podman, one, first, ["hpid", "args"])


@pytest.mark.feature("exec --preserve-fds")
def test_exec_with_a_descriptor(podman: Podman, sleeping: Sleeping) -> None:
    words = podman.argv("exec", "--preserve-fds=1", sleeping(), "sh", "-c", "cat <&3")
    answer = podman.call(["sh", "-c", f"exec 3< /proc/sys/kernel/ostype; exec {shlex.join(words)}"])
    assert answer.text == "Linux"


def test_top(podman: Podman, sleeping: Sleeping) -> None:
    lines = podman("top", sleeping(), "pid", "user", "args").lines
    assert lines[1].split() == ["1", "root", "sleep", "1000"]


def test_healthcheck(podman: Podman, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping("--health-cmd", "test ! -e /sick", "--health-interval=disable", "--health-retries=1")
    podman("healthcheck", "run", one).ok()
    assert inspect(one, "{{.State.Health.Status}}") == "healthy"
    podman("exec", one, "touch", "/sick").ok()
    podman("healthcheck", "run", one).fails()
    assert inspect(one, "{{.State.Health.Status}}") == "unhealthy"


@pytest.mark.feature("exec in one that is paused or stopped")
def test_exec_refused(podman: Podman, sleeping: Sleeping) -> None:
    one = sleeping()
    podman("pause", one).ok()
    podman("exec", one, "true").fails("can only create exec sessions on running containers")
    podman("unpause", one).ok()
    podman("kill", one).ok()
    podman("wait", one).ok()
    podman("exec", one, "true").fails("can only create exec sessions on running containers")
