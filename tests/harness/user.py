"""The runtime as an unprivileged user calls it, and as root of that user's user namespace does (rootless podman)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.harness.host import wait_until
from tests.harness.runtime import Running, Runtime

# A user that no host has. Its ranges are in the files that the fixture subordinate_ids makes.
USER = 4242
FIRST_UID, FIRST_GID, RANGE = 200000, 300000, 65536
NAME = "ocipy-test"

TOP = Path(__file__).resolve().parents[2]
# In a mount namespace of its own: an empty directory over the closed one, and in it the place, where it was.
OPEN = """
closed=$1 place=$2; shift 2
exec 9< "$place"
mount -t tmpfs -o mode=755 none "$closed" && mkdir -p "$place" && mount -c --bind /proc/self/fd/9 "$place" || exit 99
exec 9<&-
exec "$@"
"""

# As above: a procfs of its own, which since Linux 5.8 has options of its own, in the same pid namespace.
HIDDEN = 'mount -t proc -o "hidepid=$1" proc /proc && shift && exec "$@" || exit 99'


def opened(path: Path) -> list[str]:
    """What to put before a user's call of a program that is below a closed directory: a checkout of root's in /root."""
    closed = next((directory for directory in reversed(path.parents) if not directory.stat().st_mode & 0o001), None)
    if closed is None:
        return []
    place = TOP if path.is_relative_to(TOP) else path.parent
    return ["unshare", "--mount", "sh", "-c", OPEN, "sh", str(closed), str(place)]


class UserRuntime(Runtime):
    """The runtime under test, called by USER where the tests run as root, else by whoever runs them.

    `inside`: what is put between, to call it from a user namespace.
    """

    def __init__(self, runtime: Runtime, home: Path) -> None:
        super().__init__(runtime.path, runtime.version, runtime.root, runtime.work)
        self.home = home
        self.uid, self.gid = (USER, USER) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        self.user: list[str] = []
        if os.geteuid() == 0:
            become = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"]
            self.user = [*opened(Path(runtime.path)), *become]
        self.inside: list[str] = []
        self.give(home)

    def hide(self, hidepid: int) -> None:
        """Call the runtime where /proc has this hidepid from now on: proc(5).

        Takes root, and Linux 5.8: before, it would be the host's /proc as well.
        """
        self.user = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", str(hidepid), *self.user]

    def begin(self, *args: str | Path, prefix: Sequence[str] = (), **options: Any) -> Running:
        options.setdefault("cwd", self.home)
        return super().begin(*args, prefix=[*self.user, *self.inside, *prefix], **options)

    def give(self, path: Path) -> None:
        """Let the user own a tree."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "-h", f"{self.uid}:{self.gid}", path], check=True)


class UserNamespace:
    """A user namespace of the user's, held by a process that sleeps; the runtime is called as its root."""

    def __init__(self, runtime: UserRuntime, *, range: bool, mounts: bool) -> None:
        """range: ids through newuidmap, else the user's own alone; mounts: with a mount namespace that is its own."""
        flags = ["--map-root-user", *(["--map-auto"] if range else []), *(["--mount"] if mounts else [])]
        self.runtime = runtime
        self.holder = runtime.spawn([*runtime.user, "unshare", *flags, "sleep", "1000"])
        comm = Path(f"/proc/{self.holder.pid}/comm")
        wait_until(lambda: comm.read_text() == "sleep\n", "the user namespace")
        enter = ["nsenter", "-t", str(self.holder.pid), "-U", *(["-m"] if mounts else []), "--preserve-credentials"]
        runtime.inside = [*enter, "--"]

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self.holder.pid

    def close(self) -> None:
        self.runtime.inside = []
        self.holder.process.kill()
        self.holder.process.wait()
