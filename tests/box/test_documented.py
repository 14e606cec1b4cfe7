"""The commands of docs/box.md, typed as they stand there, on a terminal."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.box.conftest import SECONDS, Box, needs
from tests.conftest import runtime_path
from tests.harness.host import scaled, wait_until

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/box.md").read_text()
ENDLESS = ("logs -f", "attach")  # until the box ends, or the reader has seen enough

Type = Callable[[str], str]


def section(title: str) -> str:
    """The text below a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def commands(title: str) -> list[str]:
    """The command lines of a section, without their explanations."""
    lines = re.findall(r"^    (ocipy box .*)$", section(title), re.MULTILINE)
    return [line.partition("  ")[0] for line in lines]


@pytest.fixture
def typed(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Type:
    """Types a command on a terminal, and `exit` after it. Returns what the terminal shows."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.html").write_text("hello\n")
    with tarfile.open("debian.tar", "w") as archive:
        archive.add("/bin/busybox", "bin/busybox")
        shell = tarfile.TarInfo("bin/sh")
        shell.type, shell.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(shell)
        script = b"#!/bin/sh\nexec sh\n"
        bash = tarfile.TarInfo("bin/bash")
        bash.mode, bash.size = 0o755, len(script)
        archive.addfile(bash, io.BytesIO(script))
    path = f"{os.path.dirname(runtime_path())}:{os.environ['PATH']}"
    environment = box.environment | {"PATH": path, "TERM": "xterm"}

    def type_in(command: str) -> str:
        with on_terminal(command, environment) as (process, shown):
            if any(word in command for word in ENDLESS):
                time.sleep(2)
                assert process.poll() is None, command
                process.terminate()
            status = process.wait(scaled(SECONDS))
        text = b"".join(shown).decode("utf-8", "replace")
        assert status in (0, -signal.SIGTERM), f"{command}: {status}\n{text}"
        return text

    return type_in


@contextmanager
def on_terminal(command: str, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], list[bytes]]]:
    """Run a shell command on a new terminal, on which `exit` has been typed. Yields it, and what the terminal shows."""
    master, slave = os.openpty()
    shown: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # every descriptor of the terminal is closed
            while data := os.read(master, 1 << 16):
                shown.append(data)

    os.write(master, b"exit\n")
    words = ["setsid", "-c", "sh", "-c", f"exec {command}"]
    with subprocess.Popen(words, env=environment, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield process, shown
        finally:
            process.kill()
    reader.join(scaled(SECONDS))
    os.close(master)


def needs_limits(text: str) -> None:
    """Skip if this host cannot limit what the commands limit."""
    for flag, controller in (("--memory", "memory"), ("--cpu", "cpu"), ("--pids-limit", "pids"), ("-m ", "memory")):
        if flag in text:
            needs(controller)


def test_from_nothing_to_a_shell_with_limits_and_a_network(box: Box, typed: Type) -> None:
    lines = commands("From nothing to a shell with limits and a network")
    assert len(lines) == 4  # after apt's
    needs_limits(" ".join(lines))
    shown = [typed(line) for line in lines]
    assert "/ # " in shown[0] and "/ # " in shown[1]
    assert box("ps").stdout.split("\n")[1].split()[1] == "web"
    assert "/linux/namespaces/0" in shown[3] and "CapBnd" in shown[3]


def test_each_command(box: Box, typed: Type) -> None:
    lines = commands("Each command")
    verbs = {line.split()[2] for line in lines} | {"stats"}
    assert {"run", "ps", "stop", "rm", "inspect", "start", "exec", "cp", "diff", "images", "pull", "rmi"} <= verbs
    needs_limits(" ".join(lines))
    for line in lines:
        if " wait " in line:
            continue  # it does not end before the box
        if " stop " in line:
            waiting = box.begin("wait", "web")
        typed(line)
    assert waiting.wait(timeout=scaled(SECONDS)) == 0
    assert box("ps", "-aq").stdout == "" and "debian.tar" not in box("images").stdout


def test_the_articles_commands(box: Box, typed: Type) -> None:
    rows = re.findall(r"^\| .* \| `(ocipy box run .*)` \|$", section("The articles' commands"), re.MULTILINE)
    assert len(rows) == 5
    needs_limits(" ".join(rows))
    for row in rows:
        typed(row.replace("\\|", "|"))


def test_a_program(box: Box, tmp_path: Path) -> None:
    """The page shows a Python program."""
    needs("memory")
    text = re.sub("^    ", "", section("For programs"), flags=re.MULTILINE)
    words = [str(TOP / ".venv/bin/python"), "-c", text]
    environment = box.environment | {"PYTHONPATH": str(TOP), "OCIPY": runtime_path()}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment, timeout=scaled(SECONDS))
    assert sorted(done.stdout.split("\n")) == ["", "hello", "it ended with 0"]
    wait_until(lambda: box("ps", "-aq").stdout == "")
