"""hostname and domainname: the names that uname(2) tells."""

from __future__ import annotations

from ocipy.plan.namespaces import has_namespace, joined_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan


def plan_check(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """After the joined namespaces have been opened: the host must not be renamed."""
    if "uts" in joined_kinds(config):
        for member, name in (("hostname", config.get("hostname")), ("domainname", config.get("domainname"))):
            if name:
                plan.on_host("not_our_namespace", "/" + member, kind="uts")


def plan_names(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Set the names that uname(2) reports. Without a UTS namespace they would be the host's."""
    for member, name in (("hostname", config.get("hostname")), ("domainname", config.get("domainname"))):
        if not name:
            continue
        assert has_namespace(config, "uts"), "the host would be renamed"
        plan.in_init(member, "/" + member, name=name)
