"""What the steps of the init lane share."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from ocipy.linux.channel import Channel
    from ocipy.plan.model import InitStep, Onlooker
    from ocipy.plan.seccomp import SeccompLoad

    Kind = TypeVar("Kind", bound=InitStep)
    Action = Callable[["Init", Kind], None]


# The function that carries out each kind of step. The modules of this package fill it when they are imported.
ACTIONS: dict[type[InitStep], Callable[[Init, InitStep], None]] = {}


def carries_out(kind: type[Kind]) -> Callable[[Action[Kind]], Action[Kind]]:
    """Register the function that carries out this kind of step."""

    def register(action: Action[Kind]) -> Action[Kind]:
        ACTIONS[kind] = action  # type: ignore[assignment]  # it is only called with steps of this kind
        return action

    return register


class Init:
    """The state of the process that becomes the container, from the clone to the exec.

    channel: to the process on the host; closed before init waits at the FIFO.
    proc: our own directory in a procfs that is also ours; files of /proc/self are opened relative to it. -1 until
    become_init, and in exec until the host has passed it.
    sysctl_proc: an unmasked procfs, -1 if the plan writes no sysctl.
    rootfs: an O_PATH descriptor of the container's root, -1 until it is opened; "/" after the pivot.
    cgroup_paths: the container's cgroups on the host, by hierarchy name, "" for v2.
    root_path: the root's path in our mount namespace before the pivot, "" for "/".
    fds: descriptors that the host opened for us, by name: "fifo", "report", "mount/3", "namespace/network", …
    state: the container's state as hooks receive it, with the pid inside the pid namespace.
    preserved: how many descriptors from 3 upwards belong to the payload.
    report_fd: exec.report, once start was called; -1 before.
    onlooker: passes on the steps, each when it is due; None without --trace and --debug.
    seccomp_program: BPF, received from the host early. seccomp_load: the step among steps that loads it.
    cwd_entered: whether the working directory was entered and checked before the ids changed.
    steps: of the whole lane; none if each is to be taken by itself, for an onlooker.
    environment, command, limits: set by steps, used by the last one. limits: (resource, soft, hard) of prlimit(2).
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
        "seccomp_load",
        "seccomp_program",
        "state",
        "steps",
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
        self.seccomp_load: SeccompLoad | None = None
        self.steps: Sequence[InitStep] = ()

    def warn(self, text: str) -> None:
        """Have the host log a warning."""
        self.channel.send("warning", {"text": text})
