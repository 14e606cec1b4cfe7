"""What the steps of the init lane share."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.linux.channel import Channel
    from ocipy.plan.model import Onlooker


class Init:
    """The state of the process that becomes the container, from the clone to the exec.

    channel: to the process on the host; closed before init waits at the FIFO.
    proc: our own directory of a procfs that is ours too: files of /proc/self are opened relative to it. -1 until
    become_init, and in exec until the host has handed it over.
    sysctl_proc: an unmasked one, -1 where the plan writes no sysctl.
    rootfs: the root of the container as an O_PATH descriptor, -1 until it is opened; "/" after the pivot.
    cgroup_paths: the container's cgroups on the host, by name of the hierarchy, "" for v2.
    root_path: where that is in our mount namespace before the pivot, "" for "/".
    fds: descriptors that the host opened for us, by name: "fifo", "report", "mount/3", "namespace/network", …
    state: the container's state as hooks get it, with the pid as seen in here.
    preserved: so many descriptors from 3 on are the payload's.
    report_fd: exec.report, once start was called; -1 before.
    onlooker: passes the steps on, each when it is to be taken; None without --trace and --debug.
    seccomp_program: BPF, taken from the host early.
    cwd_entered: the working directory could be entered, and was checked, before the ids changed.
    environment, command, limits: filled by steps, used by the last one. limits: (resource, soft, hard) of prlimit(2).
    """

    __slots__ = (
        "cgroup_paths",
        "channel",
        "command",
        "cwd_entered",
        "environment",
        "fds",
        "limits",
        "onlooker",
        "preserved",
        "proc",
        "report_fd",
        "root_path",
        "rootfs",
        "seccomp_program",
        "state",
        "sysctl_proc",
    )

    def __init__(
        self,
        *,
        channel: Channel,
        fds: dict[str, int],
        state: dict[str, Any],
        preserved: int = 0,
        cgroup_paths: dict[str, str] | None = None,
        onlooker: Onlooker | None = None,
    ) -> None:
        self.channel = channel
        self.fds = fds
        self.cgroup_paths = cgroup_paths or {}
        self.proc = -1
        self.sysctl_proc = fds.get("procfs/sysctl", -1)
        self.rootfs = -1
        self.root_path = ""
        self.report_fd = -1
        self.state = state
        self.preserved = preserved
        self.onlooker = onlooker
        self.environment: dict[bytes, bytes] = {}
        self.command = b""
        self.limits: tuple[tuple[int, int, int], ...] = ()
        self.cwd_entered = False
        self.seccomp_program = b""

    def warn(self, text: str) -> None:
        """Have the host log a warning."""
        self.channel.send("warning", {"text": text})
