"""Namespaces for a test session, so that a test that attacks or fails cannot change the host.

The host's files are read-only except where tests write; /dev has new nodes, and /proc is a new instance. Hostname,
message queues and the sysctls of both namespaces are separate from the host's.
"""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.harness.host import CLONE_NEWIPC, CLONE_NEWNS, CLONE_NEWUTS, unshare
from tests.harness.look import proc_mounts

TOP = Path(__file__).resolve().parents[2]

# Where tests and runtimes write: their directories, the checkout (pytest's and Python's caches), default directories.
WRITABLE = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/run"), TOP)
# Where a runtime keeps files between runs; the session gets its own.
EMPTY = (Path("/var/cache"),)
# The kernel's filesystems, which contain neither host files nor programs.
KERNEL = (Path("/proc"), Path("/sys"), Path("/dev"))


def make_private(writable: Iterable[Path] = WRITABLE, empty: Iterable[Path] = EMPTY) -> None:
    """Move this process, which must be root, into such namespaces.

    writable: directories that stay as they are. empty: directories to cover with an empty one. Missing ones are
    ignored. Raises OSError, or CalledProcessError from mount(8).
    """
    unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC)
    _mount("--make-rprivate", "/")
    kept = {path.resolve() for path in writable if path.is_dir()}
    for path in sorted(kept):
        if not path.is_mount():
            _mount("--bind", path, path)
    for path in empty:
        if path.is_dir():
            _mount("-t", "tmpfs", "-o", "mode=755", "tests", path)
            kept.add(path)
    _make_read_only(kept)
    _make_dev()
    _make_proc()
    os.chdir(os.getcwd())  # leave the old mount, which is read-only now


def is_protected(path: Path) -> bool:
    """Whether a host file is on a read-only mount."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *words], check=True)


def _make_read_only(kept: set[Path]) -> None:
    """Remount everything read-only except the kernel's mounts and those in kept places. It changes the mount, not the
    filesystem, which the host shares: mount(2), MS_BIND and MS_REMOUNT."""
    for mount in proc_mounts():
        path = Path(mount.point)
        below = any(path.is_relative_to(other) for other in (*kept, *KERNEL))
        if not below and "ro" not in mount.options and mount.fstype != "autofs":
            _mount("-o", "remount,bind,ro", path)


def _make_dev() -> None:
    """Mount a /dev with nodes like the host's, whose names, owners and modes belong to the session."""
    stage = Path(tempfile.mkdtemp())
    _mount("-t", "tmpfs", "-o", "mode=755,size=1m", "dev", stage)
    _copy_dev(Path("/dev"), stage)
    _mount("--move", stage, "/dev")
    stage.rmdir()


def _copy_dev(source: Path, target: Path) -> None:
    for entry in sorted(source.iterdir()):
        about, copy = entry.lstat(), target / entry.name
        if stat.S_ISLNK(about.st_mode):
            copy.symlink_to(os.readlink(entry))
        elif entry.name in ("shm", "mqueue") and source == Path("/dev"):
            copy.mkdir()
            if entry.name == "shm":
                _mount("-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "tests", copy)
            else:  # without options: mount(8) of util-linux 2.39 and later fails with one
                _mount("-t", "mqueue", "-o", "nosuid,nodev", "tests", copy)
        elif stat.S_ISDIR(about.st_mode):
            copy.mkdir(mode=stat.S_IMODE(about.st_mode))
            if entry.is_mount():
                _mount("--bind", entry, copy)
            else:
                _copy_dev(entry, copy)
        elif stat.S_ISCHR(about.st_mode) or stat.S_ISBLK(about.st_mode):
            _copy_node(entry, about, copy)


def _copy_node(node: Path, about: os.stat_result, copy: Path) -> None:
    """Make a node by mknod(2) or, if that is not allowed, a read-only bind mount, which protects the host's node."""
    try:
        if node.is_mount():  # a container's console
            raise PermissionError
        os.mknod(copy, about.st_mode, about.st_rdev)
        os.chown(copy, about.st_uid, about.st_gid)
        copy.chmod(stat.S_IMODE(about.st_mode))
    except PermissionError:
        copy.touch()
        _mount("--bind", node, copy)
        _mount("-o", "remount,bind,ro", copy)


def _make_proc() -> None:
    """Mount a new procfs. Since Linux 5.8 each has its own options, so a remount with hidepid does not affect the
    host's.
    """
    host = [mount for mount in proc_mounts() if mount.point == "/proc"][-1]
    own = [option for option in host.super_options if option.startswith(("hidepid=", "gid=", "subset="))]
    flags = [option for option in host.options if option in ("nosuid", "nodev", "noexec")]
    _mount("-t", "proc", "-o", ",".join(["rw", *flags, *own]), "proc", "/proc")
