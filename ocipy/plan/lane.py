"""What the lanes themselves need: barriers, handing over the process and its procfs, the record in the state."""

from __future__ import annotations

from ocipy.plan.model import HostStep, InitStep, Step, if_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner


class TellStep(Step):
    """Let the other lane, which waits for this barrier, continue."""

    barrier: str

    @property
    def tells(self) -> str:
        return self.barrier

    def describe(self) -> str:
        return self.barrier


class WaitStep(Step):
    """Wait until the other lane is at this barrier."""

    barrier: str

    @property
    def awaits(self) -> str:
        return self.barrier

    def describe(self) -> str:
        return self.barrier


class TellInit(TellStep, HostStep):
    """Let init continue. hooks: it runs hooks next."""

    action = "tell"
    hooks: bool = False


class WaitForInit(WaitStep, HostStep):
    """Wait for init."""

    action = "wait"


class TellHost(TellStep, InitStep):
    """Let the host continue."""

    action = "tell"


class WaitForHost(WaitStep, InitStep):
    """Wait for the host."""

    action = "wait"


class PrivateProcfs(HostStep):
    """Mount a private procfs before the container can mount anything. sysctl: and a second one with /proc/sys."""

    sysctl: bool

    def describe(self) -> str:
        return "for the runtime alone" + if_set(self.sysctl, ", and a second one with /proc/sys")


class PassProcfs(HostStep):
    """Send init the private procfs, which was made after the clone."""

    words = "to init, before it mounts anything"
    tells = "procfs"


class GiveProcfs(HostStep):
    """Send a process that has joined a pid namespace its own directory of /proc.

    whole: all of it if that directory cannot be cloned.
    """

    whole: bool
    tells = "procfs"

    def describe(self) -> str:
        return "the process's own directory in /proc" + if_set(self.whole, ", or all of /proc")


class TakeProcfs(InitStep):
    """Take what PassProcfs or GiveProcfs sends."""

    words = "from the host"
    awaits = "procfs"


class Adopt(HostStep):
    """Learn the pid of the init process from the stage before it, and reap the stage."""

    words = "the process that the stage forked"


class SaveState(HostStep):
    """Write the pid of init to the state. Init waits for that, unless it begins to mount at once."""

    words = "from here on delete can find the container"


class SaveConfig(HostStep):
    """Keep config.json for later commands."""

    words = "config.json as it is now, for later commands"


class Undumpable(InitStep):
    """PR_SET_DUMPABLE 0 (CVE-2016-9962)."""

    words = "other processes in its namespaces cannot inspect init"


def plan_procfs(planner: Planner) -> bool:
    """Mount the private procfs, unless an earlier step does. Returns whether it was missing."""
    missing = not any(isinstance(step, PrivateProcfs) for step in planner.plan.host)
    if missing:
        planner.on_host(PrivateProcfs(sysctl=bool((planner.config.get("linux") or {}).get("sysctl"))))
    return missing


def reached(planner: Planner) -> tuple[int, int]:
    """Return how long both lanes are now, for meet."""
    return len(planner.plan.host), len(planner.plan.init)


def meet(planner: Planner, since: tuple[int, int], arrived: str, go_on: str, *, hooks: bool = False) -> None:
    """If the host takes any of the steps added `since`, put barriers around them, between which init waits.

    hooks: init runs hooks among its own, so the host must know when.
    """
    plan = planner.plan
    host, init = since
    if len(plan.host) > host or hooks:
        plan.host.insert(host, WaitForInit(barrier=arrived))
        planner.on_host(TellInit(barrier=go_on, hooks=hooks))
        plan.init[init:init] = TellHost(barrier=arrived), WaitForHost(barrier=go_on)
