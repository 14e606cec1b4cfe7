"""A joined pid namespace, whose processes may inspect init: it is entered last (plan/namespaces.py, enters_last)."""

from __future__ import annotations

from ocipy.plan.fields import process_of, runs_hooks_later
from ocipy.plan.lane import GiveProcfs, SaveState, TakeProcfs
from ocipy.plan.model import HostStep, InitStep
from ocipy.plan.mount_options import FsopenMount
from ocipy.plan.process import CloseDescriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner


class MountProcfs(FsopenMount):
    """Mount a procfs of the pid namespace that init is not in yet."""


class EnterPidNamespace(InitStep):
    """Fork into it. terminal: it becomes the controlling one of the child's session. time: the child also enters a new
    time namespace."""

    terminal: bool
    time: bool
    words = "forks; the child continues as init"


class AdoptInit(HostStep):
    """Continue with the child that init has forked, and reap init."""

    words = "the child that continues as init"


def plan_enter(planner: Planner) -> None:
    """Fork into the namespace (pid_namespaces(7): only children are in it)."""
    config = planner.config
    _, pointer = planner.namespaces.joined["pid"]
    terminal = bool(process_of(config).get("terminal"))
    planner.in_init(CloseDescriptors(pointer, for_start=True, for_hooks=runs_hooks_later(config), for_entry=True))
    planner.in_init(EnterPidNamespace(pointer, terminal=terminal, time="time" in planner.namespaces.new))
    planner.on_host(AdoptInit(pointer))
    planner.on_host(SaveState())
    planner.on_host(GiveProcfs(pointer, whole=False))
    planner.in_init(TakeProcfs(pointer))
