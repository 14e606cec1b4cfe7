"""Whether the host is unchanged: the programs that run there, /dev's nodes, mount options, names and sysctls.

tests/harness/private.py prevents most changes. This finds the others, and the test that made them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.harness.host import setns
from tests.harness.look import proc_mounts
from tests.harness.runtime import ENVIRONMENT

# Programs that the harness, the runtimes and their hooks execute on the host.
PROGRAMS = """
bash busybox cat chmod chown chroot criu crun dash env gcc ip ldd ls make mknod mount newgidmap newuidmap nft nsenter
perl ps python3 rm runc setpriv sh sleep stat strace systemctl systemd-run true umount unshare
""".split()

# Sysctls that tests or their containers set, which must change only in the container.
SYSCTLS = """
fs/mqueue/msg_max fs/mqueue/queues_max kernel/core_pattern kernel/domainname kernel/hostname kernel/msgmax kernel/msgmnb
kernel/msgmni kernel/sem kernel/shm_rmid_forced kernel/shmall kernel/shmmax kernel/shmmni kernel/sysrq
kernel/unprivileged_userns_clone kernel/yama/ptrace_scope net/ipv4/conf/lo/forwarding net/ipv4/ip_default_ttl
net/ipv4/ip_forward net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range user/max_user_namespaces
vm/memfd_noexec vm/overcommit_memory
""".split()

SYSCTL_NAMESPACES = ("uts", "ipc", "net")

HOSTS_DEV, OWN_DEV = "the host's /dev/", "/dev/"
Facts = dict[str, object]


class Node(NamedTuple):
    """An entry of /dev: `what` is a device number, or a symlink's target."""

    what: int | str
    mode: int
    uid: int
    gid: int


def programs(more: Iterable[str | Path] = ()) -> list[Path]:
    """The files of the PROGRAMS that this host has, of this Python, and of their shared libraries."""
    names = [shutil.which(name, path=ENVIRONMENT["PATH"]) for name in PROGRAMS]
    found = {Path(name).resolve() for name in (*names, sys.executable, *more) if name}
    linked = subprocess.run(["ldd", *found], check=False, capture_output=True).stdout
    words = {Path(os.fsdecode(word)) for word in linked.split() if word.startswith(b"/") and not word.endswith(b":")}
    return sorted(found | {path.resolve() for path in words if path.exists()})


def digests(paths: Iterable[Path]) -> Facts:
    """SHA-256 of each file."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None for path in paths}


def described(path: Path) -> tuple[int, ...] | None:
    """The properties that change with a file: inode, size, mtime, mode, owner."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns, about.st_mode, about.st_uid, about.st_gid


def nodes(directory: int | str) -> dict[str, Node]:
    """The devices and symlinks directly in a /dev, except terminals, whose owner a login changes."""
    found = {}
    with os.scandir(f"/proc/self/fd/{directory}" if isinstance(directory, int) else directory) as entries:
        for entry in entries:
            about = entry.stat(follow_symlinks=False)
            if entry.is_symlink():
                found[entry.name] = Node(os.readlink(entry.path), 0, about.st_uid, about.st_gid)
            elif not entry.is_dir() and not entry.name.startswith(("tty", "vcs", "pts")):
                found[entry.name] = Node(about.st_rdev, stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid)
    return found


def standing() -> Facts:
    """The options of each mount and its filesystem; the index of each network device."""
    found: Facts = {f"network device {name}": index for index, name in socket.if_nameindex()}
    for mount in proc_mounts():
        found[f"mount {mount.id} at {mount.point}"] = (mount.options, mount.super_options)
    return found


def sysctls(proc: int) -> dict[str, bytes]:
    """The SYSCTLS of this kernel."""
    found = {}
    for name in SYSCTLS:
        try:
            with open(os.open(f"sys/{name}", os.O_RDONLY, dir_fd=proc), "rb") as file:
                found[name] = file.read()
        except OSError:
            continue
    return found


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """A line for each name that has changed, appeared or gone."""
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return [f"{name}: {before.get(name)} → {after.get(name)}" for name in names]


class Untouched:
    """Remembers the host's state. Create it before the session enters its namespaces, and begin it inside.

    `quick` runs after every test, `thorough` at the end; each returns a line for each difference.
    """

    def __init__(self, more: Iterable[str | Path] = ()) -> None:
        """more: additional programs, such as the runtime under test."""
        self._dev, self._proc = (os.open(path, os.O_PATH | os.O_DIRECTORY) for path in ("/dev", "/proc"))
        self._namespaces = {kind: os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("mnt", *SYSCTL_NAMESPACES)}
        self.programs = programs(more)
        self._digests = digests(self.programs)
        self._sysctls = sysctls(self._proc)
        self._facts: Facts = {}
        self._standing: Facts = {}

    def close(self) -> None:
        """Close its file descriptors."""
        for fd in (self._dev, self._proc, *self._namespaces.values()):
            os.close(fd)

    def begin(self) -> None:
        """Record the state that must not change from now on."""
        self._facts = self._now()
        self._standing = standing()

    def quick(self) -> list[str]:
        """Check quickly: files' times and sizes, the nodes in the host's and the session's /dev, and the old mounts and
        network devices. New ones are the leak check's concern, or a neighbour's."""
        present = standing()
        present = {name: present[name] for name in self._standing if name in present}
        return differences(self._facts, self._now()) + differences(self._standing, present)

    def thorough(self) -> list[str]:
        """Check the same, and the programs' contents and sysctls. Leaves the caller in the host's uts, ipc and net
        namespaces."""
        for kind in SYSCTL_NAMESPACES:
            setns(self._namespaces[kind])
        changed = self.quick()
        changed += differences(self._digests, digests(self.programs))
        return changed + differences(self._sysctls, sysctls(self._proc))

    def restore(self) -> None:
        """Restore what is possible: owners and modes in both /dev, sysctls, and /proc's view of all processes."""
        own = os.open("/dev", os.O_PATH | os.O_DIRECTORY)
        for directory, prefix in ((self._dev, HOSTS_DEV), (own, OWN_DEV)):
            for name, now in nodes(directory).items():
                before = self._facts.get(prefix + name)
                if isinstance(before, Node) and before != now and before.what == now.what:
                    os.chown(name, before.uid, before.gid, dir_fd=directory, follow_symlinks=False)
                    if isinstance(before.what, int):
                        os.chmod(name, before.mode, dir_fd=directory)
        os.close(own)
        for name, value in sysctls(self._proc).items():
            if self._sysctls[name] != value:
                with open(os.open(f"sys/{name}", os.O_WRONLY, dir_fd=self._proc), "wb") as file:
                    file.write(self._sysctls[name])
        self._restore_proc()

    def _restore_proc(self) -> None:
        """Remount each /proc with a changed hidepid: the session's, and the host's in the host's mount namespace."""
        now = standing()
        if any(self._standing[name] != now.get(name) for name in self._standing if name.endswith(" at /proc")):
            remount = ["mount", "-o", "remount,hidepid=0", "/proc"]
            subprocess.run(remount, check=False)
            place = f"/proc/{os.getpid()}/fd/{self._namespaces['mnt']}"
            subprocess.run(["nsenter", f"--mount={place}", *remount], check=False)

    def _now(self) -> Facts:
        facts: Facts = {str(path): described(path) for path in self.programs}
        facts.update((HOSTS_DEV + name, node) for name, node in nodes(self._dev).items())
        facts.update((OWN_DEV + name, node) for name, node in nodes("/dev").items())
        return facts
