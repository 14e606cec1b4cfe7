"""linux.intelRdt: a class of service of the resctrl filesystem, and a monitoring group (config-linux.md, IntelRdt).

Made before the clone. The process joins as soon as it exists, before it can have children.
"""

from __future__ import annotations

from ocipy.config.semantic_linux import RESCTRL_OWN
from ocipy.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, IntelRdt
    from ocipy.plan.model import Host, Options, Plan

POINTER = "/linux/intelRdt"
TOP = "/"  # closID of the default class, which is the top of the filesystem


def plan_groups(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make, or find, the class of service and write its schemata; then make the monitoring group."""
    rdt = _given(config)
    wanted = rdt.get("closID") or ""
    name = wanted or options.container_id
    if not wanted and name in RESCTRL_OWN:
        hint = "give the container another id, or name the class: closID"
        raise Error(f"{name} is a directory of the resctrl filesystem itself", pointer=POINTER + "/closID", hint=hint)
    lines = _lines(rdt)
    # If there is nothing to write into it, a named class must already exist.
    plan.on_host(
        "rdt_group",
        POINTER + ("/closID" if wanted else ""),
        name=name,
        make=name != TOP and (not wanted or bool(lines)),
    )
    for pointer, line, compared in lines:
        plan.on_host("rdt_schema", pointer, line=line, compared=compared)
    if rdt.get("enableMonitoring"):
        plan.on_host("rdt_monitoring", POINTER + "/enableMonitoring", name=options.container_id)


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


def plan_join(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Put the process in. Its children are in the same groups."""
    plan.on_host("rdt_join", POINTER)


def plan_keep(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Keep a named class when the container goes. Until create has finished, it is not kept."""
    if _given(config).get("closID"):
        plan.on_host("rdt_keep", POINTER + "/closID")
