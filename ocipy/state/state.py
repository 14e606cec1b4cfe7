"""The state of a container, as kept in its state directory, and what follows from it.

ROOT/ID/ (0700) holds state.json, config.json (as it was at create: later changes of the bundle have no effect),
exec.fifo and exec.report. Every file is written under another name and renamed. directory.py has the directory and its
lock. While create works, the FIFO is called exec.fifo.new: renaming it makes the container created. `run` keeps this
name until init has executed, which makes the container running, and then removes it.
"""

from __future__ import annotations

import errno
import posix
import time

from ocipy.cgroups import freezer
from ocipy.errors import Error, caused_by, reported_as
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, PID_FS_MAGIC, POLLIN
from ocipy.linux.files import exists, read_file, write_file
from ocipy.linux.text import stat_fields
from ocipy.state.directory import STATE, Foreign, check_id, does_not_exist, is_locked
from ocipy.version import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    class RdtGroups(TypedDict):
        """A container's groups in the resctrl filesystem (linux.intelRdt).

        group: the directory of its class of service. monitoring: that of its monitoring group, or "".
        remove: the groups that delete removes, innermost first: none that existed before, and no class that the config
        names.
        """

        group: str
        monitoring: str
        remove: list[str]


FIFO = "exec.fifo"
FIFO_NEW = "exec.fifo.new"
REPORT = "exec.report"
# In place of a start time: the process is a zombie; the start time is unknown.
ENDED, UNSEEN = -1, -2
ROOTFS_MOUNT = "rootfs.mount"  # the id of the mount that delete removes
CONFIG_FILE = "config.json"


