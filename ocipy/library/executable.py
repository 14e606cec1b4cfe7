"""Calls of the installed executable, whose errors come back as objects instead of text."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ocipy.errors import Error, reported_as
from ocipy.library.records import TimeoutExpired
from ocipy.linux.text import lines_of, shown

if TYPE_CHECKING:
    from ocipy.library.sockets import PidfdReceiver

Stream = int | IO[Any] | None
StrPath = str | os.PathLike[str]

# Variables of the program's service manager: its sockets and its readiness are not the container's.
NOT_HANDED_ON = ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "NOTIFY_SOCKET")

# Only our executable adds this module to Python (ocipy/launcher/start.h).
RUNNING_AS = "ocipy.launcher._start"

# A process in a frozen cgroup dies only when that is thawed.
KILL_PATIENCE = 2.0  # seconds


def find() -> str:
    """The path of the executable: that of this package, of this Python, or the first in PATH. Raises Error."""
    if RUNNING_AS in sys.modules and os.access(ours := str(sys.modules[RUNNING_AS].executable()), os.X_OK):
        return ours  # in `ocipy box`, this process is the executable, whatever its name
    import shutil
    import sysconfig

    package = Path(__file__).resolve().parents[1]
    candidates = [package.parents[3] / "bin/ocipy"] if len(package.parents) > 3 else []
    candidates.append(Path(sysconfig.get_path("scripts")) / "ocipy")
    candidates.append(Path(sys.prefix) / "bin/ocipy")
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which("ocipy")
    if found is None:
        raise Error("cannot find the executable ocipy", hint="install it, or name it: Runtime(executable=…)")
    return found


class Executable:
    """The executable and the global flags that go with every call. before: words before its path."""

    def __init__(self, path: str, flags: Sequence[str], before: Sequence[str] = ()) -> None:
        self.path = path
        self.flags = list(flags)
        self.before = list(before)

    @property
    def words(self) -> list[str]:
        """What each call begins with."""
        return [*self.before, self.path, *self.flags]

    def quietly(self, *words: str, input: bytes | None = None) -> bytes:
        """Call a command that does not use the caller's streams. Returns its output. Raises Error.

        Its warnings become Python warnings.
        """
        with self._begin(
            words, preserve_fds=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as (
            process,
            errors,
        ):
            output, said = process.communicate(input)
        errors.raise_for(process.returncode, said)
        for line in lines_of(shown(said)):
            import warnings

            warnings.warn(line.removeprefix("ocipy: warning: "), RuntimeWarning, stacklevel=3)
        return bytes(output)

    def leaving(self, *words: str, preserve_fds: int, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        """Call a command that leaves a process behind, to which the streams belong. Raises Error."""
        if subprocess.PIPE in (stdin, stdout, stderr):
            raise ValueError("a pipe would have to be read as long as the process lives: give a file or a descriptor")
        with self._begin(words, preserve_fds, stdin, stdout, stderr) as (process, errors):
            process.wait()
        errors.raise_for(process.returncode)

    def staying(self, *words: str, stdin: Stream, stdout: Stream, stderr: Stream) -> subprocess.Popen[bytes]:
        """Call `exec --detach --stay`. Returns when the process has executed. The command ends with the process, with
        the same status. It has its own session: a terminal's keys are for the foreground. Raises Error."""
        if subprocess.PIPE in (stdin, stdout, stderr):
            raise ValueError("a pipe would have to be read as long as the process lives: give a file or a descriptor")
        errors = Errors(3)
        with errors:
            process = self._popen(words, errors, 0, stdin, stdout, stderr, start_new_session=True)
            try:
                errors.wait()
            except BaseException:
                process.terminate()
                raise
        if not errors.begun:
            process.wait()
            errors.raise_for(process.returncode)
        return process

    def foreground(
        self,
        command: str,
        *words: str,
        container_id: str,
        preserve_fds: int,
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        input: bytes | None,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Call a command that stays until its process has ended. Raises Error if there was none, TimeoutExpired.

        At the timeout, a process that has executed is killed; otherwise everything is undone.
        """
        if input is not None:
            stdin = subprocess.PIPE
        if timeout is None:
            with self._begin([command, *words], preserve_fds, stdin, stdout, stderr) as (process, errors):
                output, said = process.communicate(input)
        else:
            from ocipy.library.sockets import PidfdReceiver

            with (
                PidfdReceiver() as receiver,
                self._begin(
                    [command, f"--pidfd-socket={os.fspath(receiver)}", *words], preserve_fds, stdin, stdout, stderr
                ) as (process, errors),
            ):
                try:
                    output, said = process.communicate(input, timeout)
                except subprocess.TimeoutExpired as expired:
                    self._end(process, receiver, command, container_id)
                    raise TimeoutExpired([command, *words], timeout, expired.stdout, expired.stderr) from None
        errors.raise_if_told()
        return subprocess.CompletedProcess([command, *words], process.returncode, output, said)

    def _end(self, process: subprocess.Popen[bytes], receiver: PidfdReceiver, command: str, container_id: str) -> None:
        """End a command in the foreground, and the process that it made.

        SIGTERM ends a command that is still working (ocipy/children/interrupts.py). Later the command passes it on, but
        by then the pidfd has come, or will.
        """
        own = os.pidfd_open(process.pid)
        try:
            if not _is_ready(receiver.fileno(), 0):
                process.terminate()
            if receiver.fileno() in _ready(receiver.fileno(), own):
                made = receiver.receive()
                try:
                    _kill(made)
                    if _is_ready(own, KILL_PATIENCE):
                        return
                    # It is frozen, or other processes in the container are slow to end.
                    if command == "run":
                        with suppress(Error):  # it may end meanwhile
                            self.quietly("kill", container_id, "KILL")
                    elif command == "exec":
                        process.kill()
                finally:
                    os.close(made)
            process.wait()
        finally:
            os.close(own)

    def lines(self, *words: str) -> Iterator[bytes]:
        """Yields the lines that a command prints. The command ends with the generator. Raises Error."""
        with self._begin(words, 0, subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE) as (process, errors):
            assert process.stdout is not None and process.stderr is not None
            try:
                yield from process.stdout
            finally:
                process.terminate()
                said = process.stderr.read()
                process.wait()
        errors.raise_for(process.returncode, said)

    @contextmanager
    def _begin(
        self, words: Sequence[str], preserve_fds: int, stdin: Stream, stdout: Stream, stderr: Stream
    ) -> Iterator[tuple[subprocess.Popen[bytes], Errors]]:
        errors = Errors(3 + preserve_fds)
        with errors, self._popen(words, errors, preserve_fds, stdin, stdout, stderr) as process:
            yield process, errors

    def _popen(
        self,
        words: Sequence[str],
        errors: Errors,
        preserve_fds: int,
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        start_new_session: bool = False,
    ) -> subprocess.Popen[bytes]:
        with reported_as("cannot execute ocipy", pointer=self.path):
            return subprocess.Popen(
                [*self.words, "--error-fd", str(errors.writer), *words],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env={name: value for name, value in os.environ.items() if name not in NOT_HANDED_ON},
                pass_fds=(errors.writer, *range(3, 3 + preserve_fds)),
                start_new_session=start_new_session,
            )


def captured(capture_output: bool, stdout: Stream, stderr: Stream) -> tuple[Stream, Stream]:
    """stdout and stderr, as subprocess.run takes capture_output."""
    if not capture_output:
        return stdout, stderr
    if stdout is not None or stderr is not None:
        raise ValueError("capture_output cannot be combined with stdout or stderr")
    return subprocess.PIPE, subprocess.PIPE


def _ready(*descriptors: int, timeout: float | None = None) -> list[int]:
    """Wait until one is readable, or the timeout has expired. Returns those that are readable."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [found for found, _ in poll.poll(None if timeout is None else round(timeout * 1000))]


def _is_ready(descriptor: int, timeout: float) -> bool:
    return bool(_ready(descriptor, timeout=timeout))


def _kill(pidfd: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Errors:
    """The pipe through which the executable sends its error (--error-fd).

    first: the lowest number that its descriptor may have: those below belong to the container.
    """

    def __init__(self, first: int) -> None:
        self.reader, writer = os.pipe()
        self.writer = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, first)
        os.close(writer)
        self.told: Error | None = None
        self.begun = False

    def __enter__(self) -> None:
        pass

    def wait(self) -> None:
        """Wait until it has sent an error, or said that there was none, or has ended."""
        os.close(self.writer)
        self.writer = -1
        _ready(self.reader)

    def __exit__(self, *_exception: object) -> None:
        if self.writer >= 0:
            os.close(self.writer)
        # Others may have the other end open, but nothing more will come.
        os.set_blocking(self.reader, False)
        try:
            data = os.read(self.reader, 1 << 16)
        except BlockingIOError:
            data = b""
        os.close(self.reader)
        self.begun = data == b"\n"
        if data.strip():
            self.told = Error.from_message(json.loads(data))

    def raise_if_told(self) -> None:
        """Raise the Error, if there was one."""
        if self.told is not None:
            raise self.told

    def raise_for(self, status: int, said: bytes = b"") -> None:
        """Raise the Error of a failed command. said: its standard error, used if it sent no error."""
        self.raise_if_told()
        if status:
            words = shown(said).strip().removeprefix("ocipy: ")
            raise Error(words or f"ocipy ended with status {status}", status=status if status > 0 else 128 - status)
