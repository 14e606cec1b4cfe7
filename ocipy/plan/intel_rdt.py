"""linux.intelRdt: a class of service of the resctrl filesystem, and a monitoring group (config-linux.md, IntelRdt).

Made before the clone. The process joins as soon as it exists, before it can have children.
"""

from __future__ import annotations

from ocipy.config.semantic_linux import RESCTRL_OWN
from ocipy.errors import Error
from ocipy.plan.model import HostStep, if_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, IntelRdt
    from ocipy.plan.model import Planner

POINTER = "/linux/intelRdt"
TOP = "/"  # closID of the default class, which is the top of the filesystem


class RdtGroup(HostStep):
    """Find the class of service. make: make it if it is missing."""

    name: str
    make: bool

    def describe(self) -> str:
        return f"class of service {self.name}" + if_set(self.make, ", created if it is missing")


class RdtSchema(HostStep):
    """Write a line into its schemata. compared: an existing class must already have it."""

    line: str
    compared: bool

    def describe(self) -> str:
        return f"schemata ← {self.line}" + if_set(self.compared, "; an existing class must already have it")


class RdtMonitoring(HostStep):
    """Make the monitoring group."""

    name: str

    def describe(self) -> str:
        return f"monitoring group {self.name}"


class RdtJoin(HostStep):
    """Put the process into both."""

    words = "the class of service and the monitoring group"


class RdtKeep(HostStep):
    """Keep the class when the container goes."""

    words = "the class of service outlives the container"


def plan_groups(planner: Planner) -> None:
    """Make, or find, the class of service and write its schemata; then make the monitoring group."""
    options = planner.options
    rdt = _given(planner.config)
    wanted = rdt.get("closID") or ""
    name = wanted or options.container_id
    if not wanted and name in RESCTRL_OWN:
        hint = "give the container another id, or name the class: closID"
        raise Error(f"{name} is a directory of the resctrl filesystem itself", pointer=POINTER + "/closID", hint=hint)
    lines = _lines(rdt)
    # If there is nothing to write into it, a named class must already exist.
    planner.on_host(
        RdtGroup(
            POINTER + ("/closID" if wanted else ""),
            name=name,
            make=name != TOP and (not wanted or bool(lines)),
        )
    )
    for pointer, line, compared in lines:
        planner.on_host(RdtSchema(pointer, line=line, compared=compared))
    if rdt.get("enableMonitoring"):
        planner.on_host(RdtMonitoring(POINTER + "/enableMonitoring", name=options.container_id))


def _given(config: Config) -> IntelRdt:
    return (config.get("linux") or {}).get("intelRdt") or {}


def _lines(rdt: IntelRdt) -> list[tuple[str, str, bool]]:
    """Return (pointer, line, whether to compare it with an existing class) in the order of the writes."""
    lines = []
    for member in ("l3CacheSchema", "memBwSchema"):
        line = rdt.get(member)
        if line:
            lines.append((f"{POINTER}/{member}", str(line), bool(rdt.get("closID"))))
    lines += [(f"{POINTER}/schemata/{index}", line, False) for index, line in enumerate(rdt.get("schemata") or ())]
    return lines


def plan_join(planner: Planner) -> None:
    """Put the process in. Its children are in the same groups."""
    planner.on_host(RdtJoin(POINTER))


def plan_keep(planner: Planner) -> None:
    """Keep a named class when the container goes. Until create has finished, it is not kept."""
    if _given(planner.config).get("closID"):
        planner.on_host(RdtKeep(POINTER + "/closID"))
