"""Units of systemd, made, changed and stopped by D-Bus (org.freedesktop.systemd1(5)). A cold module: jeepney.

Either by systemd's own socket, where every message is for it and every signal comes unasked, or by a message bus.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, MessageType, Parser, new_method_call
from jeepney.bus import get_connectable_addresses

from ocipy.errors import Error

SERVICE = "org.freedesktop.systemd1"
MANAGER = DBusAddress("/org/freedesktop/systemd1", SERVICE, SERVICE + ".Manager")
BROKER = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
PROPERTIES = "org.freedesktop.DBus.Properties"
JOB_REMOVED = f"type='signal',sender='{SERVICE}',interface='{SERVICE}.Manager',member='JobRemoved'"
# The tail of the address of a socket of systemd's own.
OWN_SOCKET = "/systemd/private"
PATIENCE = 30.0  # seconds, for a job and for an answer
CONNECT_PATIENCE = 5.0
NO_UNIT = SERVICE + ".NoSuchUnit"
UNIT_EXISTS = SERVICE + ".UnitExists"
BOOTED = "/run/systemd/system"  # sd_booted(3)


class Refused(Error):
    """An error that systemd, or the bus, answered. name: its D-Bus name."""

    __slots__ = ("name",)

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what)
        self.name = name


def main(data: bytes) -> bytes:
    """Carry out a request of host/systemd.py. The connection is kept for the next. Raises Error."""
    request = json.loads(data)
    try:
        return json.dumps(REQUESTS[request["do"]](request)).encode()
    except TimeoutError:
        raise Error(f"systemd did not answer within {PATIENCE:.0f} s") from None
    except OSError as error:
        raise Error("the connection to systemd has broken", errno=error.errno or errno.ECONNRESET) from None


_connection: Connection | None = None


def connection(request: dict[str, Any]) -> Connection:
    """The connection, by the first of the request's addresses that gives one. Raises Error."""
    global _connection
    if _connection is None:
        _connection = connect(request["addresses"], bool(request.get("user")))
    return _connection


