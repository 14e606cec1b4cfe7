"""Events of a container: regular statistics, and out-of-memory kills. Cold."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Iterator
from typing import Any

from ocipy.cgroups import files, statistics
from ocipy.cgroups.cgroup import Cgroup
from ocipy.errors import Error, caused_by
from ocipy.host.intel_rdt import top_of_resctrl
from ocipy.operations import rdt_statistics
from ocipy.state.state import State

# Seconds between checks for remaining processes once the init process has ended.
END_INTERVAL = 0.2


def stats(state: State) -> dict[str, Any]:
    """The event with the container's statistics. Raises Error."""
    data = statistics.collect(_cgroup(state).paths)
    if state.rdt is not None:
        data["intel_rdt"] = rdt_statistics.collect(state.rdt, top_of_resctrl())
    return {"type": "stats", "id": state.container_id, "data": data}


def watch(state: State, interval: float) -> Iterator[dict[str, Any]]:
    """Yields statistics every interval (seconds), and an event for each out-of-memory kill.

    Ends with the last process in the cgroup. Raises Error.
    """
    cgroup = _cgroup(state)
    memory = OutOfMemory(cgroup, state.pid)
    try:
        due = time.monotonic() + interval
        while True:
            ended = not state.is_alive()
            # Read the processes first: if the last one was killed, the kill has been counted by now.
            empty = ended and not cgroup.processes()
            if memory.happened():
                yield {"type": "oom", "id": state.container_id}
            if empty:
                return
            now = time.monotonic()
            if now >= due:
                yield stats(state)
                due = max(due + interval, now)
            elif ended:
                memory.wait(min(due - now, END_INTERVAL))
            else:
                memory.wait(due - now)
    finally:
        memory.close()


def _cgroup(state: State) -> Cgroup:
    if state.cgroup is None or not state.cgroup["paths"]:
        raise Error("the container has no cgroup with statistics", hint="without root it needs a delegated cgroup")
    return Cgroup.from_state(state.cgroup)


class OutOfMemory:
    """Watches for OOM kills: with an eventfd on v1 (cgroup-v1/memory.rst, OOM Control), in memory.events on v2."""

    def __init__(self, cgroup: Cgroup, pid: int) -> None:
        """pid: also wait for the end of this process. Raises Error without a memory controller."""
        self.cgroup = cgroup
        self.v1 = cgroup.path_of("memory")
        self.poll = select.poll()
        self.fds: list[int] = []
        self.count = 0
        try:
            self.pidfd = self._keep(os.pidfd_open(pid), select.POLLIN)
            if self.v1:
                self._watch_v1()
            else:
                self._watch_v2()
        except OSError as error:
            self.close()
            raise caused_by(error, "cannot watch the memory of the container") from None

    def _keep(self, fd: int, events: int) -> int:
        self.fds.append(fd)
        if events:
            self.poll.register(fd, events)
        return fd

    def _watch_v1(self) -> None:
        self.eventfd = self._keep(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK), select.POLLIN)
        control = self._keep(os.open(self.v1 + "/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC), 0)
        files.write(self.v1 + "/cgroup.event_control", f"{self.eventfd} {control}")

    def _watch_v2(self) -> None:
        directory = self.cgroup.path_of("")
        # The kernel reports a change of this file as urgent data (POLLPRI) until it is read.
        self.files = [
            self._keep(os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC), select.POLLPRI)
            for name in ("memory.events", "cgroup.events")
        ]
        self.count = self.cgroup.oom_kills()

    def happened(self) -> bool:
        """Whether there was a kill since the last call."""
        if self.v1:
            try:
                os.eventfd_read(self.eventfd)
            except BlockingIOError:
                return False
            # The removal of the cgroup is an event too.
            return files.is_present(self.v1)
        for fd in self.files:
            try:
                os.pread(fd, 4096, 0)
            except OSError as error:
                if error.errno != errno.ENODEV:  # the cgroup has been removed
                    raise
        before, self.count = self.count, self.cgroup.oom_kills()
        return self.count > before

    def wait(self, seconds: float) -> None:
        """Wait until something may have happened, or for at most this long."""
        for fd, _ in self.poll.poll(max(1, seconds * 1000)):
            if fd == self.pidfd:
                self.poll.unregister(fd)

    def close(self) -> None:
        """Close the descriptors."""
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()
