"""--systemd-cgroup: the container's cgroup belongs to a scope, a unit that systemd makes at our request.

A scope is made with a process in it, so init is cloned first, and systemd moves it there while init mounts. The state
records the unit beforehand. docs/cgroups.md has the names and the properties.
"""

from __future__ import annotations

from ocipy.errors import Error, escape
from ocipy.plan.fields import CGROUP, RESOURCES, resources_of
from ocipy.plan.model import HostStep, if_set
from ocipy.systemd import gvariant
from ocipy.systemd.properties import for_devices, for_resources, oom_policy, rounded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.cgroups.devices import Rule
    from ocipy.config.types import Config, Resources
    from ocipy.plan.model import Options, Planner
    from ocipy.systemd.properties import Property

ANNOTATION = "org.systemd.property."
ANNOTATIONS = "/annotations"
PREFIX = "ocipy"
NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:-_.\\@")
LONGEST_NAME = 255  # of a unit (systemd.unit(5))
MICROSECONDS = 1_000_000
UNLIMITED = 2**64 - 1  # systemd's infinity


class SystemdUnit(HostStep):
    """Ask systemd where the unit will be, and record it in the state. user: of the user's systemd."""

    unit: str
    slice_path: str
    user: bool
    description: str

    def describe(self) -> str:
        return f"{self.slice_path}/{self.unit}" + if_set(self.user, ", in the user's systemd")


class SystemdScope(HostStep):
    """Have systemd make the unit, with init in it."""

    properties: tuple[Property, ...]

    def describe(self) -> str:
        return _in_words(self.properties)


class SystemdProperties(HostStep):
    """Tell systemd about the limits."""

    properties: tuple[Property, ...]

    def describe(self) -> str:
        return _in_words(self.properties)


class SystemdJoin(HostStep):
    """Make and join the cgroups that systemd does not manage."""

    words = "the v1 hierarchies that systemd does not manage"


def _in_words(properties: Sequence[Property]) -> str:
    return " ".join(f"{name}={_value_in_words(value)}" for name, _, value, _ in properties) or "none to set"


def _value_in_words(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_value_in_words(part) for part in value) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "infinity" if value == UNLIMITED else str(value)


def plan_unit(planner: Planner) -> None:
    """Ask systemd where the unit will be, and record that in the state."""
    config, host, options = planner.config, planner.host, planner.options
    if host.rootless and host.cgroup_mode != "v2":
        raise Error(
            "cannot use rootless systemd cgroups manager on cgroup v1",
            pointer=CGROUP,
            hint="a user's systemd has no privileges there; omit --systemd-cgroup",
        )
    unit, slice_name = unit_of(planner)
    planner.on_host(
        SystemdUnit(
            CGROUP,
            unit=unit,
            slice_path=expand(slice_name),
            user=host.rootless,
            description=next(
                (value for name, kind, value, _ in wanted_properties(config) if (name, kind) == ("Description", "s")),
                description(options),
            ),
        )
    )


def plan_scope(planner: Planner, rules: Sequence[Rule] | None) -> None:
    """Have the unit made, with init in it. rules: for devices, None if systemd gets none now."""
    config, host, options = planner.config, planner.host, planner.options
    _, slice_name = unit_of(planner)
    resources = resources_of(config)
    properties: list[Property] = [
        ("Description", "s", description(options), 0),
        ("Slice", "s", slice_name, 0),
        ("Delegate", "b", True, 0),
        ("MemoryAccounting", "b", True, 0),
        ("CPUAccounting", "b", True, 0),
        ("IOAccounting" if host.cgroup_mode == "v2" else "BlockIOAccounting", "b", True, 0),
        ("TasksAccounting", "b", True, 0),
        # Otherwise systemd ends the scope at the start of a shutdown, before the engine stops its containers.
        ("DefaultDependencies", "b", False, 0),
        *oom_policy(resources, host.cgroup_mode),
        *(() if rules is None else for_devices(rules, host.cgroup_mode)),
        *wanted_properties(config),
    ]
    planner.on_host(SystemdScope(CGROUP, properties=tuple(properties)))


def plan_properties(planner: Planner, resources: Resources, rules: Sequence[Rule] | None) -> Resources:
    """Tell systemd the limits. Return the resources as it stores them. rules: for devices, None if there are none."""
    host = planner.host
    properties: tuple[Property, ...] = ()
    if rules is not None and not host.rootless:
        properties = for_devices(rules, host.cgroup_mode)
    properties += for_resources(resources, host.cgroup_mode)
    if properties:
        planner.on_host(SystemdProperties(RESOURCES, properties=properties))
    return rounded(resources)


