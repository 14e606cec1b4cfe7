"""Units of systemd, made, changed and stopped by D-Bus (org.freedesktop.systemd1(5)).

Either by systemd's own socket, where every message is for it and every signal comes unasked, or by a message bus.
"""

from __future__ import annotations

import posix
import time
from errno import ECONNRESET

from ocipy.children.interrupts import check as check_interrupts
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN
from ocipy.systemd import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocipy.systemd.properties import Property

SERVICE = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER_INTERFACE = SERVICE + ".Manager"
# What is called: path, destination, interface.
MANAGER = (MANAGER_PATH, SERVICE, MANAGER_INTERFACE)
PEER = (MANAGER_PATH, SERVICE, "org.freedesktop.DBus.Peer")
BROKER = ("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
PROPERTIES = "org.freedesktop.DBus.Properties"
JOB_ENDED = b"JobRemoved"
JOB_REMOVED = f"type='signal',sender='{SERVICE}',interface='{MANAGER_INTERFACE}',member='JobRemoved'"
# The tail of the path of a socket of systemd's own.
OWN_SOCKET = "/systemd/private"
PATIENCE = 30.0  # seconds, for a job and for an answer
CONNECT_PATIENCE = 5.0
LONGEST_LINE = 1000
NO_UNIT = SERVICE + ".NoSuchUnit"
UNIT_EXISTS = SERVICE + ".UnitExists"
BOOTED = "/run/systemd/system"  # sd_booted(3)


class Refused(Error):
    """An error that systemd, or the bus, answered. name: its D-Bus name."""

    __slots__ = ("name",)

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what)
        self.name = name


def connect(addresses: Sequence[str], *, user: bool = False, interrupts: int = -1) -> Connection:
    """A connection by the first address that works. Raises Error that says which did not.

    interrupts: looked at in every wait (children/interrupts.py)."""
    failures = []
    for address in addresses:
        try:
            paths = paths_of(address)
            if not paths:
                failures.append(f"{address}: not an address that can be connected to")
            for path in paths:
                return Connection(address, path, interrupts)
        except OSError as error:
            failures.append(f"{address}: {error.strerror or error}")
        except ValueError as error:
            failures.append(f"{address}: {error}")
    if user:
        hint = "without root it takes a login session with a systemd of its own, and XDG_RUNTIME_DIR set to its place"
    elif _is_directory(BOOTED):
        hint = "systemd runs, but does not let us in"
    else:
        hint = "this host was not booted with systemd"
    hint += "; leave --systemd-cgroup out: podman --cgroup-manager=cgroupfs, Docker native.cgroupdriver=cgroupfs"
    raise Error("cannot connect to systemd: " + ("; ".join(failures) or "no address is known"), hint=hint)


