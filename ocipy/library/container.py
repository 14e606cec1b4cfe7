"""One container, by its id."""

from __future__ import annotations

import json
import os
import select
import signal as signals
import subprocess
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ocipy.container.processes import processes
from ocipy.container.state import load
from ocipy.library.executable import Stream
from ocipy.library.records import State

if TYPE_CHECKING:
    from ocipy.library.runtime import Runtime


class Container:
    """A handle: it holds nothing open, and the container lives on without it.

    Made by Runtime.create and Runtime.container. Every call may raise ocipy.Error: that the container does not exist,
    for one.
    """

    def __init__(self, runtime: Runtime, container_id: str) -> None:
        self.runtime = runtime
        self.id = container_id

    def __repr__(self) -> str:
        return f"Container({self.id!r} in {self.runtime.root!r})"

    def state(self) -> State:
        """What it is at this moment."""
        return State.from_document(load(self.runtime.root, self.id).to_oci())

    def start(self) -> None:
        """Let its process run: back once that was executed and the poststart hooks have run."""
        self._call("start")

    def kill(self, signal: int | str = signals.SIGTERM, *, all: bool = False) -> None:
        """Send a signal, by number or name, to its process, or to all in its cgroup."""
        number_or_name = str(int(signal)) if isinstance(signal, int) else signal
        self._call("kill", *(["--all"] if all else []), after=[number_or_name])

    def delete(self, *, force: bool = False) -> None:
        """Remove it once it is stopped. force: kill it first if it is not, and no error if it does not exist."""
        self._call("delete", *(["--force"] if force else []))

    def pause(self) -> None:
        """Freeze all its processes."""
        self._call("pause")

    def resume(self) -> None:
        """Let them go on."""
        self._call("resume")

    def update(self, resources: Mapping[str, Any]) -> None:
        """Change its limits. resources: as linux.resources of config.json has them; what is not named stays."""
        self._call("update", "--resources=-", input=json.dumps(resources).encode())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is stopped, at most so many seconds: False if it is not by then.

        How it ended is known to its process's parent alone: for that use Runtime.run.
        """
        state = self.state()
        if state.pid == 0:
            return True
        try:
            pidfd = os.pidfd_open(state.pid)
        except ProcessLookupError:
            return True
        try:
            # The pid may have become another's before it was opened.
            if self.state().pid != state.pid:
                return True
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            return bool(poll.poll(None if timeout is None else timeout * 1000))
        finally:
            os.close(pidfd)

    def processes(self) -> tuple[int, ...]:
        """The pids of all its processes, as the host sees them."""
        return tuple(processes(load(self.runtime.root, self.id)))

    def exec(
        self,
        arguments: Sequence[str] = (),
        *,
        process: Mapping[str, Any] | None = None,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        user: str = "",
        input: bytes | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        ignore_paused: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run another process in it and wait for its end.

        arguments, cwd, env, user ("UID" or "UID:GID"): what differs from process of config.json; or process: all of it,
        as config.json has it. The streams are as subprocess.run takes them, PIPE included; input is written to standard
        input. The result's returncode is the process's, 128 + the signal that ended it.
        """
        if bool(arguments) == (process is not None):
            raise ValueError("exec takes arguments, or a process")
        flags = ["--ignore-paused"] if ignore_paused else []
        if process is None:
            flags += [f"--cwd={cwd}"] if cwd else []
            flags += [f"--user={user}"] if user else []
            flags += [f"--env={name}={value}" for name, value in (env or {}).items()]
            return self._exec([*flags, self.id, *arguments], input, stdin, stdout, stderr)
        if cwd or env or user:
            raise ValueError("cwd, env and user are members of process")
        file = os.memfd_create("process")
        try:
            os.write(file, json.dumps(process).encode())
            path = f"/proc/{os.getpid()}/fd/{file}"
            return self._exec([*flags, f"--process={path}", self.id], input, stdin, stdout, stderr)
        finally:
            os.close(file)

    def _exec(
        self, words: Sequence[str], input: bytes | None, stdin: Stream, stdout: Stream, stderr: Stream
    ) -> subprocess.CompletedProcess[bytes]:
        return self.runtime.executable.foreground(
            "exec", *words, preserve_fds=0, stdin=stdin, stdout=stdout, stderr=stderr, input=input
        )

    def stats(self) -> dict[str, Any]:
        """Its statistics, as `ocipy events --stats` has them in "data"."""
        line = json.loads(self._call("events", "--stats"))
        return dict(line["data"])

    def events(self, interval: float = 5.0) -> Generator[dict[str, Any], None, None]:
        """Its statistics every so many seconds, and a record of each OOM kill, until it ends or this is closed.

        Each has type ("stats" or "oom"), id, and data.
        """
        for line in self.runtime.executable.lines("events", f"--interval={round(interval * 1000)}ms", self.id):
            yield json.loads(line)

    def _call(self, command: str, *flags: str, after: Sequence[str] = (), input: bytes | None = None) -> bytes:
        return self.runtime.executable.quietly(command, *flags, self.id, *after, input=input)