class State:
    """The state of one container.

    directory: ROOT/ID. pid, start_time: of the init process, 0 until it is cloned; start_time in clock ticks since boot
    (proc(5), field 22 of stat), UNSEEN if /proc hid it. pidfd_inode: that of its pidfd, 0 if it is not unique
    (pidfd_inode_of). created: RFC 3339. cgroup: the result of cgroups.Cgroup.to_state. hooks: those that run after
    create, by kind. no_new_keyring: create left the caller's session keyring to the process. shares_pids: its pid
    namespace is shared, and so does not end with its process. executable: the file that the init process runs until it
    executes the payload, from executable_of; "" in a restored container. streams: the caller's standard streams, from
    /proc/PID/fd, for checkpoint.
    """

    __slots__ = (
        "annotations",
        "bundle",
        "cgroup",
        "container_id",
        "created",
        "directory",
        "executable",
        "hooks",
        "no_new_keyring",
        "pid",
        "pidfd_inode",
        "rdt",
        "rootfs",
        "shares_pids",
        "start_time",
        "streams",
    )

    def __init__(self, directory: str, container_id: str, bundle: str) -> None:
        self.directory = directory
        self.container_id = container_id
        self.bundle = bundle
        self.rootfs = ""
        self.pid = 0
        self.start_time = 0
        self.pidfd_inode = 0
        self.created = ""
        self.executable = ""
        self.annotations: dict[str, str] = {}
        self.cgroup: dict[str, Any] | None = None
        self.hooks: dict[str, list[Any]] = {}
        self.no_new_keyring = False
        self.rdt: RdtGroups | None = None
        self.shares_pids = False
        self.streams: list[str] = []

    def save(self) -> None:
        """Write state.json. Raises Error."""
        document = {
            "ociVersion": SPEC_VERSION,
            "id": self.container_id,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "pid": self.pid,
            "startTime": self.start_time,
            "pidfdInode": self.pidfd_inode,
            "created": self.created,
            "executable": self.executable,
            "annotations": self.annotations,
            "cgroup": self.cgroup,
            "hooks": self.hooks,
            "noNewKeyring": self.no_new_keyring,
            "rdt": self.rdt,
            "sharesPids": self.shares_pids,
            "streams": self.streams,
        }
        with reported_as("cannot write the state", pointer=self.directory):
            write_file(self.directory + "/" + STATE, _kernel.json_dumps(document), exchange=True)

    def is_alive(self, pidfd: int = -1) -> bool:
        """Whether the init process exists, is the same process, and has a living thread.

        pidfd: one opened by its pid, -1 for none. Raises Error if this cannot be found out.
        """
        if self.pid <= 0:
            return False
        start = process_start(self.pid)
        if start == UNSEEN or (start != ENDED and self.start_time == UNSEEN):
            return self._is_alive_unseen(pidfd)
        return start >= 0 and start == self.start_time

    def _is_alive_unseen(self, pidfd: int) -> bool:
        """The same if /proc hides the processes of others (hidepid, proc(5)).

        The process is dead if the kernel no longer knows its pid, or its pidfd is readable (pidfd_open(2)).
        """
        opened = -1
        try:
            if pidfd < 0:
                pidfd = opened = _kernel.pidfd_open(self.pid, 0)
            return not _kernel.poll([(pidfd, POLLIN)], 0) and is_same_process(pidfd, self.pidfd_inode)
        except OSError as error:
            # EINVAL: the number belongs to a thread by now.
            if error.errno in (errno.ESRCH, errno.EINVAL):
                return False
            raise caused_by(error, "cannot inspect the container's process") from None
        finally:
            if opened >= 0:
                posix.close(opened)

    def status(self, *, locked: bool = False, alive: bool | None = None) -> str:
        """creating, created, running, paused or stopped (spec: runtime.md, State).

        locked: the caller holds the lock, so nobody is creating it. alive: whether the process is, None to find out.
        """
        if not (self.is_alive() if alive is None else alive):
            if self.pid == 0 and not locked and is_locked(self.directory):
                return "creating"
            return "stopped"
        if self.cgroup is not None and freezer.is_frozen(self.cgroup["paths"]):
            return "paused"
        if exists(self.directory + "/" + FIFO_NEW) and not self._has_executed():
            return "creating"
        if exists(self.directory + "/" + FIFO) and self._runs_our_executable():
            return "created"
        return "running"

    def _has_executed(self) -> bool:
        """Whether the process certainly runs something else than our executable. This is unknown while it is ending."""
        try:
            return bool(self.executable) and executable_of(self.pid) != self.executable
        except OSError:
            return False

    def _runs_our_executable(self) -> bool:
        # A start or run that is killed after init was told to go on, and before it unlinked the FIFO, leaves the FIFO
        # behind.
        try:
            return executable_of(self.pid) == self.executable
        except OSError as error:
            # A process that we may not inspect is undumpable, and so has not executed anything yet. One whose main
            # thread has ended has no such link, and has executed.
            return error.errno != errno.ENOENT or process_start(self.pid) == UNSEEN

    def for_hooks(self, status: str = "created", pid: int | None = None) -> dict[str, Any]:
        """The state for a hook. pid: in the hook's pid namespace; 0 leaves it out."""
        document: dict[str, Any] = {"ociVersion": SPEC_VERSION, "id": self.container_id, "status": status}
        if pid is None:
            pid = self.pid
        if pid:
            document["pid"] = pid
        document["bundle"] = self.bundle
        if self.annotations:
            document["annotations"] = self.annotations
        return document

    def to_oci(self) -> dict[str, Any]:
        """The document that the state command prints."""
        status = self.status()
        document: dict[str, Any] = {
            "ociVersion": SPEC_VERSION,
            "id": self.container_id,
            "pid": 0 if status == "stopped" else self.pid,
            "status": status,
            "bundle": self.bundle,
            "rootfs": self.rootfs,
            "created": self.created,
        }
        if self.annotations:
            document["annotations"] = self.annotations
        document["owner"] = ""
        return document


def load(root: str, container_id: str) -> State:
    """The state of a container. Raises Error if it does not exist."""
    check_id(container_id)
    directory = root + "/" + container_id
    path = directory + "/" + STATE
    with reported_as("cannot read the state", pointer=path):
        try:
            return _from_document(directory, container_id, _kernel.json_loads(read_own(path)))
        except (FileNotFoundError, NotADirectoryError):
            raise does_not_exist(directory) from None
        except (ValueError, LookupError, TypeError, AttributeError):
            hint = "delete --force removes the container"
            raise Error("the state is not readable", pointer=path, hint=hint) from None


