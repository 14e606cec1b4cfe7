"""Calls an engine as its users do: whole calls with files as streams, calls on a terminal, and daemons."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.harness import scaled, wait_until

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The prefix of a daemon's command line: a new network namespace.
IN_NAMESPACE = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]


class Answer:
    """The result of an engine's call."""

    def __init__(self, argv: list[str], status: int, stdout: str, stderr: str) -> None:
        self.argv, self.status, self.stdout, self.stderr = argv, status, stdout, stderr

    def __repr__(self) -> str:
        return f"{' '.join(self.argv)}\n→ status {self.status}\nstdout: {self.stdout!r}\nstderr: {self.stderr!r}"

    def ok(self) -> Answer:
        """Assert success."""
        assert self.status == 0, repr(self)
        return self

    def fails(self, *words: str, status: int | None = None) -> Answer:
        """Assert failure, with these words on standard error."""
        assert self.status != 0 and status in (None, self.status), repr(self)
        for word in words:
            assert word in self.stderr, repr(self)
        return self

    @property
    def text(self) -> str:
        """Standard output of a successful call, stripped."""
        return self.ok().stdout.strip()

    @property
    def lines(self) -> list[str]:
        """The lines of `text`."""
        return self.text.splitlines()


class Engine:
    """A program that calls the runtime under test. `home` is its working directory."""

    def __init__(self, home: Path, runtime: str) -> None:
        self.home = home
        self.runtime = runtime
        # On cgroup v1 podman 5 prints a deprecation warning at each call; the tests compare the process's own output.
        self.env = {"PATH": PATH, "HOME": str(home), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}

    def argv(self, *words: str) -> list[str]:
        """The command line of a call."""
        raise NotImplementedError

    def __call__(self, *words: str, stdin: bytes = b"", timeout: float = 90) -> Answer:
        """Call it, and wait until it ends."""
        return self.call(self.argv(*words), stdin, timeout)

    def call(self, argv: list[str], stdin: bytes = b"", timeout: float = 90) -> Answer:
        """Call it, and wait until it ends. Its streams are files: the container's monitor would hold a pipe open."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as source:
            source.write(stdin)
            source.seek(0)
            # If the container ran out of memory, conmon leaves a file named oom in its working directory.
            process = subprocess.Popen(argv, cwd=self.home, stdin=source, stdout=out, stderr=err, env=self.env)
            try:
                status = process.wait(scaled(timeout))
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return Answer(argv, status, *texts)

    def terminal(self, *words: str) -> Terminal:
        """A call under a pseudo-terminal."""
        return Terminal(self.argv(*words), self.env)


class Terminal:
    """A program on a terminal; the test holds the other end."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(argv[0], argv, {**env, "TERM": "xterm"})
            finally:
                os._exit(127)
        self.text = ""

    def expect(self, pattern: str, timeout: float = 30) -> re.Match[str]:
        """Read until the pattern matches, and drop everything up to its end."""
        deadline = time.monotonic() + scaled(timeout)
        while True:
            match = re.search(pattern, self.text)
            if match is not None:
                self.text = self.text[match.end() :]
                return match
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} did not appear in {self.text!r}"
            try:
                data = os.read(self.master, 4096)
            except OSError:
                data = b""
            assert data, f"{pattern!r} did not appear before the end in {self.text!r}"
            self.text += data.decode(errors="replace")

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self, timeout: float = 30) -> int:
        """Read to the end and return the exit status."""
        deadline = time.monotonic() + scaled(timeout)
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if ready:
                try:
                    if not os.read(self.master, 4096):
                        break
                except OSError:
                    break  # EIO: the last process on the terminal has gone
        done: list[int] = []

        def gone() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                done.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        try:
            wait_until(gone, "end of the program on the terminal", timeout)
        finally:
            os.close(self.master)
        return done[0]

    def shell(self) -> None:
        """Wait for a shell's prompt, have it describe its terminal, and end it with status 3."""
        self.expect(r"/ # ")
        self.send("tty; echo $((6*7))\n")
        self.expect(r"/dev/pts/\d+\r+\n42\r+\n")  # ctr adds a carriage return
        self.expect(r"/ # ")
        self.send("exit 3\n")


class Daemon:
    """A server that ends with the tests, even if the tests' process dies."""

    def __init__(self, argv: Sequence[str], log: Path, env: dict[str, str], answers: Callable[[], bool]) -> None:
        """answers: whether the server is ready; called until it is."""
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *argv], stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=env
            )
        try:
            wait_until(lambda: self.process.poll() is not None or answers(), timeout=60)
            assert self.process.poll() is None
        except AssertionError:
            self.end()
            lines = log.read_text(errors="replace").splitlines()[-20:]
            raise AssertionError("\n".join([f"{argv[0]} did not start:", *lines])) from None

    def end(self) -> None:
        """Send TERM, and KILL if it does not end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(scaled(30))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
