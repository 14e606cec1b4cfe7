"""Watch whether the kernel kills a process of a box because memory has run out.

systemd removes a scope's cgroup, and with it the count, as soon as the last process has ended. So it is too late to
read the count after the box's end.
"""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

from ocipy.box.cgroup import directories, numbers_in

APPEARS = 0.005  # seconds between two looks for a cgroup that does not exist yet
# The kernel reports a further event after 10 ms at the earliest (CGROUP_FILE_NOTIFY_MIN_INTV), when the cgroup may be
# gone. So after an event the file is read LOOKS times, every PRESSED milliseconds.
PRESSED, LOOKS = 1, 30


class Watch:
    """While entered, watches the memory.events of a box with a memory limit, whose cgroup is about to be created (v2).

    kills: how many processes the kernel has killed.
    """

    def __init__(self, box_id: str, *, needed: bool) -> None:
        """needed: the cgroup may vanish with the box's end. If False, nothing is watched."""
        self.kills = 0
        self._box_id = box_id
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
            over = self._over.is_set()  # before the look, so that the last look comes after the end
            path = directories(self._box_id).get("")
            if path is not None and (path / "memory.events").exists():
                self._follow(path / "memory.events")
                return
            if over:
                return
            self._over.wait(APPEARS)

    def _follow(self, path: Path) -> None:
        """Read the count after each event (POLLPRI, cgroup-v2.rst), until the file is gone or the box has ended."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            poll = select.poll()
            poll.register(file, select.POLLPRI)
            poll.register(self._wake, select.POLLIN)
            looks = 0
            while True:
                over = self._over.is_set()
                counts = numbers_in(os.pread(file, 4096, 0))
                self.kills = max(self.kills, counts.get("oom_kill", 0))
                if over or self.kills:
                    return
                woken = poll.poll(PRESSED if looks else None)
                looks = LOOKS if any(fd == file for fd, _ in woken) else max(looks - 1, 0)
        except OSError:
            return  # ENODEV: the cgroup has been removed
        finally:
            os.close(file)