def read_own(path: str) -> bytes:
    """The content of one of our files. Raises OSError, or Error if another user put it there."""
    # A FIFO in its place must not block us.
    fd = posix.open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    owner = posix.stat(fd).st_uid
    if owner != posix.geteuid():
        posix.close(fd)
        raise Foreign(path, owner)
    return read_file(fd)


def _from_document(directory: str, container_id: str, document: Any) -> State:
    """The reverse of save. Raises LookupError, TypeError or AttributeError for a foreign document."""

    def member(name: str, kind: type) -> Any:
        value = document[name]
        if not isinstance(value, kind):
            raise TypeError(name)
        return value

    state = State(directory, container_id, member("bundle", str))
    state.rootfs = member("rootfs", str)
    state.pid = member("pid", int)
    state.start_time = member("startTime", int)
    if not 0 <= state.pid < 1 << 31:
        raise TypeError("pid")
    state.created = member("created", str)
    state.executable = member("executable", str)
    state.annotations = member("annotations", dict)
    state.hooks = member("hooks", dict)
    # Missing in the state of a container that an older release made.
    inode = document.get("pidfdInode", 0)
    state.pidfd_inode = inode if isinstance(inode, int) else 0
    state.no_new_keyring = document.get("noNewKeyring") is True
    state.rdt = _rdt_of(document.get("rdt"))
    state.shares_pids = document.get("sharesPids") is True
    state.streams = document.get("streams", [])  # versions before checkpoint did not save them
    for hooks in state.hooks.values():
        for hook in hooks:
            if not isinstance(hook["path"], str):
                raise TypeError("hooks")
    if document["cgroup"] is not None:
        state.cgroup = cgroup = member("cgroup", dict)
        unit = cgroup.get("systemd")
        texts = [cgroup["mode"], *cgroup["paths"].values(), *cgroup["created"]]
        if unit is not None:
            texts += [unit["unit"], unit["description"], unit["file"], *unit["addresses"]]
        if any(not isinstance(text, str) for text in texts):
            raise TypeError("cgroup")
    return state


def _rdt_of(document: Any) -> RdtGroups | None:
    if document is None:
        return None
    paths = [document["group"], document["monitoring"], *document["remove"]]
    if any(not isinstance(path, str) for path in paths):
        raise TypeError("rdt")
    return {"group": paths[0], "monitoring": paths[1], "remove": paths[2:]}


def executable_of(pid: int | str) -> str:
    """Device and inode of the file that a process executes; a container's file could have the same name.
    Raises OSError."""
    about = posix.stat(f"/proc/{pid}/exe")
    return f"{about.st_dev}:{about.st_ino}"


def own_streams() -> list[str]:
    """The names of our standard streams. Raises OSError."""
    return [posix.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]


def pidfd_inode_of(pidfd: int) -> int:
    """The inode of a pidfd, unique for each process of a boot since Linux 6.9 (pidfs); 0 before. Raises OSError."""
    return posix.stat(pidfd).st_ino if _kernel.fstatfs(pidfd)[0] == PID_FS_MAGIC else 0


def is_same_process(pidfd: int, inode: int) -> bool:
    """Whether a pidfd that was opened by pid belongs to the process that had this inode. Raises OSError.

    If the inode is unknown (0): whether we may signal the process. We may not if another user's process has taken the
    pid.
    """
    if inode:
        return posix.stat(pidfd).st_ino == inode
    try:
        _kernel.pidfd_send_signal(pidfd, 0)
    except PermissionError:
        return False
    return True


def is_our_child(pid: int) -> bool:
    """Whether it is a child that we have not reaped yet."""
    try:
        posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def process_start(pid: int) -> int:
    """The start time of a process in clock ticks since boot; ENDED for a zombie, UNSEEN if /proc does not show it.

    A process whose main thread has ended looks like a zombie but has other threads (proc_pid_stat(5), num_threads).
    """
    try:
        fields = stat_fields(read_file(f"/proc/{pid}/stat"))
    except ProcessLookupError:
        return ENDED
    except OSError:
        return UNSEEN
    if fields[0] in (b"Z", b"X") and int(fields[17]) <= 1:
        return ENDED
    return int(fields[19])


def now() -> str:
    """RFC 3339 in UTC, with nanoseconds."""
    nanoseconds = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9)) + f".{nanoseconds % 10**9:09}Z"
