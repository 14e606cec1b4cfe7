"""Calls the runtime as an unprivileged user, or as root of that user's user namespace (rootless podman)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.harness.host import wait_until
from tests.harness.runtime import Running, Runtime

# A user that no host has. The fixture subordinate_ids makes the files with its ranges.
USER = 4242
FIRST_UID, FIRST_GID, RANGE = 200000, 300000, 65536
NAME = "ocipy-test"

TOP = Path(__file__).resolve().parents[2]
# In a new mount namespace: cover the closed directory with an empty one, and mount the place there again.
OPEN = """
closed=$1 place=$2; shift 2
exec 9< "$place"
mount -t tmpfs -o mode=755 none "$closed" && mkdir -p "$place" && mount -c --bind /proc/self/fd/9 "$place" || exit 99
exec 9<&-
exec "$@"
"""

# In a new mount namespace: a new procfs of the same pid namespace, which since Linux 5.8 has separate options.
HIDDEN = 'mount -t proc -o "hidepid=$1" proc /proc && shift && exec "$@" || exit 99'


def opened(path: Path) -> list[str]:
    """The prefix with which a user can call a program below a closed directory, such as root's checkout in /root."""
    closed = next((directory for directory in reversed(path.parents) if not directory.stat().st_mode & 0o001), None)
    if closed is None:
        return []
    place = TOP if path.is_relative_to(TOP) else path.parent
    return ["unshare", "--mount", "sh", "-c", OPEN, "sh", str(closed), str(place)]


class UserRuntime(Runtime):
    """The runtime under test, called by USER if the tests run as root, otherwise by the current user.

    `inside`: the words in front of it, to call it from a user namespace.
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
        """From now on, call the runtime where /proc has this hidepid: proc(5).

        Needs root and Linux 5.8: before, it would also change the host's /proc.
        """
        self.user = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", str(hidepid), *self.user]

    def begin(self, *args: str | Path, prefix: Sequence[str] = (), **options: Any) -> Running:
        options.setdefault("cwd", self.home)
        return super().begin(*args, prefix=[*self.user, *self.inside, *prefix], **options)

    def give(self, path: Path) -> None:
        """Give a tree to the user."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "-h", f"{self.uid}:{self.gid}", path], check=True)


class UserNamespace:
    """The user's user namespace, held by a sleeping process; its root calls the runtime."""

    def __init__(self, runtime: UserRuntime, *, range: bool, mounts: bool) -> None:
        """range: map ids with newuidmap, not only the user's own id. mounts: make a mount namespace that it owns."""
        flags = ["--map-root-user", *(["--map-auto"] if range else []), *(["--mount"] if mounts else [])]
        self.runtime = runtime
        self.holder = runtime.spawn([*runtime.user, "unshare", *flags, "sleep", "1000"])
        comm = Path(f"/proc/{self.holder.pid}/comm")
        wait_until(lambda: comm.read_text() == "sleep\n", "the user namespace")
        enter = ["nsenter", "-t", str(self.holder.pid), "-U", *(["-m"] if mounts else []), "--preserve-credentials"]
        runtime.inside = [*enter, "--"]

    @property
    def pid(self) -> int:
        """The process that holds the namespace."""
        return self.holder.pid

    def close(self) -> None:
        self.runtime.inside = []
        self.holder.process.kill()
        self.holder.process.wait()
