"""Make, limit and stop the container's systemd unit. systemd/units.py talks to systemd.

Cgroup.systemd, which is also in the state, describes the unit: its name; its description, by which we recognize it; the
D-Bus addresses of its systemd; systemd's file for it ("" if unknown); and the inode of its cgroup, which no other
cgroup ever has. It is saved before the unit exists, so that `delete --force` finds it after a SIGKILL.
"""

from __future__ import annotations

import posix
import time

from ocipy import log
from ocipy.cgroups import ending, files
from ocipy.cgroups.cgroup import Cgroup
from ocipy.cgroups.creation import complete
from ocipy.cgroups.layout import parse_own, probe
from ocipy.errors import Error
from ocipy.host.context import carries_out
from ocipy.linux.constants import SIGKILL
from ocipy.plan.systemd import ANNOTATION, ANNOTATIONS, SystemdJoin, SystemdProperties, SystemdScope, SystemdUnit
from ocipy.systemd import bus, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocipy.cgroups.layout import Layout
    from ocipy.host.context import HostRun
    from ocipy.systemd.properties import Property

# The bus comes first. On its own socket systemd reports every change to every connection, so the cost of simultaneous
# creates grows with the square of their number. But that socket works without a bus.
RUNTIME = "/run/systemd"
SYSTEM = ("unix:path=/run/dbus/system_bus_socket", f"unix:path={RUNTIME}/private")
# How many seconds to give the kernel to tell systemd that a cgroup is empty. It does so at most every 10 ms
# (cgroup_file_notify), and never for a removed one.
NOTICE = 0.05
# The beginning of systemd's answer about a property that it does not have; the name follows.
UNKNOWN = "Cannot set property "


def greet() -> bus.Connection | None:
    """Connect to the host's systemd, without waiting for its answer, if a unit is likely to be made there."""
    return bus.greet(SYSTEM[0]) if posix.geteuid() == 0 else None


@carries_out(SystemdUnit)
def systemd_unit(run: HostRun, step: SystemdUnit) -> None:
    """Connect to systemd, find out where the unit's cgroup will be, and record the unit in the state."""
    addresses = list(user_addresses() if step.user else SYSTEM)
    greeted, run.bus = run.bus, None
    run.bus = bus.connect(addresses, user=step.user, interrupts=run.interrupts, greeted=greeted)
    layout = probe()
    run.expected_paths = place(layout, bus.root_of(run.bus) + step.slice_path + "/" + step.unit).paths
    # Record no paths yet: until the unit is made, they may belong to someone else's unit of the same name.
    run.cgroup = Cgroup(layout.mode, {}, [])
    run.cgroup.systemd = {
        "unit": step.unit,
        "description": step.description,
        "addresses": [run.bus.address, *(address for address in addresses if address != run.bus.address)],
        "file": f"{_user_directory() if step.user else RUNTIME}/transient/{step.unit}",
    }
    run.state.cgroup = run.cgroup.to_state()
    run.state.save()


def user_addresses() -> list[str]:
    """Return where the caller's systemd may be: the message bus, then its own socket."""
    directory = _user_directory()
    session_bus = posix.environ.get(b"DBUS_SESSION_BUS_ADDRESS", b"").decode("utf-8", "surrogateescape")
    addresses = [session_bus] if session_bus else []
    if directory:
        addresses.append("unix:path=" + escaped_address(directory.removesuffix("/systemd") + "/bus"))
        addresses.append("unix:path=" + escaped_address(directory + "/private"))
    return addresses


def _user_directory() -> str:
    """Return the directory in which the caller's systemd keeps its files, "" if it is unknown."""
    directory = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape").rstrip("/")
    return directory + "/systemd" if directory else ""


def escaped_address(path: str) -> str:
    """Escape a path as a value of an address (D-Bus specification, "Server Addresses")."""
    return "".join(
        chr(byte) if byte < 128 and (chr(byte).isalnum() or chr(byte) in "-_/.*\\") else f"%{byte:02x}"
        for byte in path.encode("utf-8", "surrogateescape")
    )


def place(layout: Layout, path: str) -> Cgroup:
    """Return the cgroup of a unit in every hierarchy. Makes nothing.

    The unit's own directories count as made by us in any case, those of its slices only if they do not exist yet.
    """
    paths: dict[str, str] = {}
    created: list[str] = []
    for name, top in layout.tops.items():
        paths[name] = below = layout.directory(name, path)
        created += [*files.missing(files.parent_of(below), top), below]
    return Cgroup(layout.mode, paths, created)


@carries_out(SystemdScope)
def systemd_scope(run: HostRun, step: SystemdScope) -> None:
    """Have systemd make the unit with init in it, and make what systemd leaves out."""
    cgroup = _cgroup(run)
    try:
        settled = units.start(_bus(run), _unit(cgroup), step.properties, run.pid)
    except Error as error:
        name = error.what.partition(UNKNOWN)[2].partition(",")[0]
        if name and name + " " not in ("Description ", "Slice ", "Delegate "):
            error.pointer = f"{ANNOTATIONS}/{ANNOTATION}{name}"
        raise
    if settled is None:
        unit = _unit(cgroup)
        # It belongs to somebody else: we must not stop it.
        run.cgroup = None
        run.state.cgroup = None
        raise Error(
            f"a unit {unit} already exists",
            hint="another container may use it: see systemctl status; choose another id, or another cgroupsPath",
        )
    _record_paths(run, cgroup)
    _bus(run).answer(settled)
    complete(cgroup, probe())


