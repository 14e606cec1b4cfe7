"""Which cgroup hierarchies the host has, and where we are in them: from /proc/self/cgroup and a stat(2) per hierarchy.

/proc/self/mountinfo, which can have thousands of lines, is read only if a hierarchy is not at its usual place, or if
its mount does not show the root that the paths in /proc/self/cgroup start from.
"""

from __future__ import annotations

import posix
from errno import ENOENT

from ocipy.cgroups import files
from ocipy.linux import _kernel
from ocipy.linux.constants import CGROUP2_SUPER_MAGIC
from ocipy.linux.text import lines_of, words_of

ROOT = "/sys/fs/cgroup"
# kernfs gives a hierarchy's root the inode 1. A mount with another root shows only part of the hierarchy.
ROOT_INODE = 1


class Layout:
    """The hierarchies of this host.

    mode: "v1", "hybrid" (v1 hierarchies and a v2 one) or "v2".
    mounts: the mount point of each v1 hierarchy, by its name in /proc/self/cgroup ("cpu,cpuacct", "name=systemd").
    unified: the mount point of the v2 hierarchy; "" if there is none.
    tops: all these mount points, v1's first. The key for v2 is "".
    own: our own cgroup in each hierarchy, as a path below the mount point; "/" at the top. The key for v2 is "".
    """

    __slots__ = ("_unified_controllers", "mode", "mounts", "own", "tops", "unified")

    def __init__(self, mounts: dict[str, str], unified: str, own: dict[str, str]) -> None:
        self.mounts = mounts
        self.unified = unified
        self.tops = {**mounts, "": unified} if unified else mounts
        self.own = own
        if not unified:
            self.mode = "v1"
        else:
            self.mode = "hybrid" if mounts else "v2"
        self._unified_controllers: tuple[str, ...] | None = None

    @property
    def unified_controllers(self) -> tuple[str, ...]:
        """Return the controllers at the top of the v2 hierarchy. Raises OSError."""
        if self._unified_controllers is None:
            self._unified_controllers = ()
            if self.unified:
                self._unified_controllers = tuple(words_of(files.read(self.unified + "/cgroup.controllers")))
        return self._unified_controllers

    @property
    def controllers(self) -> tuple[str, ...]:
        """For plan.model.Host: names of v1 hierarchies; v2 controllers, on a hybrid host as "unified:NAME"."""
        if self.mode == "v2":
            return self.unified_controllers
        return (*self.mounts, *("unified:" + name for name in self.unified_controllers))

    def directory(self, hierarchy: str, path: str) -> str:
        """Return a cgroup's directory, given its path below the mount point."""
        return self.tops[hierarchy] + (path if path != "/" else "")


def parse_own(text: str) -> dict[str, str]:
    """Parse /proc/PID/cgroup (cgroups(7)): paths by hierarchy name, "" for v2."""
    own = {}
    for line in lines_of(text):
        parts = line.split(":", 2)
        if len(parts) == 3:
            own[parts[1]] = parts[2]
    return own


def parse_mounts(text: str) -> list[tuple[str, str, str, frozenset[str]]]:
    """Return the cgroup mounts in /proc/PID/mountinfo (proc(5)): (mount point, root, type, superblock options)."""
    found = []
    for line in lines_of(text):
        if " - cgroup" not in line:
            continue
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        kind = right.split(" ")
        if len(fields) >= 5 and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2"):
            found.append((_unescape(fields[4]), _unescape(fields[3]), kind[0], frozenset(kind[2].split(","))))
    return found


def _unescape(text: str) -> str:
    """Undo the octal escapes in mountinfo."""
    if "\\" not in text:
        return text
    for character, escape in ((" ", "\\040"), ("\t", "\\011"), ("\n", "\\012"), ("\\", "\\134")):
        text = text.replace(escape, character)
    return text


def relative(path: str, root: str) -> str:
    """Return a path in /proc/self/cgroup relative to a mount with this root; "/" if the mount does not show it."""
    if root in ("/", ""):
        return path
    if path == root:
        return "/"
    if path.startswith(root + "/"):
        return path[len(root) :]
    return "/"


_known: Layout | None = None


def probe() -> Layout:
    """Find the host's hierarchies, once per process. Raises OSError."""
    global _known
    if _known is None:
        _known = _probe()
    return _known


def _probe() -> Layout:
    own = parse_own(files.read("/proc/self/cgroup"))
    try:
        fd = posix.open(ROOT, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return from_mountinfo(own, files.read("/proc/self/mountinfo"))
    try:
        magic = _kernel.fstatfs(fd)[0]
        status = posix.stat(fd)
    finally:
        posix.close(fd)
    if magic == CGROUP2_SUPER_MAGIC:
        path = own.get("", "/")
        if path == "/" or status.st_ino == ROOT_INODE:
            return Layout({}, ROOT, {"": path})
        return from_mountinfo(own, files.read("/proc/self/mountinfo"))
    layout = _at_usual_places(own, status.st_dev)
    if layout is None:
        layout = from_mountinfo(own, files.read("/proc/self/mountinfo"))
    return layout


def _at_usual_places(own: dict[str, str], tree: int) -> Layout | None:
    """Return the layout if v1 is mounted as usual; None if anything differs.

    tree: the device number of the filesystem with the mount points."""
    mounts = {}
    unified = ""
    for name, path in own.items():
        place = ROOT + "/" + (name.removeprefix("name=") or "unified")
        try:
            status = posix.stat(place)
        except OSError as error:
            if name == "" and error.errno == ENOENT:
                continue
            return None
        if status.st_dev == tree:
            if name == "":
                continue
            return None
        if path != "/" and status.st_ino != ROOT_INODE:
            return None
        if name:
            mounts[name] = place
        else:
            unified = place
    return Layout(mounts, unified, own) if mounts else None


def from_mountinfo(own: dict[str, str], text: str) -> Layout:
    """Return the layout according to /proc/self/mountinfo. Without a cgroup mount, it is "v1" without hierarchies."""
    mounts: dict[str, str] = {}
    unified = ""
    paths: dict[str, str] = {}
    for point, root, kind, options in parse_mounts(text):
        if kind == "cgroup2":
            # Prefer the usual place to another mount that somebody made elsewhere.
            if "" in own and (not unified or point.startswith(ROOT)):
                unified = point
                paths[""] = relative(own[""], root)
            continue
        for name, path in own.items():
            wanted = name.split(",")
            if name and name not in mounts and all(word in options for word in wanted):
                mounts[name] = point
                paths[name] = relative(path, root)
    return Layout(mounts, unified, paths)
