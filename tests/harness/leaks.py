"""What a test must not leave behind: cgroups, mounts, processes, state, file descriptors."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from tests.harness.cgroups import cgroup_dirs, remove_cgroups
from tests.harness.host import scaled, umount
from tests.harness.look import descendants, open_files, proc_mounts, process_state
from tests.harness.runtime import Runtime
from tests.harness.text import read, shown

# Where runtimes keep state without --root.
DEFAULT_ROOTS = (Path("/run/ocipy"), Path("/run/runc"), Path("/run/crun"))


def reap() -> bool:
    """Reap every child that has died; we inherit the runtime's orphans (host.become_subreaper). Returns whether any
    child is still alive."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True


class Leaks:
    """A snapshot before a test; `found` compares, `clean` removes leftovers to protect the next test.

    Others may use the machine, so this looks for processes among our descendants, for mounts in our mount namespace,
    and for cgroups and state by the session's token, which is part of every id and cgroup path in the tests.
    """

    def __init__(self, token: str, parents: set[str], mountpoints: set[str] | None = None) -> None:
        """`parents`: names of cgroup directories that may stay until the session ends; `mountpoints`: where mounts may
        come and go."""
        self.token = token
        self.mountpoints = mountpoints or set()
        self.parents = parents
        self.fds = open_files()
        self.processes = descendants()
        self.mounts = {(mount.id, mount.point) for mount in proc_mounts()}

    def _processes(self) -> set[int]:
        return {pid for pid in descendants() - self.processes if process_state(pid) not in ("Z", "X", "")}

    def _mounts(self) -> list[str]:
        return [
            mount.point
            for mount in proc_mounts()
            if (mount.id, mount.point) not in self.mounts and mount.point not in self.mountpoints
        ]

    def _cgroups(self) -> list[Path]:
        return [path for path in cgroup_dirs(self.token) if path.name not in self.parents]

    def _fds(self) -> dict[int, str]:
        # A file descriptor that pytest's capturing reopened keeps its number; a new number is a leak.
        return {fd: target for fd, target in open_files().items() if fd not in self.fds}

    def _default_state(self) -> list[Path]:
        found = []
        for root in DEFAULT_ROOTS:
            if os.access(root, os.R_OK | os.X_OK):
                found += [entry for entry in root.iterdir() if self.token in entry.name]
        return found

    def _all(self, runtimes: list[Runtime]) -> list[str]:
        found = [f"container {id} in {runtime.root}" for runtime in runtimes for id in runtime.ids()]
        found += [f"state {path}" for path in self._default_state()]
        found += [f"process {_describe(pid)}" for pid in sorted(self._processes())]
        found += [f"cgroup {path}" for path in self._cgroups()]
        found += [f"mount {point}" for point in self._mounts()]
        found += [f"descriptor {fd} → {target}" for fd, target in self._fds().items()]
        return [shown(line) for line in found]

    def found(self, runtimes: list[Runtime], patience: float = 1.5) -> list[str]:
        """What is new since the snapshot, after waiting up to `patience` seconds (scaled) for processes to end."""
        deadline = time.monotonic() + scaled(patience)
        while True:
            reap()
            left = self._all(runtimes)
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.02)

    def clean(self, runtimes: list[Runtime]) -> None:
        """Remove everything new, with the runtime if possible, otherwise by hand."""
        for runtime in runtimes:
            for id in runtime.ids():
                try:
                    runtime.delete(id, force=True, timeout=15)
                except (AssertionError, OSError):  # also a runtime that cannot be executed any more
                    continue
        for _ in range(50):
            left = self._processes()
            if not left:
                break
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            reap()
            time.sleep(0.02)
        for point in reversed(self._mounts()):
            umount(point)
        remove_cgroups(self.token, self.parents)
        for fd in self._fds():
            os.close(fd)


def _describe(pid: int) -> str:
    try:
        command = read(f"/proc/{pid}/cmdline").replace("\0", " ")
        return f"{pid} ({os.readlink(f'/proc/{pid}/exe')}): {command}"
    except OSError as error:
        return f"{pid}: {error}"
