"""A container that runs while a test looks at it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.harness.bundle import Bundle
from tests.harness.host import wait_until
from tests.harness.look import Mount, cgroups_of, namespace, proc_mounts, proc_status, process_state
from tests.harness.runtime import Result, Runtime


class Container:
    """A container. The `container` fixture creates it without starting it, and removes it at the end of the test."""

    def __init__(self, runtime: Runtime, bundle: Bundle, id: str) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.id = id
        self.pid = 0
        self.created: Result | None = None

    def create(self, *flags: str | Path, **options: Any) -> Container:
        """Create it; asserts success."""
        self.created = self.runtime.create(self.bundle, self.id, *flags, **options).ok()
        self.pid = int(self.state()["pid"])
        return self

    def start(self) -> Container:
        """Start it; asserts success."""
        self.runtime.start(self.id).ok()
        return self

    def state(self) -> dict[str, Any]:
        return self.runtime.state(self.id)

    @property
    def status(self) -> str:
        """The status that `state` reports."""
        status: str = self.state()["status"]
        return status

    @property
    def stdout(self) -> str:
        """The output of the container's process so far."""
        assert self.created is not None
        return self.created.stdout_path.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        assert self.created is not None
        return self.created.stderr_path.read_text(errors="replace")

    def wait_output(self, text: str, timeout: float = 10) -> str:
        """Wait until standard output contains `text`, and return all of it."""
        wait_until(lambda: text in self.stdout, f"{text!r} in the output of {self.id}", timeout)
        return self.stdout

    def kill(self, number: int | str = "KILL") -> Container:
        """Send a signal; asserts success."""
        self.runtime.kill(self.id, number).ok()
        return self

    def exec(self, *words: str | Path, flags: Sequence[str | Path] = (), **options: Any) -> Result:
        """`exec` in the foreground. The words are the command; for the options see `Runtime.call`."""
        return self.runtime.call("exec", *flags, self.id, *words, **options)

    def sh(self, script: str, *flags: str | Path, **options: Any) -> Result:
        """Run a shell script with `exec` in the foreground."""
        return self.exec("sh", "-c", script, flags=flags, **options)

    def wait_dead(self, timeout: float = 10) -> Container:
        """Wait until init has died. It stays a zombie, because the test process, its parent, has not reaped it."""
        wait_until(lambda: process_state(self.pid) in ("Z", "X", ""), f"end of {self.id}", timeout)
        return self

    def reap(self, timeout: float = 10) -> int:
        """Wait until init ends, and reap it. Returns its exit status; 128 + signal if a signal killed it."""
        self.wait_dead(timeout)
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code

    def end(self) -> None:
        """Kill, reap and delete, as an engine does; asserts success."""
        if process_state(self.pid) not in ("Z", "X", ""):
            self.kill(signal.SIGKILL)
        self.reap()
        self.runtime.delete(self.id).ok()

    # From outside.

    def proc(self, path: str) -> Path:
        """A file of init in the host's /proc."""
        return Path(f"/proc/{self.pid}") / path

    def proc_status(self) -> dict[str, str]:
        return proc_status(self.pid)

    def namespace(self, kind: str) -> str:
        return namespace(self.pid, kind)

    def mounts(self) -> list[Mount]:
        return proc_mounts(self.pid)

    def mount_at(self, point: str) -> Mount:
        """The topmost mount at a path. Raises AssertionError if there is none."""
        found = [mount for mount in self.mounts() if mount.point == point]
        assert found, f"nothing is mounted at {point} in {self.id}"
        return found[-1]

    def cgroups(self) -> dict[str, str]:
        return cgroups_of(self.pid)

    def root(self, path: str = "/") -> Path:
        """A path in the container's root as seen from the host, through /proc/PID/root."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def enter(self, script: str, timeout: float = 10) -> Result:
        """Run a script in the container's namespaces except user and cgroup, with the host's rights (nsenter(1))."""
        argv = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--", "/bin/sh", "-c", script]
        return self.runtime.spawn(argv).wait(timeout)
