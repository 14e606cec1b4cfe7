"""Make a container's cgroup in every hierarchy."""

from __future__ import annotations

import posix
from errno import EACCES, EPERM, EROFS

from ocipy.cgroups import files, freezer
from ocipy.cgroups.cgroup import Cgroup
from ocipy.cgroups.paths import container_path
from ocipy.errors import Error, caused_by
from ocipy.linux.text import words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ocipy.cgroups.layout import Layout

NOT_PERMITTED = (EPERM, EACCES, EROFS)
# A new cgroup is a domain if one of these is enabled in its parent: they cannot be in a threaded one (cgroups(7)).
DOMAIN_CONTROLLERS = ("memory", "io", "hugetlb")
DELEGATE = "/sys/kernel/cgroup/delegate"
# The specification's list, for a kernel that does not report one (config-linux.md, Cgroup ownership).
DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")


def locate(layout: Layout, wanted: str, container_id: str) -> Cgroup:
    """Return the container's future cgroup; `created` has the directories that are missing now. Makes nothing.

    wanted: linux.cgroupsPath or "". The state file can record the result, so that delete can clean up after a create
    that was killed half-way.
    """
    paths: dict[str, str] = {}
    created: list[str] = []
    located: dict[str, str] = {}  # by our own cgroup, which is often the same in all hierarchies
    for name, top in layout.tops.items():
        own = layout.own[name]
        if own not in located:
            located[own] = container_path(wanted, container_id, own, layout.mode)
        paths[name] = path = layout.directory(name, located[own])
        created += files.missing(path, top)
    return Cgroup(layout.mode, paths, created)


def make_cgroup(
    cgroup: Cgroup,
    layout: Layout,
    *,
    tolerant: bool = False,
    enable: Iterable[str] = (),
    domain: bool = True,
    cpuset: bool = True,
    frozen: bool = True,
) -> None:
    """Make the cgroup that `locate` found. Raises Error, OSError; cgroup.created lists what was made.

    tolerant: skip a hierarchy in which we have no permission to make one (rootless without a cgroupsPath).
    enable: the v2 controllers that are needed on a hybrid host. On a v2 host all available ones are enabled.
    domain: whether limits are set that a threaded cgroup cannot have (memory, I/O, CPU, hugetlb).
    cpuset: fill a v1 cpuset. Otherwise the caller must do so (fill_cpuset) before any process joins it.
    frozen: refuse a frozen cgroup. Otherwise the caller must do so (refuse_frozen).
    """
    planned = cgroup.created
    cgroup.created = []
    # A copy, since refused hierarchies are removed from `paths`.
    for name, path in list(cgroup.paths.items()):
        top = layout.tops[name]
        try:
            cgroup.created += files.make_directory(path, top)
        except OSError as error:
            if tolerant and error.errno in NOT_PERMITTED:
                del cgroup.paths[name]
                continue
            cgroup.created += [path for path in planned if path not in cgroup.created and files.is_present(path)]
            hint = dict.fromkeys(NOT_PERMITTED, "without root, the runtime needs a delegated cgroup")
            raise caused_by(error, f"cannot make the cgroup {path}", hint=hint) from None
        if cpuset and "cpuset" in name.split(","):
            fill_cpuset(path, top)
        if not name:
            on = enable_controllers(path, top, layout.unified_controllers if layout.mode == "v2" else tuple(enable))
            is_domain = path in cgroup.created and any(name in on for name in DOMAIN_CONTROLLERS)
            if layout.mode == "v2" and path != top and not is_domain:
                _check_type(path, domain)
    _check_empty(cgroup)
    if frozen:
        refuse_frozen(cgroup)


def complete(cgroup: Cgroup, layout: Layout) -> None:
    """Make the parts of a unit's cgroup that systemd has not made: it does not know every hierarchy and controller.

    Raises OSError.
    """
    for name, path in cgroup.paths.items():
        top = layout.tops[name]
        files.make_directory(path, top)
        if "cpuset" in name.split(","):
            fill_cpuset(path, top)
        if layout.mode == "v2":
            enable_controllers(path, top, layout.unified_controllers)