def _is_directory(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o040000
    except OSError:
        return False


def paths_of(address: str) -> list[str]:
    """The paths of the sockets in an address (D-Bus specification, "Server Addresses"). An abstract one is nobody's."""
    paths = []
    for one in address.split(";"):
        transport, _, rest = one.partition(":")
        values = dict(pair.partition("=")[::2] for pair in rest.split(","))
        if transport == "unix" and values.get("path"):
            paths.append(unescaped(values["path"]))
    return paths


def unescaped(value: str) -> str:
    """A value of an address without its escapes. Raises ValueError."""
    first, *others = value.split("%")
    data = first.encode("utf-8", "surrogateescape")
    for part in others:
        data += bytes((int(part[:2], 16),)) + part[2:].encode("utf-8", "surrogateescape")
    return data.decode("utf-8", "surrogateescape")


class Connection:
    """Calls, and the signals of jobs that end. Calls that do not depend on each other are sent together.

    Raises, with all of its methods, Error where the other side has gone or says nothing for PATIENCE, or for a signal
    to us; Refused where an answer is an error.
    """

    __slots__ = ("_answers", "_data", "_fd", "_interrupts", "_known", "_results", "_serial", "address")

    def __init__(self, address: str, path: str, interrupts: int = -1) -> None:
        self.address = address
        self._data = b""
        self._serial = 0
        self._results: dict[str, str] = {}
        self._answers: dict[int, dbus.Message] = {}
        self._known: dict[str, str] = {}
        self._interrupts = interrupts
        self._fd = _kernel.connect_unix(path)
        try:
            self._authenticate()
        except BaseException:
            self.close()
            raise
        if not path.endswith(OWN_SOCKET):
            hello = self.send(BROKER, "Hello")
            match = self.send(BROKER, "AddMatch", "s", JOB_REMOVED)
            self.answer(hello)
            self.answer(match)
            self.call(MANAGER, "Subscribe")

    def close(self) -> None:
        """End it."""
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    def _authenticate(self) -> None:
        """D-Bus specification, "Authentication Protocol". Raises OSError, ValueError.

        EXTERNAL without a name: we are whom the kernel says, also in a user namespace, where our uid has another
        number. All in one write, as systemd's own programs do it: its server overlooks a call that it reads together
        with BEGIN.
        """
        self._write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        deadline = time.monotonic() + CONNECT_PATIENCE
        for beginning in (b"DATA", b"OK "):
            while b"\r\n" not in self._data:
                if len(self._data) > LONGEST_LINE:
                    raise ValueError("the answer to the authentication has no end")
                self._read(deadline)
            line, _, self._data = self._data.partition(b"\r\n")
            if not line.startswith(beginning):
                raise ValueError(f"the answer to the authentication is {line.decode('utf-8', 'replace')!r}")

    def _write(self, data: bytes) -> None:
        while data:
            data = data[_kernel.send(self._fd, data) :]

    def _read(self, deadline: float) -> None:
        """More data. Raises OSError at the end, TimeoutError."""
        left = max(deadline - time.monotonic(), 0.001)
        ready = _kernel.poll([(self._fd, POLLIN), (self._interrupts, POLLIN)], int(left * 1000))
        check_interrupts(self._interrupts)
        if not ready:
            raise TimeoutError("it does not answer")
        data = posix.read(self._fd, 65536)
        if not data:
            raise OSError(ECONNRESET, posix.strerror(ECONNRESET))
        self._data += data

    def send(self, target: tuple[str, str, str], method: str, signature: str = "", *body: Any) -> int:
        """Call a method; the number that its answer has."""
        self._serial += 1
        try:
            self._write(dbus.call(self._serial, target, method, signature, body))
        except ValueError as problem:
            raise Error(f"{method} cannot be called: {problem}") from None
        except OSError as error:
            raise _broken(error) from None
        return self._serial

    def answer(self, serial: int, method: str = "") -> tuple[Any, ...]:
        """The answer to a call."""
        deadline = time.monotonic() + PATIENCE
        while serial not in self._answers:
            self._receive(deadline)
        message = self._answers.pop(serial)
        body = _body_of(message)
        if message.kind == dbus.ERROR:
            text = body[0] if body and isinstance(body[0], str) else "it gave no reason"
            raise Refused(f"systemd refused {method}: {text}", message.fields.get(dbus.ERROR_NAME, ""))
        return body

    def call(self, target: tuple[str, str, str], method: str, signature: str = "", *body: Any) -> tuple[Any, ...]:
        """Call a method, and wait for its answer."""
        return self.answer(self.send(target, method, signature, *body), method)

    def _receive(self, deadline: float) -> None:
        """Take in the next message: an answer, the end of a job, or one that is not for us."""
        try:
            while (size := dbus.size_of(self._data)) is None:
                self._read(deadline)
            data, self._data = self._data[:size], self._data[size:]
            # systemd's own socket tells of all that changes.
            if dbus.kind_of(data) == dbus.SIGNAL and JOB_ENDED not in data:
                return
            message = dbus.read(data)
        except TimeoutError:
            raise Error(f"systemd did not answer within {PATIENCE:.0f} s") from None
        except OSError as error:
            raise _broken(error) from None
        except (ValueError, KeyError) as problem:
            raise Error(f"systemd's message cannot be read: {problem}") from None
        if message.kind in (dbus.RETURN, dbus.ERROR):
            self._answers[message.fields.get(dbus.REPLY_SERIAL, 0)] = message
        elif message.fields.get(dbus.MEMBER) == JOB_ENDED.decode("ascii", "replace"):
            _, job, _, result = _body_of(message)
            self._results[job] = result

    def wait(self, job: str) -> str:
        """The result of a job, "done" where it went well."""
        deadline = time.monotonic() + PATIENCE
        while job not in self._results:
            self._receive(deadline)
        return self._results.pop(job)

    def send_get(self, path: str, interface: str, name: str) -> int:
        """Ask for a property of an object."""
        return self.send((path, SERVICE, PROPERTIES), "Get", "ss", interface, name)

    def manager(self, *names: str) -> list[str]:
        """Properties of systemd's that do not change, as texts."""
        asked = {
            name: self.send_get(MANAGER_PATH, MANAGER_INTERFACE, name) for name in names if name not in self._known
        }
        for name, serial in asked.items():
            self._known[name] = str(self.answer(serial, "Get")[0])
        return [self._known[name] for name in names]

    def version(self) -> int:
        """Of systemd: 252 of "252.39-1~deb12u2" or "v252"."""
        digits = ""
        for character in self.manager("Version")[0].lstrip("v"):
            if not character.isdigit():
                break
            digits += character
        return int(digits or 0)

    def send_settle(self) -> int:
        """Its answer comes when systemd has done what it put off: it does so before it looks at the next message."""
        return self.send(PEER, "Ping")


def _broken(error: OSError) -> Error:
    return Error("the connection to systemd has broken", errno=error.errno or ECONNRESET)


def _body_of(message: dbus.Message) -> tuple[Any, ...]:
    try:
        return message.body
    except ValueError as problem:
        raise Error(f"systemd's message cannot be read: {problem}") from None


def root_of(bus: Connection) -> str:
    """The manager's own cgroup. What is asked for later is asked for as well."""
    return bus.manager("ControlGroup", "Version")[0].rstrip("/")


def _values(properties: Sequence[Property], version: int) -> list[tuple[str, tuple[str, Any]]]:
    """The properties that this version has, as D-Bus wants them."""
    return [(name, (signature, value)) for name, signature, value, since in properties if version >= since]


def start(bus: Connection, unit: str, properties: Sequence[Property], pid: int) -> int | None:
    """Make a transient unit with a process in it, and wait until that is there. One that has failed makes place.

    The number of the answer that comes when systemd has settled; None if there is a unit of that name that lives.
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
            hint=f"what systemd has to say about it: journalctl _PID=1, or --user; grep {unit}",
        )
    return bus.send_settle()


def _start(bus: Connection, unit: str, properties: list[tuple[str, tuple[str, Any]]]) -> str:
    return str(bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", properties, [])[0])


def set_properties(bus: Connection, unit: str, properties: Sequence[Property]) -> None:
    """Change properties of a unit, for as long as it runs. Raises Error."""
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
    """Move a process into a unit's cgroup, or one below it."""
    bus.call(MANAGER, "AttachProcessesToUnit", "ssau", unit, below, [pid])


def whose(bus: Connection, unit: str, description: str) -> str:
    """Whose a unit is, by its description: "ours", "other", or "gone" if there is none."""
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
    # One that goes between two questions is described by its name, and "not-found".
    return "gone" if bus.answer(loaded, "Get")[0] == "not-found" else "other"


def path_of(unit: str) -> str:
    """The path of a unit's object (sd_bus_path_encode(3))."""
    label = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 and (number or not chr(byte).isdigit()) else f"_{byte:02x}"
        for number, byte in enumerate(unit.encode("utf-8", "replace"))
    )
    return f"{MANAGER_PATH}/unit/{label or '_'}"


def stop(bus: Connection, unit: str, is_forgotten: Callable[[], bool]) -> None:
    """Stop a unit and have it forgotten. is_forgotten: says after its end whether it is already."""
    try:
        bus.wait(str(bus.call(MANAGER, "StopUnit", "ss", unit, "replace")[0]))
    except Refused as error:
        if error.name != NO_UNIT:
            raise
        return
    if not is_forgotten():
        _forget(bus, unit)


def _forget(bus: Connection, unit: str) -> None:
    """A unit that failed stays until it is told not to; one that did not is gone already."""
    try:
        bus.call(MANAGER, "ResetFailedUnit", "s", unit)
    except Refused:
        pass
