"""linux.sysctl: kernel parameters of the container's own namespaces, never the host's.

A parameter that belongs to no namespace, or to one that the container shares with the runtime, is refused: it would
change for the whole machine.
"""

from __future__ import annotations

from ocipy.config.semantic_linux import sysctl_namespace, sysctl_path
from ocipy.errors import escape
from ocipy.plan.namespaces import enters_last, is_watched, joined_kinds, new_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan


def plan_check(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """After the joined namespaces have been opened, and before anything is made in them."""
    joined = joined_kinds(config)
    checked: set[str] = set()
    for path, _, pointer in _parameters(config):
        kind = sysctl_namespace(path)
        if kind in joined and kind not in checked:
            plan.on_host("not_our_namespace", pointer, kind=kind)
            checked.add(kind)


def plan_sysctl(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Written on our own unmasked procfs before the container's is made read-only: by init, or by the host if others
    may look at that procfs (host/sysctl.py)."""
    own = {**new_kinds(config), **joined_kinds(config)}
    parameters = _parameters(config)
    watched = bool(parameters) and is_watched(config, host) and not enters_last(config, host)
    if watched:
        plan.in_init("tell", "/linux/sysctl", barrier="sysctl")
        plan.on_host("wait", "/linux/sysctl", barrier="sysctl")
    for path, value, pointer in parameters:
        kind = sysctl_namespace(path)
        assert kind in own, "it would be changed for the host"
        if watched:
            kinds = ("user", kind) if "user" in own else (kind,)
            plan.on_host("host_sysctl", pointer, kinds=kinds, path=path, value=value)
        else:
            plan.in_init("sysctl", pointer, path=path, value=value)
    if watched:
        plan.on_host("tell", "/linux/sysctl", barrier="written")
        plan.in_init("wait", "/linux/sysctl", barrier="written")
    elif parameters:
        plan.in_init("sysctl_done", "/linux/sysctl")


def _parameters(config: Config) -> list[tuple[str, str, str]]:
    """Return (path below /proc/sys, value, pointer) of each."""
    values = (config.get("linux") or {}).get("sysctl") or {}
    parameters = []
    for name, value in values.items():
        pointer = "/linux/sysctl" + escape(name)
        parameters.append((sysctl_path(name), value, pointer))
    return parameters
