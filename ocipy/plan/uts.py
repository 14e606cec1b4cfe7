"""hostname and domainname: the names that uname(2) reports."""

from __future__ import annotations

from ocipy.plan.model import InitStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner


class Hostname(InitStep):
    """sethostname(2)."""

    name: str

    def describe(self) -> str:
        return self.name


class Domainname(InitStep):
    """setdomainname(2)."""

    name: str

    def describe(self) -> str:
        return self.name


def plan_check(planner: Planner) -> None:
    """After the joined namespaces have been opened: the host must not be renamed."""
    config = planner.config
    if "uts" not in planner.namespaces.joined:
        return
    from ocipy.plan.shared_namespace import NotOurNamespace

    if config.get("hostname"):
        planner.on_host(NotOurNamespace("/hostname", kind="uts"))
    if config.get("domainname"):
        planner.on_host(NotOurNamespace("/domainname", kind="uts"))


def plan_names(planner: Planner) -> None:
    """Set the names that uname(2) reports. Without a UTS namespace they would be the host's."""
    hostname, domainname = planner.config.get("hostname"), planner.config.get("domainname")
    assert not (hostname or domainname) or "uts" in planner.namespaces.all, "the host would be renamed"
    if hostname:
        planner.in_init(Hostname("/hostname", name=hostname))
    if domainname:
        planner.in_init(Domainname("/domainname", name=domainname))
