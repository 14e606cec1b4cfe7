"""Watches for processes of a box that the kernel kills because memory has run out.

systemd removes a scope's cgroup, and with it the counts, as soon as the last process has ended. So it is too late to
read them after the box has ended. The command watches a box in the foreground; a process that stays with the box
watches one in the background (`ocipy box _watch`).
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from ocipy import Error
from ocipy.box import tools
from ocipy.box.cgroup import Paths, numbers, numbers_in, place_of
from ocipy.box.record import Directory, locked

APPEARS = 0.005  # seconds between two attempts to find a cgroup that does not exist yet
# The kernel reports the next event after 10 ms at the earliest (CGROUP_FILE_NOTIFY_MIN_INTV), and by then the cgroup
# may be gone. So after an event the file is read LOOKS times, every PAUSE milliseconds.
PAUSE, LOOKS = 1, 30
KILLED = 128 + signal.SIGKILL
URGENT = -20
NAME = "box-memory"  # of the process that stays, for ps(1)


def kills_in(counts: Mapping[str, int], status: int | None) -> int:
    """How many processes the kernel has killed, by the last counts of a box that ended with this status. Pure.

    If the cgroup vanished between the kernel's decision to kill (oom) and the last reading, one is assumed.
    """
    decided = counts.get("oom", 0) > 0 and status == KILLED
    return counts.get("oom_kill", 0) or int(decided)


class Watch:
    """While entered, watches the memory.events of a box with a memory limit, whose cgroup is about to be created (v2).

    counts: the last ones read, {} if there were none.
    """

    def __init__(self, cgroup: Callable[[], Paths], *, needed: bool) -> None:
        """cgroup: returns the cgroup's directories, {} until it exists. needed: whether the cgroup may vanish when the
        box ends; if not, nothing is watched."""
        self.counts: dict[str, int] = {}
        self._cgroup = cgroup
        self._over = threading.Event()
        self._wake = -1
        self._thread = threading.Thread(target=self._watch, daemon=True) if needed else None

    def __enter__(self) -> Watch:
        if self._thread is not None:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC)
            self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._thread is not None:
            self._over.set()
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            os.close(self._wake)

    def _watch(self) -> None:
        while True:
            over = self._over.is_set()  # read before looking: the last look must come after the end
            file = open_events(self._cgroup())
            if file >= 0:
                follow(file, self._wake, self.counts)
                return
            if over:
                return
            self._over.wait(APPEARS)


def open_events(paths: Paths) -> int:
    """A descriptor of memory.events; -1 if there is none."""
    top, v1 = place_of(paths, "memory")
    try:
        return -1 if v1 else os.open(top / "memory.events", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def follow(file: int, end: int, counts: dict[str, int]) -> None:
    """Keep counts up to date with memory.events, until the file is gone or `end`, a descriptor, is readable. Reads the
    file after each event (POLLPRI, cgroup-v2.rst), and closes it."""
    poll = select.poll()
    poll.register(file, select.POLLPRI)
    poll.register(end, select.POLLIN)
    looks, woken = 0, set[int]()
    try:
        while True:
            counts.update(numbers_in(os.pread(file, 4096, 0)))
            if end in woken:
                return
            woken = {fd for fd, _ in poll.poll(PAUSE if looks else None)}
            looks = LOOKS if file in woken else max(looks - 1, 0)
    except OSError:
        return  # ENODEV: the cgroup has been removed
    finally:
        os.close(file)


def begin(words: Sequence[str]) -> None:
    """Start the process that watches a box in the background. words: `ocipy box _watch ID`. Raises Error."""
    null = subprocess.DEVNULL
    what = "cannot watch the memory of the box"
    if tools.begin(words, what, start_new_session=True, stdout=null, stderr=null).wait() != 0:
        raise Error(what, hint="run it without -d")


def stay(paths: Paths, pid: int, directory: Directory) -> None:
    """Fork a process that watches until the process `pid` has ended, and then writes the counts.

    It holds a lock until then: see counts_of. Only a single-threaded process may call this. Raises OSError.
    """
    import prctl

    file, end = open_events(paths), os.pidfd_open(pid)
    if file < 0:
        raise FileNotFoundError("memory.events")
    with locked(directory.watch_lock):
        if os.fork():
            return
        with open(directory.watch_file, "w", encoding="ascii") as result:
            os.chdir("/")
            with suppress(OSError):
                os.nice(URGENT)  # systemd removes the cgroup as soon as it can
            # It lives as long as the box, and needs nothing but its open descriptors.
            prctl.set_name(NAME)
            prctl.set_no_new_privs(1)
            for capabilities in (prctl.cap_inheritable, prctl.cap_effective, prctl.cap_permitted):
                capabilities.limit()
            counts: dict[str, int] = {}
            follow(file, end, counts)
            result.writelines(f"{name} {count}\n" for name, count in counts.items())
        os._exit(0)


def counts_of(directory: Directory) -> dict[str, int]:
    """The counts that the watching process wrote; waits for it. {} if there was none. The box must have ended."""
    if not directory.watch_lock.exists():
        return {}
    with locked(directory.watch_lock):
        return numbers(directory.watch_file)


def forget(directory: Directory) -> None:
    """Remove what belongs to the last run. The container is gone, so the process that watched it ends."""
    directory.oom_file.unlink(missing_ok=True)
    if directory.watch_lock.exists():
        with locked(directory.watch_lock):
            directory.watch_file.unlink(missing_ok=True)
            directory.watch_lock.unlink()
