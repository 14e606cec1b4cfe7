"""Tests shared by the engines with Docker's command line: docker, podman with and without root."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable, Sequence

from tests.engines.engine import Engine
from tests.harness import cgroups_of, namespaces, proc_status, wait_until

# The lines after FROM, and the output of a container of that image.
BUILD = """\
ENV A=1
RUN echo built-$A > /file && id -u > /who
USER 1000:1000
WORKDIR /tmp
RUN id -u >> made && pwd >> made
CMD ["sh", "-c", "cat /file /who /tmp/made"]
"""
BUILT = ["built-1", "0", "1000", "/tmp"]


def inspecting(engine: Engine) -> Callable[[str, str], str]:
    """inspect(name, template): one value from the engine's inspect."""
    return lambda name, template: engine("inspect", "--format", template, name).text


def sleeper(engine: Engine, name: str, image: str = "alpine", *always: str) -> Callable[..., str]:
    """sleeping(*flags): the name of a container that sleeps."""

    def start(*flags: str) -> str:
        engine("run", "-d", "--name", name, *always, *flags, image, "sleep", "1000").ok()
        return name

    return start


def execute_with_streams(engine: Engine, one: str) -> None:
    """exec in a container with A=1: standard streams, environment, exit status."""
    answer = engine("exec", "-i", one, "sh", "-c", "cat; echo $A; echo err >&2; exit 5", stdin=b"to and fro\n")
    assert (answer.status, answer.stdout, answer.stderr) == (5, "to and fro\n1\n", "err\n")


def in_all_of_the_container(
    engine: Engine,
    one: str,
    first: int,
    columns: Sequence[str],
    fields: Sequence[str] = ("CapEff", "CapBnd", "Seccomp", "NoNewPrivs", "SigIgn", "SigBlk"),
) -> None:
    """exec starts a process in the namespaces and cgroups of the container's first, with the same status fields.

    columns: of top, the host's pid first and the arguments last.
    """
    engine("exec", "--detach", one, "sleep", "2000").ok()

    def pids() -> list[int]:
        lines = engine("top", one, *columns).lines[1:]
        return [int(line.split()[0]) for line in lines if line.endswith("sleep 2000")]

    wait_until(pids)
    (second,) = pids()
    assert namespaces(second) == namespaces(first)
    assert cgroups_of(second) == cgroups_of(first)
    for field in fields:
        assert proc_status(second)[field] == proc_status(first)[field], field


def follow_the_windows_size(engine: Engine) -> None:
    """run -it: the container's terminal gets the size of the user's."""
    terminal = engine.terminal("run", "--rm", "-it", "alpine", "sh")
    terminal.expect(r"/ # ")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    terminal.send("sleep 1; stty size\n")
    terminal.expect(r"33 99\r\n")
    terminal.expect(r"/ # ")
    terminal.send("exit\n")
    assert terminal.end() == 0


def interrupt(engine: Engine) -> None:
    """run -it: the interrupt key reaches the container."""
    script = "trap 'exit 5' INT; echo up; while :; do sleep 0.1; done"
    terminal = engine.terminal("run", "--rm", "-it", "alpine", "sh", "-c", script)
    terminal.expect(r"up\r\n")
    terminal.send("\x03")
    assert terminal.end() == 5


def kill(engine: Engine, name: str) -> None:
    """kill: a signal that the process catches, then one that ends it."""
    script = "trap 'echo got USR1' USR1; echo up; while :; do sleep 0.1; done"
    engine("run", "-d", "--name", name, "alpine", "sh", "-c", script).ok()
    wait_until(lambda: "up" in engine("logs", name).stdout)
    engine("kill", "--signal", "USR1", name).ok()
    wait_until(lambda: "got USR1" in engine("logs", name).stdout)
    engine("kill", name).ok()