def _record_paths(run: HostRun, cgroup: Cgroup) -> None:
    """Record the paths of the cgroup that init is in: a property in the config may have moved the unit."""
    layout = probe()
    own = parse_own(files.read(f"/proc/{run.pid}/cgroup"))
    path = own.get("" if layout.mode == "v2" else "name=systemd", "")
    if not path.endswith("/" + _unit(cgroup)):
        raise Error(f"systemd made {_unit(cgroup)}, but the container's process is in {path or 'none of its cgroups'}")
    made = place(layout, path)
    cgroup.paths, cgroup.created = made.paths, made.created
    if cgroup.systemd is not None:
        if not files.is_present(cgroup.systemd["file"]):
            cgroup.systemd["file"] = ""
        cgroup.systemd["inode"] = _inode_of(cgroup)
    run.state.cgroup = cgroup.to_state()
    run.state.save()


@carries_out(SystemdJoin)
def systemd_join(run: HostRun, step: SystemdJoin) -> None:
    """Move init into the unit's cgroup in each v1 hierarchy where systemd has not done so."""
    cgroup = _cgroup(run)
    layout = probe()
    own = parse_own(files.read(f"/proc/{run.pid}/cgroup"))
    there = [name for name, path in cgroup.paths.items() if layout.directory(name, own.get(name, "/")) == path]
    cgroup.join(run.pid, skip=there)


@carries_out(SystemdProperties)
def systemd_properties(run: HostRun, step: SystemdProperties) -> None:
    """Have systemd set the limits."""
    cgroup = _cgroup(run)
    units.set_properties(_bus(run), _unit(cgroup), step.properties)
    if cgroup.mode != "v2":
        # For a device list, systemd begins to use the devices hierarchy for the slices above the unit, and moves all
        # processes below up into them: move init back.
        systemd_join(run, SystemdJoin())


def set_properties(cgroup: Cgroup, properties: Sequence[Property]) -> None:
    """Have systemd set the limits of an existing container, for update. Raises Error."""
    if cgroup.systemd is not None and properties:
        _call(cgroup.systemd, units.set_properties, properties)


def attach(cgroup: Cgroup, pid: int, below: str = "") -> None:
    """Have systemd move a process into the unit's cgroup, or into `below`, a path relative to it.

    A user needs this for a process outside the cgroups delegated to the user, which systemd may move, but we may not.
    Raises Error.
    """
    if cgroup.systemd is not None:
        _call(cgroup.systemd, units.attach, pid, "/" + below.lstrip("/") if below else "")


def stop(cgroup: Cgroup, connection: bus.Connection | None = None) -> None:
    """Stop a unit and kill everything in it. Cgroup.remove removes the directories that remain. Raises OSError.

    connection: one that is already open.

    systemd may have forgotten our unit and made someone else's of the same name: then ours is gone. It is not an error
    if systemd cannot be reached, since a unit without processes disappears by itself.
    """
    if cgroup.systemd is None or _is_forgotten(cgroup):
        return
    unit, own = cgroup.systemd["unit"], None
    try:
        if connection is None:
            connection = own = bus.connect(cgroup.systemd["addresses"])
        inode = _inode_of(cgroup)
        if inode and cgroup.systemd.get("inode") == inode:
            whose = "ours"
        else:
            whose = units.whose(connection, unit, cgroup.systemd["description"])
        if whose == "other":
            cgroup.paths, cgroup.created = {}, []
            return
        # Kill everything first: systemd would send SIGTERM and wait.
        ending.kill_all(cgroup, SIGKILL)
        if whose == "ours":
            units.stop(connection, unit, lambda: _is_forgotten(cgroup))
    except Error as error:
        if any(files.is_present(path) for path in cgroup.paths.values()):
            log.warning(f"{error}; removing {unit} without systemd")
            ending.kill_all(cgroup, SIGKILL)
            time.sleep(NOTICE)
    finally:
        if own is not None:
            own.close()


def _inode_of(cgroup: Cgroup) -> int:
    """Return the inode of the unit's cgroup in the hierarchy that systemd uses, 0 if it is gone."""
    path = cgroup.paths.get("" if cgroup.mode == "v2" else "name=systemd", "")
    try:
        return posix.stat(path).st_ino
    except OSError:
        return 0


def _is_forgotten(cgroup: Cgroup) -> bool:
    """Whether systemd has no unit of that name any more, as is usual after its end.

    We need not ask: systemd keeps a file for each unit, even for failed ones.
    """
    file = cgroup.systemd["file"] if cgroup.systemd is not None else ""
    return bool(file and cgroup.paths) and not files.is_present(file)


def _call(unit: dict[str, Any], work: Callable[..., None], *arguments: object) -> None:
    connection = bus.connect(unit["addresses"])
    try:
        work(connection, unit["unit"], *arguments)
    finally:
        connection.close()


def _bus(run: HostRun) -> bus.Connection:
    if run.bus is None:
        raise Error("internal error: there is no connection to systemd")
    return run.bus


def _cgroup(run: HostRun) -> Cgroup:
    if run.cgroup is None:
        raise Error("internal error: the cgroup has not been made yet")
    return run.cgroup


def _unit(cgroup: Cgroup) -> str:
    return str(cgroup.systemd["unit"]) if cgroup.systemd is not None else ""
