"""linux.intelRdt on the host: make, fill, join and remove groups of the resctrl filesystem."""

from __future__ import annotations

import errno

from ocipy.errors import Error, caused_by, reported_as
from ocipy.host.context import carries_out
from ocipy.linux import resctrl
from ocipy.linux.files import exists, read_file
from ocipy.plan.intel_rdt import POINTER, RdtGroup, RdtJoin, RdtKeep, RdtMonitoring, RdtSchema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.host.context import HostRun
    from ocipy.state.state import RdtGroups


def top_of_resctrl() -> str:
    """Return where resctrl is mounted. Raises Error if it is not, as config-linux.md requires (IntelRdt)."""
    top = resctrl.find(read_file("/proc/self/mountinfo"))
    if not top:
        raise Error(
            "no resctrl filesystem is mounted",
            pointer=POINTER,
            hint="mount -t resctrl resctrl /sys/fs/resctrl, if the processor and the kernel support it",
        )
    return top


@carries_out(RdtGroup)
def rdt_group(run: HostRun, step: RdtGroup) -> None:
    """Find the class of service, or make it. name: "/" for the default class."""
    top = top_of_resctrl()
    path = top if step.name == "/" else top + "/" + step.name
    groups: RdtGroups = {"group": path, "monitoring": "", "remove": []}
    run.state.rdt = groups
    # A failure removes these groups, including a class that would stay after a successful create.
    run.rdt_made = groups["remove"]
    made = False
    if not exists(path):
        if not step.make:
            hint = "create it beforehand, or give it a schema, so that ocipy creates it"
            raise Error(f"the class of service {step.name} is missing", hint=hint)
        made = _make(run, path, "the processor has no classes of service left (num_closids)")
    if not made and not resctrl.is_group(path):
        raise Error(f"{path} is not a class of service")
    run.rdt_class = (top, made)


def _make(run: HostRun, path: str, none_left: str) -> bool:
    """Record a group in the state, then make it. False if somebody else made it first. Raises Error."""
    groups = run.state.rdt
    assert groups is not None
    groups["remove"].insert(0, path)
    run.state.save()
    try:
        if resctrl.make_group(path):
            return True
    except OSError as error:
        groups["remove"].remove(path)
        hint = none_left if error.errno == errno.ENOSPC else ""
        raise caused_by(error, f"cannot make {path}", hint=hint) from None
    groups["remove"].remove(path)
    return False


@carries_out(RdtSchema)
def rdt_schema(run: HostRun, step: RdtSchema) -> None:
    """Write one line of the schemata. compared: an existing class of service must already agree with it."""
    assert run.state.rdt is not None
    assert run.rdt_class is not None
    top, made = run.rdt_class
    write_schema(run.state.rdt["group"], top, step.line, compared=step.compared and not made)


def write_schema(group: str, top: str, line: str, *, compared: bool = False) -> None:
    """Write a line into a group's schemata. Raises Error with the kernel's reason."""
    path = group + "/" + resctrl.SCHEMATA
    if compared:
        current = read_file(path)
        if not resctrl.agrees(line, current):
            found = resctrl.line_of(current, line.partition(":")[0].strip()) or "no line of that resource"
            raise Error(f"the class of service exists, but instead of {line} it has {found}")
    with reported_as(f"the schema {line} is refused", hint=lambda _error: resctrl.reason(top)):
        resctrl.write(path, line)


@carries_out(RdtMonitoring)
def rdt_monitoring(run: HostRun, step: RdtMonitoring) -> None:
    """Make the container's monitoring group below its class of service."""
    groups = run.state.rdt
    assert groups is not None
    path = f"{groups['group']}/{resctrl.MONITORING}/{step.name}"
    if not exists(groups["group"] + "/" + resctrl.MONITORING):
        raise Error("this resctrl filesystem has no monitoring groups", hint="the processor does not support it")
    if not _make(run, path, "the processor has no monitoring groups left (num_rmids)"):
        raise Error(f"the monitoring group {path} already exists", hint="another container uses it, or left it behind")
    groups["monitoring"] = path


@carries_out(RdtJoin)
def rdt_join(run: HostRun, step: RdtJoin) -> None:
    """Put the process into its groups: first the class of service, which contains its monitoring group."""
    groups = run.state.rdt
    if groups is None:  # made by an older release
        return
    for group in (groups["group"], groups["monitoring"]):
        if group:
            with reported_as(f"cannot put the process into {group}"):
                resctrl.write(group + "/" + resctrl.TASKS, str(run.pid))


@carries_out(RdtKeep)
def rdt_keep(run: HostRun, step: RdtKeep) -> None:
    """Exempt the class of service that the config names from removal: it outlives the container."""
    groups = run.state.rdt
    assert groups is not None
    if groups["group"] in groups["remove"]:
        run.rdt_made = list(groups["remove"])
        groups["remove"].remove(groups["group"])
        run.state.save()


def remove_groups(paths: Sequence[str]) -> None:
    """Remove groups; their processes then belong to the parent group. Raises Error."""
    for path in paths:
        with reported_as(f"cannot remove {path}", pointer=POINTER):
            resctrl.remove_group(path)
