"""What the steps of the host lane share."""

from __future__ import annotations

import posix

from ocipy.init.context import Descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ClassVar, TypeVar

    from ocipy.cgroups.cgroup import Cgroup
    from ocipy.children.helper import Helper
    from ocipy.config.types import Config
    from ocipy.criu.client import Criu
    from ocipy.linux.channel import Channel
    from ocipy.plan.model import HostStep, Onlooker, Options, Plan
    from ocipy.state.state import State
    from ocipy.systemd.bus import Connection

    Triples = Sequence[tuple[int, int, int]]

    Kind = TypeVar("Kind", bound=HostStep)
    Action = Callable[["HostRun", Kind], None]


# The function that carries out each kind of step. The modules of this package add theirs when they are imported.
ACTIONS: dict[type[HostStep], Callable[[HostRun, HostStep], None]] = {}


def carries_out(kind: type[Kind]) -> Callable[[Action[Kind]], Action[Kind]]:
    """Register the function that carries out this kind of step."""

    def register(action: Action[Kind]) -> Action[Kind]:
        ACTIONS[kind] = action  # type: ignore[assignment]  # it is only called with steps of this kind
        return action

    return register


class HostRun:
    """One create, run, exec or restore in progress: what exists so far, so that a failure can undo it.

    pid, pidfd: the init process (at first the stage before it), 0 and -1 until it is cloned.
    fds: what init inherits.
    bus: the connection to systemd. lender: the child that has moved network devices. criu: the process that restores.
    Each is None if not needed.
    hooks_ran: a hook has been started, so a failure runs the poststop hooks (runtime.md, Lifecycle).
    interrupts: a signalfd for the signals that interrupt us (children/interrupts.py), -1 if none does.
    master: the pty master that init sent, -1 without a terminal. master_name: the name of its peer.
    onlooker: yields each step when it is due, and so sees it; None without --trace and --debug.
    name: what errors call the new process. status: the container's status meanwhile, as a seccomp agent sees it.

    What one step leaves for a later one:
    stage: pid of the process that init is forked from, until it is reaped; 0 for none.
    in_cgroup: the clone has put the process into its v2 cgroup. chosen: `exec --cgroup` names the cgroup.
    expected_paths: those of a cgroup that systemd will make. cpuset: a v1 cpuset that has yet to be filled in, as
    (directory, top of the hierarchy).
    timens_offsets, device_directory, report, sent_procfs: descriptors, -1 for none.
    id_maps: user namespaces, by the pointers of their steps. device_maps: (uids, gids) of a joined user namespace, each
    as (inside, outside, size).
    rdt_class: (top of resctrl, whether we made the class). rdt_made: groups that a failure removes.
    mount_points: those of a restore, as in plan/checkpoint.py. criu_directories: descriptors of criu's image directory
    and, if there is one, its work directory.
    """

    # Every run: freeing it and its plan and config would copy 25 pages of the snapshot right before the exit.
    KEPT: ClassVar[list[HostRun]] = []

    __slots__ = (
        "bus",
        "cgroup",
        "channel",
        "chosen",
        "config",
        "console_socket",
        "cpuset",
        "criu",
        "criu_directories",
        "device_directory",
        "device_maps",
        "expected_paths",
        "fds",
        "hooks_ran",
        "id_maps",
        "in_cgroup",
        "interrupts",
        "lender",
        "master",
        "master_name",
        "mount_points",
        "name",
        "onlooker",
        "options",
        "pid",
        "pidfd",
        "plan",
        "rdt_class",
        "rdt_made",
        "report",
        "sent_procfs",
        "stage",
        "state",
        "status",
        "timens_offsets",
    )

    def __init__(self, config: Config, options: Options, plan: Plan, state: State) -> None:
        self.KEPT.append(self)
        self.config = config
        self.options = options
        self.plan = plan
        self.state = state
        self.pid = 0
        self.pidfd = -1
        self.channel: Channel | None = None
        self.fds = Descriptors()
        self.cgroup: Cgroup | None = None
        self.console_socket = ""
        self.bus: Connection | None = None
        self.lender: Helper | None = None
        self.criu: Criu | None = None
        self.hooks_ran = False
        self.interrupts = -1
        self.master = -1
        self.onlooker: Onlooker | None = None
        self.master_name = ""
        self.name = "the init process"
        self.status = "creating"
        self.stage = 0
        self.in_cgroup = False
        self.expected_paths: dict[str, str] | None = None
        self.cpuset: tuple[str, str] | None = None
        self.chosen = False
        self.timens_offsets = self.device_directory = self.report = self.sent_procfs = -1
        self.id_maps: dict[str, int] = {}
        self.device_maps: tuple[Triples, Triples] | None = None
        self.rdt_class: tuple[str, bool] | None = None
        self.rdt_made: list[str] = []
        self.mount_points: dict[str, str] = {}
        self.criu_directories: list[int] = []

    def let_go(self) -> None:
        """Close the channel to init, and our copies of the descriptors that init inherited or was sent."""
        for fd in [*self.fds.all(), self.sent_procfs, self.channel.fd if self.channel is not None else -1]:
            if fd >= 0:
                posix.close(fd)
        self.fds = Descriptors()
        self.sent_procfs = -1
        self.channel = None

    def hang_up(self) -> None:
        """Close the connection to systemd."""
        if self.bus is not None:
            self.bus.close()
            self.bus = None
