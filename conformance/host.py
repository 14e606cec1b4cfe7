"""What a run changes on the host, and how that is restored: the hugetlb mount, processes, mounts, cgroups."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import prctl

CGROUP_ROOT = Path("/sys/fs/cgroup")
HUGETLB = CGROUP_ROOT / "hugetlb"
LOCK = Path("/run/lock/ocipy-conformance.lock")
# The suite names its containers with random UUIDs, and its cgroups after them or as in its cgroups/cgroups.go.
_SUITE_CGROUP = re.compile(r"cgrouptest|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def become_subreaper() -> None:
    """Adopt our orphaned descendants (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    prctl.set_child_subreaper(True)


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Make a second run on this host wait, because both would use the same cgroups."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def mounts() -> list[tuple[str, str, str]]:
    """(mount point, filesystem type, super options) of each mount, in the kernel's order (proc_pid_mountinfo(5))."""
    found = []
    for line in os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).rstrip("\n").split("\n"):
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), before.split(" ")[4])
        kind, _, options = after.split(" ", 2)
        found.append((point, kind, options))
    return found


@contextlib.contextmanager
def hugetlb_mounted() -> Iterator[bool]:
    """Mount a v1 hugetlb hierarchy on a hybrid host without one. Yields whether it did.

    The suite knows only v1 hierarchies, and crun refuses a hybrid host with a controller on the unified tree.
    """
    v1 = any(kind == "cgroup" and "name=" not in options for _, kind, options in mounts())
    known = any(line.split()[0] == "hugetlb" for line in Path("/proc/cgroups").read_text().splitlines())
    taken = any(kind == "cgroup" and "hugetlb" in options.split(",") for _, kind, options in mounts())
    if not v1 or not known or taken:
        yield False
        return
    made = not HUGETLB.exists()
    HUGETLB.mkdir(exist_ok=True)
    try:
        with _free_of_unified():
            _patiently(_mount_hugetlb)
            try:
                yield True
            finally:
                try:
                    # After thousands of containers the last dying cgroup takes a minute to go. Without a mount,
                    # containerd would not find the files of a hierarchy that remains.
                    _patiently(_unmount_hugetlb, patience=180)
                except OSError as error:
                    # Other containers or mount namespaces hold it; the measurements are valid all the same.
                    gone = subprocess.run(["umount", str(HUGETLB)], capture_output=True, check=False).returncode == 0
                    made = made and gone
                    print(f"warning: {error}{'' if gone else '; it stays mounted'}", file=sys.stderr)
    finally:
        if made:
            with contextlib.suppress(OSError):  # a runtime may have made folders there while nothing was mounted
                HUGETLB.rmdir()


@contextlib.contextmanager
def _free_of_unified() -> Iterator[None]:
    """Disable the controller in the unified tree if a runtime enabled it for children; enable it again afterwards."""
    controls = [Path(point, "cgroup.subtree_control") for point, kind, _ in mounts() if kind == "cgroup2"]
    enabled = [control for control in controls if "hugetlb" in control.read_text().split()]
    for control in enabled:
        # EBUSY as long as a cgroup below enables it for its children (cgroups(7)): another run's, which will end.
        _patiently(functools.partial(control.write_text, "-hugetlb"), patience=60)
    try:
        yield
    finally:
        for control in enabled:
            with contextlib.suppress(FileNotFoundError):  # the controller has not come back: see above
                _patiently(functools.partial(control.write_text, "+hugetlb"))


def _mount_hugetlb() -> None:
    command = ["mount", "-t", "cgroup", "-o", "hugetlb", "cgroup", str(HUGETLB)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"cannot mount a hugetlb hierarchy: {done.stderr.strip()}")


def _unmount_hugetlb() -> None:
    """Unmount it. Raises OSError if the hierarchy remains, after mounting it again for another attempt: one with
    children, even dying ones, outlives its mount, and keeps the controller from the unified tree.

    A zombie keeps its cgroup, even a removed one, until it is reaped; as a subreaper we have those of conmon and the
    shims.
    """
    reap()
    remove_cgroups([path for path in _folders(HUGETLB) if path != str(HUGETLB)])
    done = subprocess.run(["umount", str(HUGETLB)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"cannot unmount {HUGETLB}: {done.stderr.strip()}")
    time.sleep(0.1)
    if any(line.split()[:2] == ["hugetlb", "0"] for line in Path("/proc/cgroups").read_text().splitlines()):
        return
    _mount_hugetlb()
    raise OSError(f"the hierarchy of {HUGETLB} is still in use")


def _patiently(action: Callable[[], object], patience: float = 10.0) -> None:
    """Wait: the kernel moves a controller only after it has destroyed its old cgroups and hierarchy."""
    deadline = time.monotonic() + patience
    while True:
        try:
            action()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _folders(top: Path) -> Iterator[str]:
    for folder, _, _ in os.walk(top):
        yield folder


def cgroups() -> set[str]:
    """The folder of each cgroup in each mounted hierarchy."""
    return {path for point, kind, _ in mounts() if kind in ("cgroup", "cgroup2") for path in _folders(Path(point))}


def remove_cgroups(paths: list[str]) -> list[str]:
    """Remove these cgroups, children first. Return those that could not be removed."""
    left = []
    for path in sorted(paths, key=len, reverse=True):
        with contextlib.suppress(OSError):
            Path(path, "freezer.state").write_text("THAWED")
        for _ in range(50):  # a cgroup stays busy until its last process is reaped
            try:
                Path(path).rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                time.sleep(0.02)
                continue
            break
        else:
            left.append(path)
    return left


def new_cgroups_of_suite(before: set[str]) -> list[str]:
    """Cgroups with one of the suite's names that appeared after `before`; others belong to other work on the host."""

    def ours(path: str) -> bool:
        return any(_SUITE_CGROUP.search(part) for part in path.split("/")) or path.endswith("/testdir")

    return sorted(path for path in cgroups() - before if ours(path))


def descendants() -> list[int]:
    """The ids of all processes below this one, zombies included."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        parent = int(stat.rpartition(")")[2].split()[1])
        parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    queue = [os.getpid()]
    while queue:
        children = parents.get(queue.pop(), [])
        found += children
        queue += children
    return found


def reap() -> None:
    """Reap every child that has ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_descendants(limit: float = 10.0) -> list[str]:
    """Kill our remaining descendants. Return their names. Gives up after `limit` seconds."""
    reap()
    names = []
    deadline = time.monotonic() + limit
    while (alive := descendants()) and time.monotonic() < deadline:
        for pid in alive:
            with contextlib.suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    name = Path(f"/proc/{pid}/comm").read_text().strip()
                    names.append(f"{name} ({pid})")
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
        reap()
    return sorted(set(names))


def unmount_below(folder: Path) -> list[str]:
    """Unmount everything below `folder`, newest first. Return the mount points."""
    prefix = f"{folder}/"
    points = [point for point, _, _ in mounts() if point.startswith(prefix)]
    for point in reversed(points):
        subprocess.run(["umount", "--lazy", point], capture_output=True)
    return points