def description(options: Options) -> str:
    """Return the description that `systemctl status` shows. It identifies the owner, and is compared on removal."""
    root = options.state_directory.rpartition("/")[0]
    return f"ocipy container {options.container_id} ({root})"


def unit_of(planner: Planner) -> tuple[str, str]:
    """Return the names of the unit and its slice, from cgroupsPath, "SLICE:PREFIX:NAME" (as in runc). Raises Error."""
    linux = planner.config.get("linux") or {}
    wanted = linux.get("cgroupsPath") or f":{PREFIX}:{planner.options.container_id}"
    parts = wanted.split(":")
    if len(parts) != 3:
        quoted = '"' + wanted.replace("\\", "\\\\").replace('"', '\\"') + '"'
        raise Error(
            'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got ' + quoted + " instead",
            pointer=CGROUP,
            hint="the engine and the runtime must use the same cgroup driver (docs/cgroups.md)",
        )
    slice_name, prefix, name = parts
    if not name:
        raise Error(f"{wanted!r} has no name", pointer=CGROUP)
    if name.endswith(".slice"):
        raise Error(f"a container cannot be a slice ({name}): a slice contains no processes itself", pointer=CGROUP)
    unit = escaped_unit((prefix + "-" if prefix else "") + name) + ".scope"
    if len(unit) > LONGEST_NAME:
        raise Error(f"the unit's name is longer than {LONGEST_NAME} characters: {unit}", pointer=CGROUP)
    if not slice_name:
        slice_name = "user.slice" if planner.host.rootless else "system.slice"
    elif slice_name == "-":
        slice_name = "-.slice"
    expand(slice_name)
    return unit, slice_name


def escaped_unit(name: str) -> str:
    """Escape what systemd does not allow in a unit's name, as hexadecimal bytes (systemd.unit(5))."""
    return "".join(
        character if character in NAME_CHARACTERS else "".join(f"\\x{byte:02x}" for byte in character.encode())
        for character in name
    )


def expand(slice_name: str) -> str:
    """Return the path of a slice: a-b.slice is /a.slice/a-b.slice, -.slice is "" (systemd.slice(5)). Raises Error."""
    stem = slice_name.removesuffix(".slice")
    if stem == slice_name or "/" in slice_name or not NAME_CHARACTERS.issuperset(slice_name):
        raise Error(f"invalid slice name: {slice_name}", pointer=CGROUP, hint="such as system.slice or user-1000.slice")
    if stem == "-":
        return ""
    path = before = ""
    for part in stem.split("-"):
        if not part:
            raise Error(f"invalid slice name: {slice_name}", pointer=CGROUP, hint="no - at either end, no --")
        before += part
        path += f"/{before}.slice"
        before += "-"
    return path


def wanted_properties(config: Config) -> list[Property]:
    """Return the properties that annotations ask for: org.systemd.property.NAME, with a value in GVariant's text form.

    systemd documents properties ending in Sec in seconds, but takes microseconds, under a name ending in USec.
    """
    found: list[Property] = []
    for key, text in (config.get("annotations") or {}).items():
        name = key.removeprefix(ANNOTATION)
        if name == key:
            continue
        pointer = ANNOTATIONS + escape(key)
        if len(name) < 3 or not (name.isascii() and name.isalpha()):
            raise Error(f"{name!r} is not the name of a systemd property", pointer=pointer)
        try:
            signature, value = gvariant.parse(text)
        except ValueError as problem:
            raise Error(
                f"{text!r} is not a valid value: {problem}",
                pointer=pointer,
                hint="use GVariant's text form, such as 'text' in quotes, true, or uint64 5000000",
            ) from None
        if name.endswith("Sec") and name[-4:-3].islower():
            if signature not in ("y", "n", "q", "i", "u", "x", "t", "d") or value < 0:
                raise Error(f"{text!r} is not a number of seconds", pointer=pointer)
            name, signature, value = name[:-3] + "USec", "t", int(value * MICROSECONDS)
        found.append((name, signature, _as_plan_data(value), 0))
    return found


def _as_plan_data(value: object) -> object:
    """Turn lists into tuples: a plan contains no lists."""
    return tuple(_as_plan_data(part) for part in value) if isinstance(value, list | tuple) else value
