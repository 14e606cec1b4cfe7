"""The runtime under test, called as an engine calls it: as a process with files for streams, and a time limit."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.harness.bundle import Bundle
from tests.harness.host import scaled
from tests.harness.text import lines

# The environment of a direct call by an engine: nothing in the tester's environment can help or hurt.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class CallTimeout(AssertionError):
    """A call of the runtime did not return in time; it was killed."""


class Result:
    """The result of a finished call: `status` (negative: killed by that signal), `stdout` and `stderr` as text."""

    def __init__(self, argv: Sequence[str], status: int, stdout: Path, stderr: Path) -> None:
        self.argv = list(argv)
        self.status = status
        self.stdout_path = stdout
        self.stderr_path = stderr
        self.raw_stdout = stdout.read_bytes()
        self.raw_stderr = stderr.read_bytes()
        self.stdout = self.raw_stdout.decode(errors="replace")
        self.stderr = self.raw_stderr.decode(errors="replace")

    def __repr__(self) -> str:
        call = " ".join(self.argv)
        return f"{call}\n→ status {self.status}\nstdout: {self.stdout!r}\nstderr: {self.stderr!r}"

    @property
    def lines(self) -> list[str]:
        """The lines of standard output."""
        return lines(self.stdout)

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.stdout)

    def ok(self) -> Result:
        """Assert that the call succeeded."""
        assert self.status == 0, repr(self)
        return self

    def fails(self, *words: str, status: int | None = 1) -> Result:
        """Assert that the call failed, with a readable error that contains these words (ignoring case).
        `status` None accepts any exit status except 0."""
        assert self.status != 0 and self.status > 0, repr(self)
        assert status is None or self.status == status, repr(self)
        assert self.stderr.strip(), f"no word on standard error\n{self!r}"
        assert "Traceback" not in self.stderr and "Exception ignored" not in self.stderr, repr(self)
        said = self.stderr.replace('\\"', '"').lower()  # runc's text form escapes quotes
        for word in words:
            assert word.lower() in said, f"{word!r} is not in the error\n{self!r}"
        return self


class Running:
    """A running call of the runtime."""

    def __init__(self, argv: Sequence[str], process: subprocess.Popen[bytes], stdout: Path, stderr: Path) -> None:
        self.argv = list(argv)
        self.process = process
        self.stdout_path = stdout
        self.stderr_path = stderr

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: int) -> None:
        """Send a signal to the runtime's process."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 30) -> Result:
        """Wait until it ends. After `timeout` seconds (scaled), kills the process and raises CallTimeout."""
        # A pidfd, not Popen.wait(timeout), which sleeps in doubling steps.
        try:
            pidfd = os.pidfd_open(self.process.pid)
        except ProcessLookupError:
            pidfd = -1
        if pidfd >= 0:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            ready = poll.poll(scaled(timeout) * 1000)
            os.close(pidfd)
            if not ready:
                self.process.kill()
                self.process.wait()
                result = Result(self.argv, -signal.SIGKILL, self.stdout_path, self.stderr_path)
                raise CallTimeout(f"did not return within {scaled(timeout):g} s: {result!r}")
        return Result(self.argv, self.process.wait(), self.stdout_path, self.stderr_path)


class Runtime:
    """The executable under test, with one test's state directory (`root`) and directory for streams (`work`)."""

    def __init__(self, path: str, version: str, root: Path, work: Path) -> None:
        self.path = path
        self.version = version
        self.root = root
        self.work = work
        self.kind = version.split()[0] if version else ""
        self._calls = 0

    @property
    def is_ocipy(self) -> bool:
        return self.kind == "ocipy"

    def begin(
        self, *args: str | Path, globals: Sequence[str | Path] = (), prefix: Sequence[str] = (), **options: Any
    ) -> Running:
        """Start a call: PREFIX runtime --root ROOT GLOBALS ARGS, without `--root ROOT` if `globals` has one.
        `prefix` comes before the command (strace, setpriv, …); for the other options see `spawn`."""
        words = [str(word) for word in globals]
        if not any(word.lstrip("-").split("=")[0] == "root" for word in words):
            words = ["--root", str(self.root), *words]
        return self.spawn([*prefix, self.path, *words, *(str(arg) for arg in args)], **options)

    def spawn(
        self,
        argv: Sequence[str],
        stdin: int | IO[Any] | bytes | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        env: Mapping[str, str] | None = None,
        fds: Sequence[int] = (),
        **popen: Any,
    ) -> Running:
        """Start any command with files of this test as its streams, unless other file descriptors are given. `stdin`
        may be bytes; by default /dev/null. `env` is added to ENVIRONMENT. `fds` stay open under the same numbers."""
        self._calls += 1
        out = self.work / f"{self._calls}.out"
        err = self.work / f"{self._calls}.err"
        source: int | IO[Any] = subprocess.DEVNULL
        if isinstance(stdin, bytes):
            path = self.work / f"{self._calls}.in"
            path.write_bytes(stdin)
            source = path.open("rb")
        elif stdin is not None:
            source = stdin
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                argv,
                stdin=source,
                stdout=out_file if stdout is None else stdout,
                stderr=err_file if stderr is None else stderr,
                env={**ENVIRONMENT, **(env or {})},
                pass_fds=tuple(fds),
                **popen,
            )
        if isinstance(stdin, bytes) and not isinstance(source, int):
            source.close()
        return Running(argv, process, out, err)

    def call(self, *args: str | Path, timeout: float = 30, **options: Any) -> Result:
        """Make a call and wait until it ends. For the options see `begin`."""
        return self.begin(*args, **options).wait(timeout)

    def run(self, bundle: Bundle, id: str, *flags: str | Path, **options: Any) -> Result:
        """`run` in the foreground unless a flag says otherwise. Writes the bundle's config."""
        bundle.write()
        return self.call("run", "--bundle", bundle.path, *flags, id, **options)

    def create(self, bundle: Bundle, id: str, *flags: str | Path, **options: Any) -> Result:
        """`create`. Writes the bundle's config. The container's streams are the result's files."""
        bundle.write()
        return self.call("create", "--bundle", bundle.path, *flags, id, **options)

    def start(self, id: str, **options: Any) -> Result:
        return self.call("start", id, **options)

    def kill(self, id: str, signal: str | int | None = None, *flags: str, **options: Any) -> Result:
        return self.call("kill", *flags, id, *([] if signal is None else [str(signal)]), **options)

    def delete(self, id: str, force: bool = False, **options: Any) -> Result:
        return self.call("delete", *(["--force"] if force else []), id, **options)

    def state(self, id: str, **options: Any) -> dict[str, Any]:
        """The state document. Raises AssertionError if there is no such container."""
        document: dict[str, Any] = self.call("state", id, **options).ok().json
        return document

    def containers(self, **options: Any) -> list[dict[str, Any]]:
        """`list --format json`; runc writes null for an empty list."""
        return self.call("list", "--format", "json", **options).ok().json or []

    def ids(self) -> list[str]:
        """The ids in the state directory; other names belong to the runtime (kept seccomp filters)."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if entry.name[0] not in ".@")
