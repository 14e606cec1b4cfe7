"""linux.resources.devices: the rules of the config, and those that every container gets (config-linux.md)."""

from __future__ import annotations

from ocipy.cgroups.devices import ANY, DEFAULT_NODES, DEFAULT_RULES, bits_of, fold
from ocipy.errors import Error
from ocipy.linux.paths import clean
from ocipy.plan.fields import RESOURCES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.cgroups.devices import Rule
    from ocipy.config.types import Config
    from ocipy.plan.model import Planner


def rules_to_apply(planner: Planner) -> tuple[Rule, ...] | None:
    """Return the rules to apply, None if none can be applied."""
    config, host = planner.config, planner.host
    pointer = RESOURCES + "/devices"
    given = given_rules(config)
    v1 = host.cgroup_mode != "v2" and any("devices" in name.split(",") for name in host.cgroup_controllers)
    if v1 and host.in_user_namespace:
        # There the kernel denies writes to devices.allow; the container is allowed what the runtime is allowed.
        if given:
            planner.warn(pointer, "device rules have no effect in a user namespace on cgroup v1")
        return None
    if not v1 and host.cgroup_mode == "v1":
        if host.rootless:
            return None
        raise Error("the cgroup controller devices is not available on this host", pointer=pointer)
    rules = [*given, *_default_rules(config)]
    if v1:
        fold(rules, pointer)
    return tuple(rules)


def given_rules(config: Config) -> list[Rule]:
    """Return the rules of the config."""
    rules: list[Rule] = []
    linux = config.get("linux") or {}
    for entry in (linux.get("resources") or {}).get("devices") or ():
        kind = entry.get("type") or "a"
        major, minor = _number(entry.get("major")), _number(entry.get("minor"))
        # A missing access means every access, as a missing type means every type. The specification does not say.
        rules.append((entry["allow"], kind, major, minor, bits_of(entry.get("access") or "rwm")))
    return rules


def _number(number: int | None) -> int:
    """Return a major or minor number; a missing one means any, and so does -1, as in runc."""
    return ANY if number is None else number


def _default_rules(config: Config) -> Sequence[Rule]:
    """Return the default devices, except those that a device of the config replaces."""
    devices = (config.get("linux") or {}).get("devices")
    if not devices:
        return DEFAULT_RULES
    taken = {DEFAULT_NODES.get(clean(device["path"])) for device in devices}
    return [rule for rule in DEFAULT_RULES if (rule[2], rule[3]) not in taken]
