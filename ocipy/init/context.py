"""What the steps of the init lane share."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from ocipy.linux.channel import Channel
    from ocipy.plan.model import InitStep, Onlooker
    from ocipy.plan.seccomp import SeccompLoad

    Kind = TypeVar("Kind", bound=InitStep)
    Action = Callable[["Init", Kind], None]


# The function that carries out each kind of step. The modules of this package add theirs when they are imported.
ACTIONS: dict[type[InitStep], Callable[[Init, InitStep], None]] = {}


def carries_out(kind: type[Kind]) -> Callable[[Action[Kind]], Action[Kind]]:
    """Register the function that carries out this kind of step."""

    def register(action: Action[Kind]) -> Action[Kind]:
        ACTIONS[kind] = action  # type: ignore[assignment]  # it is only called with steps of this kind
        return action

    return register


class Descriptors:
    """The descriptors that the host opens for init, which closes all others. -1: not opened, or already used.

    procfs: a private one, without /proc/sys. sysctl: one with it. rootfs: a detached copy of the root filesystem.
    seccomp: a file with the filter. fifo, report: exec.fifo and exec.report; for exec, report is a pipe.
    outputs: files for the output of hooks, by the names "stdout" and "stderr".
    namespaces: those to join, by kind. cgroups: the `tasks` files of the v1 hierarchies, by hierarchy.
    mounts: detached copies of the sources of bind mounts, by the pointers of the mounts. devices: detached mounts of
    nodes, by their names. container, root: for exec, a pidfd of the container's process, and its root.
    """

    __slots__ = (
        "cgroups",
        "container",
        "devices",
        "fifo",
        "mounts",
        "namespaces",
        "outputs",
        "procfs",
        "report",
        "root",
        "rootfs",
        "seccomp",
        "sysctl",
    )

    def __init__(self) -> None:
        self.procfs = self.sysctl = self.rootfs = self.seccomp = self.fifo = self.report = -1
        self.container = self.root = -1
        self.outputs: dict[str, int] = {}
        self.namespaces: dict[str, int] = {}
        self.cgroups: dict[str, int] = {}
        self.mounts: dict[str, int] = {}
        self.devices: dict[str, int] = {}

    def all(self) -> list[int]:
        """Return every descriptor, with a -1 for each that is not open."""
        return [
            self.procfs, self.sysctl, self.rootfs, self.seccomp, self.fifo, self.report, self.container,
            self.root, *self.outputs.values(), *self.namespaces.values(), *self.cgroups.values(),
            *self.mounts.values(), *self.devices.values(),
        ]  # fmt: skip

    def close_procfs(self) -> None:
        """Close the private procfs mounts. The last close of a detached mount waits for an RCU grace period."""
        for fd in (self.procfs, self.sysctl):
            if fd >= 0:
                posix.close(fd)
        self.procfs = self.sysctl = -1

    def close_cgroups(self) -> None:
        """Close the host's copies of the `tasks` files."""
        while self.cgroups:
            posix.close(self.cgroups.popitem()[1])


class Cover:
    """A mount that covers masked files, or masked directories. attached: one of them has it; the others get copies."""

    __slots__ = ("attached", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.attached = False


class Init:
    """The state of the process that becomes the container, from the clone to the exec.

    channel: to the process on the host; closed before init waits at the FIFO.
    proc: our own directory in the private procfs, from which we open files of /proc/self. -1 until become_init, and in
    exec until the host has sent it.
    rootfs: an O_PATH descriptor of the container's root, -1 until it is opened; "/" after the pivot.
    cgroup_paths: the container's cgroups on the host, by hierarchy name, "" for v2.
    root_path: the root's path in our mount namespace before the pivot, "" for "/".
    fds: what the host opened for us.
    late_mounts: mounts that become read-only later, by the pointers of their steps.
    root_inode: (device, inode) of the container's root, once it is "/".
    device_parent, device_directory: path and descriptor of the directory of the last node.
    file_cover, directory_cover: what covers masked paths; None until it is made.
    state: the container's state as hooks receive it, with the pid inside the pid namespace.
    preserved: how many descriptors from 3 upwards belong to the payload.
    report_fd: exec.report, once start has been called; -1 before.
    onlooker: yields each step when it is due, and so sees it; None without --trace and --debug.
    seccomp_program: BPF, received from the host early. seccomp_load: the step among steps that loads it.
    cwd_entered: whether the working directory was entered and checked before the ids changed.
    steps: the whole lane, whose end C may then carry out; empty if an onlooker must see each step.
    environment, command, limits: set by steps, used by the last one. limits: (resource, soft, hard) of prlimit(2).
    """

    __slots__ = (
        "cgroup_paths",
        "channel",
        "command",
        "cwd_entered",
        "device_directory",
        "device_parent",
        "directory_cover",
        "environment",
        "fds",
        "file_cover",
        "late_mounts",
        "limits",
        "onlooker",
        "preserved",
        "proc",
        "report_fd",
        "root_inode",
        "root_path",
        "rootfs",
        "seccomp_load",
        "seccomp_program",
        "state",
        "steps",
    )

    def __init__(
        self,
        *,
        channel: Channel,
        state: dict[str, Any],
        fds: Descriptors | None = None,
        preserved: int = 0,
        cgroup_paths: dict[str, str] | None = None,
        onlooker: Onlooker | None = None,
    ) -> None:
        self.channel = channel
        self.fds = fds or Descriptors()
        self.cgroup_paths = cgroup_paths or {}
        self.proc = -1
        self.rootfs = -1
        self.root_path = ""
        self.root_inode = (0, 0)
        self.device_parent: str | None = None
        self.device_directory = -1
        self.late_mounts: dict[str, int] = {}
        self.file_cover: Cover | None = None
        self.directory_cover: Cover | None = None
        self.report_fd = -1
        self.state = state
        self.preserved = preserved
        self.onlooker = onlooker
        self.environment: dict[bytes, bytes] = {}
        self.command = b""
        self.limits: tuple[tuple[int, int, int], ...] = ()
        self.cwd_entered = False
        self.seccomp_program = b""
        self.seccomp_load: SeccompLoad | None = None
        self.steps: Sequence[InitStep] = ()

    def warn(self, text: str) -> None:
        """Have the host log a warning."""
        self.channel.send("warning", {"text": text})