def connect(addresses: list[str], user: bool) -> Connection:
    """The first address that works. Raises Error that says which did not."""
    failures = []
    for address in addresses:
        try:
            for place in get_connectable_addresses(address):
                return Connection(open_socket(place), address)
            failures.append(f"{address}: not an address that can be connected to")
        except (OSError, RuntimeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            failures.append(f"{address}: {reason}")
    if user:
        hint = "without root it takes a login session with a systemd of its own, and XDG_RUNTIME_DIR set to its place"
    elif os.path.isdir(BOOTED):
        hint = "systemd runs, but does not let us in"
    else:
        hint = "this host was not booted with systemd"
    hint += "; leave --systemd-cgroup out: podman --cgroup-manager=cgroupfs, Docker native.cgroupdriver=cgroupfs"
    raise Error("cannot connect to systemd: " + ("; ".join(failures) or "no address is known"), hint=hint)


def open_socket(place: str | bytes) -> socket.socket:
    """Connect and authenticate (D-Bus specification, "Authentication Protocol"). Raises OSError, ValueError.

    EXTERNAL without a name: we are whom the kernel says, also in a user namespace, where our uid has another number.
    All in one write, as systemd's own programs do it: its server overlooks a call that it reads together with BEGIN.
    """
    stream = socket.socket(socket.AF_UNIX)
    try:
        stream.settimeout(CONNECT_PATIENCE)
        stream.connect(place)
        stream.sendall(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")
        _expect(stream, b"DATA")
        _expect(stream, b"OK ")
    except BaseException:
        stream.close()
        raise
    return stream


def _expect(stream: socket.socket, beginning: bytes) -> None:
    line = b""
    while not line.endswith(b"\r\n"):
        part = stream.recv(1)
        if not part or len(line) > 1000:
            raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        line += part
    if not line.startswith(beginning):
        raise ValueError(f"the answer to the authentication is {line.strip().decode(errors='replace')!r}")


class Connection:
    """Calls, and the signals of jobs that end."""

    def __init__(self, stream: socket.socket, address: str) -> None:
        self.address = address
        self._stream = stream
        self._parser = Parser()
        self._serial = 0
        self._results: dict[str, str] = {}
        if not address.partition(",")[0].endswith(OWN_SOCKET):
            self.call(BROKER, "Hello")
            self.call(BROKER, "AddMatch", "s", JOB_REMOVED)
            self.call(MANAGER, "Subscribe")

    def call(self, target: DBusAddress, method: str, signature: str = "", *body: Any) -> tuple[Any, ...]:
        """Call a method. Raises Refused, OSError, TimeoutError."""
        message = new_method_call(target, method, signature or None, body)
        self._serial += 1
        serial = self._serial
        self._stream.settimeout(PATIENCE)
        self._stream.sendall(message.serialise(serial=serial))
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            if answer.header.fields.get(HeaderFields.reply_serial) != serial:
                continue
            if answer.header.message_type is MessageType.error:
                text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else "it gave no reason"
                name = answer.header.fields[HeaderFields.error_name]
                raise Refused(f"systemd refused {method}: {text}", name)
            return tuple(answer.body)

    def _receive(self, deadline: float) -> Message:
        while True:
            message = self._parser.get_next_message()
            if message is not None:
                if message.header.fields.get(HeaderFields.member) == "JobRemoved":
                    _, job, _, result = message.body
                    self._results[job] = result
                return message
            self._stream.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._stream.recv(65536)
            if not data:
                raise OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            self._parser.add_data(data)

    def wait(self, job: str) -> str:
        """The result of a job, "done" where it went well. Raises TimeoutError, OSError."""
        deadline = time.monotonic() + PATIENCE
        while job not in self._results:
            self._receive(deadline)
        return self._results.pop(job)

    def property(self, path: str, interface: str, name: str) -> Any:
        """A property of an object. Raises Refused."""
        return self.call(DBusAddress(path, SERVICE, PROPERTIES), "Get", "ss", interface, name)[0][1]

    def settle(self) -> None:
        """Come back when systemd has done what it put off: it does so before it looks at the next message."""
        self.call(DBusAddress(MANAGER.object_path, SERVICE, "org.freedesktop.DBus.Peer"), "Ping")

    def version(self) -> int:
        """Of systemd: 252 of "252.39-1~deb12u2" or "v252"."""
        digits = ""
        for character in str(self.property(MANAGER.object_path, SERVICE + ".Manager", "Version")).lstrip("v"):
            if not character.isdigit():
                break
            digits += character
        return int(digits or 0)


def values(properties: list[list[Any]], version: int) -> list[tuple[str, tuple[str, Any]]]:
    """The properties that this version has, as D-Bus wants them."""
    return [
        (name, (signature, bytes(value) if signature == "ay" else _unlisted(value)))
        for name, signature, value, since in properties
        if version >= since
    ]


def _unlisted(value: Any, inner: bool = False) -> Any:
    """JSON has no tuples: in an array of structures the inner lists are meant to be some."""
    if not isinstance(value, list):
        return value
    parts = [_unlisted(part, True) for part in value]
    return tuple(parts) if inner else parts


def do_connect(request: dict[str, Any]) -> dict[str, Any]:
    """Connect; where the manager's own cgroup is."""
    bus = connection(request)
    root = str(bus.property(MANAGER.object_path, SERVICE + ".Manager", "ControlGroup"))
    return {"address": bus.address, "root": root.rstrip("/")}


def do_start(request: dict[str, Any]) -> dict[str, Any]:
    """Make a transient unit with a process in it, and wait until that is there. One that has failed makes place.

    Raises Error.
    """
    bus = connection(request)
    unit = request["unit"]
    properties = [*values(request["properties"], bus.version()), ("PIDs", ("au", [request["pid"]]))]
    try:
        try:
            job = _start(bus, unit, properties)
        except Refused as error:
            if error.name != UNIT_EXISTS:
                raise
            _forget(bus, unit)
            job = _start(bus, unit, properties)
    except Refused as error:
        if error.name == UNIT_EXISTS:
            return {"exists": True}
        raise Error(f"cannot make the unit {unit}: {error.what}") from None
    result = bus.wait(job)
    if result != "done":
        _forget(bus, unit)
        raise Error(
            f"cannot make the unit {unit}: its job ended with {result!r}",
            hint=f"what systemd has to say about it: journalctl _PID=1, or --user; grep {unit}",
        )
    bus.settle()
    return {}


def _start(bus: Connection, unit: str, properties: list[tuple[str, tuple[str, Any]]]) -> str:
    return str(bus.call(MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "replace", properties, [])[0])


def do_set(request: dict[str, Any]) -> dict[str, Any]:
    """Change properties of a unit, for as long as it runs. Raises Error."""
    bus = connection(request)
    properties = values(request["properties"], bus.version())
    if not properties:
        return {}
    try:
        bus.call(MANAGER, "SetUnitProperties", "sba(sv)", request["unit"], True, properties)
    except Refused as error:
        raise Error(f"cannot set properties of the unit {request['unit']}: {error.what}") from None
    bus.settle()
    return {}


def do_attach(request: dict[str, Any]) -> dict[str, Any]:
    """Move a process into a unit's cgroup, or one below it."""
    arguments = (request["unit"], request["below"], [request["pid"]])
    connection(request).call(MANAGER, "AttachProcessesToUnit", "ssau", *arguments)
    return {}


def do_whose(request: dict[str, Any]) -> dict[str, Any]:
    """Whose a unit is, by its description: "ours", "other", or "gone" if there is none."""
    bus = connection(request)
    try:
        path = str(bus.call(MANAGER, "GetUnit", "s", request["unit"])[0])
    except Refused as error:
        if error.name != NO_UNIT:
            raise
        return {"whose": "gone"}
    found = bus.property(path, SERVICE + ".Unit", "Description")
    return {"whose": "ours" if found == request["description"] else "other"}


def do_stop(request: dict[str, Any]) -> dict[str, Any]:
    """Stop a unit and have it forgotten."""
    bus = connection(request)
    unit = request["unit"]
    try:
        bus.wait(str(bus.call(MANAGER, "StopUnit", "ss", unit, "replace")[0]))
    except Refused as error:
        if error.name != NO_UNIT:
            raise
        return {}
    _forget(bus, unit)
    return {}


def _forget(bus: Connection, unit: str) -> None:
    """A unit that failed stays until it is told not to; one that did not is gone already."""
    try:
        bus.call(MANAGER, "ResetFailedUnit", "s", unit)
    except Refused:
        pass


REQUESTS = {
    "attach": do_attach,
    "connect": do_connect,
    "set": do_set,
    "start": do_start,
    "stop": do_stop,
    "whose": do_whose,
}