def fill_cpuset(path: str, top: str) -> None:
    """Copy the CPUs and memory nodes of the parent into an empty v1 cpuset, ancestors first. Raises OSError.

    No task can join an empty one.
    """
    for file in ("/cpuset.cpus", "/cpuset.mems"):
        empty: list[str] = []
        above = path
        while above != top and not (value := files.read(above + file).strip()):
            empty.append(above)
            above = files.parent_of(above)
        if empty and above == top:
            value = files.read(top + file).strip()
        for directory in reversed(empty):
            files.write(directory + file, value)


def enable_controllers(path: str, top: str, wanted: tuple[str, ...]) -> list[str]:
    """Enable controllers for a v2 cgroup in all cgroups above it (cgroup.subtree_control). Returns those that were
    enabled in its parent before, if it had to look. Raises OSError.

    Enabled ones are not written again, since enabling waits for every process there. Refused ones (in use elsewhere,
    not delegated, realtime tasks) are skipped: the write that needs the controller reports it.
    """
    if not wanted:
        return []
    before: list[str] | None = None
    lacking: list[tuple[str, list[str]]] = []
    while path != top:
        path = files.parent_of(path)
        on = words_of(files.read(path + "/cgroup.subtree_control"))
        before = on if before is None else before
        if all(name in on for name in wanted):
            break
        lacking.append((path, on))
    for directory, on in reversed(lacking):
        there = words_of(files.read(directory + "/cgroup.controllers"))
        missing = [name for name in wanted if name not in on and name in there]
        if missing:
            _enable(directory, missing)
    return before or []


def _enable(directory: str, names: list[str]) -> None:
    """Enable all controllers at once, or else one by one, skipping refused ones."""
    try:
        files.write(directory + "/cgroup.subtree_control", " ".join("+" + name for name in names))
    except OSError:
        for name in names:
            try:
                files.write(directory + "/cgroup.subtree_control", "+" + name)
            except OSError:
                pass


def _check_type(path: str, domain: bool) -> None:
    """Make a cgroup below a threaded one threaded too: otherwise it is invalid (cgroups(7), Thread mode)."""
    kind = files.read(path + "/cgroup.type").strip()
    if kind in ("domain", "domain threaded"):
        return
    if domain:
        raise Error(
            f"the cgroup {path} is {kind}: it cannot limit memory, CPU time or I/O",
            hint="it is below a threaded cgroup; choose another cgroupsPath",
        )
    if kind == "domain invalid":
        files.write(path + "/cgroup.type", "threaded")


def _check_empty(cgroup: Cgroup) -> None:
    """Refuse a cgroup with processes (config-linux.md, Control groups)."""
    for path in cgroup.paths.values():
        if path in cgroup.created:
            continue
        count = len(files.processes(path))
        if count:
            raise Error(
                f"container's cgroup is not empty: {count} process(es) found",
                hint=f"they are in {path}; another container may use it",
            )


def refuse_frozen(cgroup: Cgroup) -> None:
    """Refuse a cgroup in which a process would hang (config-linux.md, Control groups). Raises Error, OSError."""
    if freezer.blocks_newcomers(cgroup.paths):
        raise Error("container's cgroup unexpectedly frozen", hint="it or a cgroup above it is frozen: thaw that first")


def delegate(cgroup: Cgroup, uid: int) -> None:
    """Delegate the v2 cgroup to a user: the directory, and the files that the kernel says are safe. Raises OSError."""
    path = cgroup.path_of("")
    if not path:
        return
    try:
        delegated: Iterable[str] = words_of(files.read(DELEGATE))
    except OSError:
        delegated = DELEGATED
    posix.chown(path, uid, -1)
    for file in delegated:
        try:
            posix.chown(path + "/" + file, uid, -1)
        except FileNotFoundError:
            pass
