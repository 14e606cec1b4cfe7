"""Make, change and stop systemd units over a connection (bus.py)."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.systemd import dbus
from ocipy.systemd.bus import MANAGER, MANAGER_PATH, SERVICE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocipy.systemd.bus import Connection
    from ocipy.systemd.properties import Property

NO_UNIT = SERVICE + ".NoSuchUnit"
UNIT_EXISTS = SERVICE + ".UnitExists"


def _values(properties: Sequence[Property], version: int) -> list[tuple[str, tuple[str, Any]]]:
    """Return the properties that this version of systemd has, in D-Bus form."""
    return [(name, (signature, value)) for name, signature, value, since in properties if version >= since]


def start(bus: Connection, unit: str, properties: Sequence[Property], pid: int) -> int | None:
    """Make a transient unit with a process in it, and wait until it exists. Replaces a failed unit of that name.

    Returns the serial number of a call that systemd answers once it has settled; None if an active unit has that name.
    Raises Error.
    """
    wanted = [*_values(properties, bus.version()), ("PIDs", ("au", [pid]))]
    try:
        try:
            job = _start(bus, unit, wanted)
        except Refused as error:
            if error.name != UNIT_EXISTS:
                raise
            _forget(bus, unit)
            job = _start(bus, unit, wanted)
    except Refused as error:
        if error.name == UNIT_EXISTS:
            return None
        raise Error(f"cannot make the unit {unit}: {error.what}") from None
    result = bus.wait(job)
    if result != "done":
        _forget(bus, unit)
        raise Error(
            f"cannot make the unit {unit}: its job ended with {result!r}",
            hint=f"systemd logs the reason: journalctl _PID=1, or journalctl --user; look for {unit}",
        )
    return bus.send_settle()


def _start(bus: Connection, unit: str, properties: list[tuple[str, tuple[str, Any]]]) -> str:
    return bus.call_job(unit, "StartTransientUnit", "ssa(sv)a(sa(sv))", "replace", properties, [])


def set_properties(bus: Connection, unit: str, properties: Sequence[Property]) -> None:
    """Change properties of an active unit, for as long as it lives, and wait until systemd has applied them.

    Raises Error.
    """
    wanted = _values(properties, bus.version())
    if not wanted:
        return
    change = bus.send(MANAGER, "SetUnitProperties", "sba(sv)", unit, True, wanted)
    settled = bus.send_settle()
    try:
        bus.answer(change, "SetUnitProperties")
    except Refused as error:
        raise Error(f"cannot set properties of the unit {unit}: {error.what}") from None
    bus.answer(settled)


def attach(bus: Connection, unit: str, pid: int, below: str) -> None:
    """Move a process into a unit's cgroup, or into one below it. below: its path in the unit's. Raises Error."""
    bus.call(MANAGER, "AttachProcessesToUnit", "ssau", unit, below, [pid])


def whose(bus: Connection, unit: str, description: str) -> str:
    """Return whose a unit is, judging by its description: "ours", "other", or "gone" if missing. Raises Error."""
    there = bus.send(MANAGER, "GetUnit", "s", unit)
    described, loaded = (bus.send_get(path_of(unit), SERVICE + ".Unit", name) for name in ("Description", "LoadState"))
    try:
        bus.answer(there, "GetUnit")
    except Refused as error:
        if error.name != NO_UNIT:
            raise
        return "gone"
    if bus.answer(described, "Get")[0] == dbus.text(description):
        return "ours"
    # A unit that disappears between two calls has its name as its description, and the load state "not-found".
    return "gone" if bus.answer(loaded, "Get")[0] == "not-found" else "other"


def path_of(unit: str) -> str:
    """Return the path of a unit's object (sd_bus_path_encode(3))."""
    label = ""
    for byte in unit.encode("utf-8", "replace"):
        character = chr(byte)
        is_plain = character.isascii() and character.isalnum() and (label or not character.isdigit())
        label += character if is_plain else f"_{byte:02x}"
    return f"{MANAGER_PATH}/unit/{label or '_'}"


def stop(bus: Connection, unit: str, is_forgotten: Callable[[], bool]) -> None:
    """Stop a unit and make systemd forget it. Raises Error.

    is_forgotten: called after the unit has stopped; returns whether systemd has forgotten it already."""
    try:
        bus.wait(bus.call_job(unit, "StopUnit", "ss", "replace"))
    except Refused as error:
        if error.name != NO_UNIT:
            raise
        return
    if not is_forgotten():
        _forget(bus, unit)


def _forget(bus: Connection, unit: str) -> None:
    """Make systemd forget a failed unit. Others disappear by themselves."""
    try:
        bus.call(MANAGER, "ResetFailedUnit", "s", unit)
    except Refused:
        pass
