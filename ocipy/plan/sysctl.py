"""linux.sysctl: kernel parameters of the container's own namespaces, never the host's.

A parameter that belongs to no namespace, or to one that the container shares with the runtime, is refused: it would
change for the whole machine.
"""

from __future__ import annotations

from ocipy.config.semantic_linux import sysctl_namespace, sysctl_path
from ocipy.errors import escape
from ocipy.plan.lane import TellHost, TellInit, WaitForHost, WaitForInit
from ocipy.plan.model import HostStep, InitStep
from ocipy.plan.namespaces import enters_last, is_watched
from ocipy.plan.shared_namespace import NotOurNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Planner


class Sysctl(InitStep):
    """Write a parameter. path: below /proc/sys."""

    path: str
    value: str

    def describe(self) -> str:
        return f"{self.path.replace('/', '.')} = {self.value}"


class SysctlDone(InitStep):
    """Close the procfs with /proc/sys."""

    words = "closes the procfs with /proc/sys"


class HostSysctl(HostStep):
    """Write a parameter from outside, in namespaces of these kinds. path: below /proc/sys."""

    kinds: tuple[str, ...]
    path: str
    value: str

    def describe(self) -> str:
        return f"{self.path.replace('/', '.')} = {self.value}, written by the host"


def plan_check(planner: Planner) -> None:
    """After the joined namespaces have been opened, and before anything is made in them."""
    joined = planner.namespaces.joined
    checked: set[str] = set()
    for path, _, pointer in _parameters(planner.config):
        kind = sysctl_namespace(path)
        if kind in joined and kind not in checked:
            planner.on_host(NotOurNamespace(pointer, kind=kind))
            checked.add(kind)


def plan_sysctl(planner: Planner) -> None:
    """Have them written through our own unmasked procfs, before the container's is made read-only: by init, or by the
    host if others may look at that procfs (host/sysctl.py)."""
    own = planner.namespaces.all
    parameters = _parameters(planner.config)
    watched = bool(parameters) and is_watched(planner) and not enters_last(planner)
    if watched:
        planner.in_init(TellHost("/linux/sysctl", barrier="sysctl"))
        planner.on_host(WaitForInit("/linux/sysctl", barrier="sysctl"))
    for path, value, pointer in parameters:
        kind = sysctl_namespace(path)
        assert kind in own, "it would be changed for the host"
        if watched:
            kinds = ("user", kind) if "user" in own else (kind,)
            planner.on_host(HostSysctl(pointer, kinds=kinds, path=path, value=value))
        else:
            planner.in_init(Sysctl(pointer, path=path, value=value))
    if watched:
        planner.on_host(TellInit("/linux/sysctl", barrier="written"))
        planner.in_init(WaitForHost("/linux/sysctl", barrier="written"))
    elif parameters:
        planner.in_init(SysctlDone("/linux/sysctl"))


def _parameters(config: Config) -> list[tuple[str, str, str]]:
    """Return (path below /proc/sys, value, pointer) of each."""
    values = (config.get("linux") or {}).get("sysctl") or {}
    parameters = []
    for name, value in values.items():
        pointer = "/linux/sysctl" + escape(name)
        parameters.append((sysctl_path(name), value, pointer))
    return parameters
