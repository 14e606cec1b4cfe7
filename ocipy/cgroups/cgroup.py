"""One container's cgroup: plain data, which is saved in the state file, and the operations on it."""

from __future__ import annotations

import posix
from errno import EACCES, EBUSY, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, ERANGE

from ocipy.cgroups import files, freezer
from ocipy.errors import Error, caused_by, in_bytes
from ocipy.linux.text import lines_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import Any

LARGEST_PAGE = 65536


class Cgroup:
    """A container's cgroup in every hierarchy.

    mode: "v1", "hybrid" or "v2".
    paths: the directory in each hierarchy, by the name of the v1 hierarchy ("cpu,cpuacct", "name=systemd"), or "" for
    v2. A hierarchy in which it could not be made (rootless) is missing.
    created: the directories that create made, the topmost first. The others existed before and stay.
    systemd: the unit that the cgroup belongs to (host/systemd.py), or None.
    """

    __slots__ = ("_deferred", "created", "mode", "paths", "systemd")

    def __init__(
        self, mode: str, paths: dict[str, str], created: list[str], systemd: dict[str, Any] | None = None
    ) -> None:
        self.mode = mode
        self.paths = paths
        self.created = created
        self.systemd = systemd
        self._deferred: list[tuple[str, str, str]] = []

    def to_state(self) -> dict[str, Any]:
        """Return the cgroup as plain data."""
        state: dict[str, Any] = {"mode": self.mode, "paths": self.paths, "created": self.created}
        if self.systemd is not None:
            state["systemd"] = self.systemd
        return state

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Cgroup:
        """Make a Cgroup from the result of to_state. Touches no files."""
        return cls(state["mode"], state["paths"], state["created"], state.get("systemd"))

    def path_of(self, controller: str) -> str:
        """Return the directory in the hierarchy of a v1 controller, or of v2 for ""; "" if there is none."""
        return files.path_of(self.paths, controller)

    # Members

    def directory_fd(self) -> int:
        """Return a descriptor of the v2 directory, for CLONE_INTO_CGROUP (clone(2)); -1 without v2. Raises OSError."""
        path = self.paths.get("")
        return posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC) if path else -1

    def open_tasks(self) -> dict[str, int]:
        """Open `tasks` for writing in each v1 hierarchy. Returns descriptors by the hierarchies' names. Raises OSError.

        A single-threaded process that writes "0" there moves itself. For that, the kernel needs neither the lock on all
        forks nor its grace period, which a write of a pid to cgroup.procs waits for: 10 ms and more.
        """
        fds: dict[str, int] = {}
        try:
            for name, path in self.paths.items():
                if name:
                    fds[name] = posix.open(path + "/tasks", posix.O_WRONLY | posix.O_CLOEXEC)
        except OSError:
            for fd in fds.values():
                posix.close(fd)
            raise
        return fds

    def join(self, pid: int, *, only_unified: bool = False, skip: Container[str] = ()) -> None:
        """Move a process into the cgroup in every hierarchy except those in `skip`, or in v2 only. Raises OSError."""
        for name, path in self.paths.items():
            if (name and only_unified) or name in skip:
                continue
            try:
                files.write_pid(path, pid)
            except OSError as error:
                if name or error.errno != EOPNOTSUPP:
                    raise
                # A threaded cgroup accepts threads, not processes (cgroups(7)).
                files.write(path + "/cgroup.threads", str(pid))

    def processes(self) -> list[int]:
        """Return the ids of the processes in the cgroup and below it, as files.processes does."""
        path = freezer.find(self.paths)[1] or next(iter(self.paths.values()), "")
        return files.processes(path) if path else []

    # Limits

    def write(
        self,
        controller: str,
        file: str,
        value: str,
        *,
        other_file: str = "",
        other_value: str = "",
        optional: bool = False,
        defer: str = "",
        resume: bool = False,
        verify: bool = False,
    ) -> None:
        """Write a control file. Raises Error.

        other_file, other_value: what to write instead if the kernel lacks the file.
        optional: a missing file is not an error.
        defer: if the kernel refuses the value (EINVAL) because it conflicts with a later one, write it again after the
        next write with resume. This is the JSON pointer to report if it is refused again.
        verify: the kernel may accept a number of bytes and ignore it, so read it back (it rounds down to pages).
        """
        directory = self.path_of(controller)
        if not directory:
            raise Error(
                f"cannot set {file}: the container has no {controller or 'unified'} cgroup",
                hint="the runtime could not make one; without root, delegate a cgroup to it or set no limits",
            )
        try:
            files.write(directory + "/" + file, value)
        except OSError as error:
            if error.errno == ENOENT and other_file:
                self.write(controller, other_file, other_value or value, optional=optional)
            elif error.errno == ENOENT and optional:
                pass
            elif error.errno == EINVAL and defer:
                self._deferred.append((directory + "/" + file, value, defer))
            else:
                raise _explain(directory, file, value, error) from None
        if resume and self._deferred:
            self._resume()
        if verify:
            kept = int(files.read(directory + "/" + file))
            if not int(value) - LARGEST_PAGE < kept <= int(value):
                raise Error(
                    f"cannot set {file} to {value}: this kernel no longer has this limit",
                    hint="kernel memory counts towards the container's memory limit",
                )

    def _resume(self) -> None:
        deferred, self._deferred = self._deferred, []
        for path, value, pointer in deferred:
            try:
                files.write(path, value)
            except OSError as error:
                directory, _, file = path.rpartition("/")
                failure = _explain(directory, file, value, error)
                failure.pointer = pointer
                raise failure from None

    def check_memory(self, limit: int, swap: int) -> None:
        """Refuse a limit (bytes; 0: none) at or below the current usage (linux.resources.memory.checkBeforeUpdate).

        Raises Error.
        """
        directory = self.path_of("")
        usage = int(files.read(directory + "/memory.current")) if directory else 0
        for name, value in (("memory", limit), ("memory and swap", swap)):
            if 0 < value <= usage:
                raise Error(f"cannot limit {name} to {in_bytes(value)}: {in_bytes(usage)} are in use")

    # The end

    def thaw(self) -> None:
        """Thaw the cgroup and those below it, since frozen processes do not die on v1. Raises OSError."""
        freezer.thaw_all(self.paths)

    def oom_kills(self) -> int:
        """Return how many processes the OOM killer has killed in the cgroup; 0 if the kernel does not report it."""
        directory = self.path_of("memory")
        file = "memory.oom_control"
        if not directory:
            directory, file = self.path_of(""), "memory.events"
        try:
            text = files.read(directory + "/" + file)
        except OSError:
            return 0
        lines = (line.partition(" ") for line in lines_of(text))
        return next((int(count) for name, _, count in lines if name == "oom_kill"), 0)


def _explain(directory: str, file: str, value: str, error: OSError) -> Error:
    """Return an error that names the file and the likely cause.

    ENOENT gets a different text: engines would mistake the kernel's for a missing command (docs/errors.md).
    """
    from ocipy.cgroups.writes import value_in_words  # for limits, which most commands never touch

    if error.errno == ENOENT:
        if file.startswith("hugetlb."):
            hint = "/sys/kernel/mm/hugepages lists the supported huge page sizes"
        else:
            hint = "the kernel lacks it, or the controller is not enabled here (cgroup.controllers)"
        return Error(f"cannot set {file}: the cgroup has no such control", hint=hint)
    if error.errno == EBUSY and file == "memory.limit_in_bytes":
        hint = "the limit must be above the current usage; during create, that includes the container's setup"
        return Error(
            f"cannot set {file} to {value_in_words(file, value)}: {_memory_use(directory)}", errno=EBUSY, hint=hint
        )
    hint = ""
    if error.errno == ENODEV:
        hint = "the device is missing"
    elif error.errno == EINVAL:
        hint = "the kernel does not accept this value here, or the parent cgroup does not allow it"
    elif error.errno in (EACCES, ERANGE) and file.startswith("cpuset."):
        hint = "the host or the parent cgroup does not have this CPU or memory node"
    return caused_by(error, f"cannot set {file} to {value_in_words(file, repr(value))}", hint=hint)


def _memory_use(directory: str) -> str:
    try:
        usage = in_bytes(int(files.read(directory + "/memory.usage_in_bytes")))
        peak = in_bytes(int(files.read(directory + "/memory.max_usage_in_bytes")))
    except (OSError, ValueError):
        return "the limit is below the current usage"
    return f"{usage} are in use, the peak was {peak}"
