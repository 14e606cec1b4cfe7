"""The connection to systemd (org.freedesktop.systemd1(5)): calls, replies, and the results of jobs.

It goes either over a message bus, which forwards only the signals that we ask for, or over systemd's own socket, where
systemd is the only peer and reports every change of every unit.
"""

from __future__ import annotations

import posix
import time
from errno import ECONNRESET

from ocipy.children.interrupts import check_interrupts
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN
from ocipy.linux.files import exists
from ocipy.systemd import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

SERVICE = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER_INTERFACE = SERVICE + ".Manager"
# The objects that we call: path, destination, interface.
MANAGER = (MANAGER_PATH, SERVICE, MANAGER_INTERFACE)
PEER = (MANAGER_PATH, SERVICE, "org.freedesktop.DBus.Peer")
BROKER = ("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
PROPERTIES = "org.freedesktop.DBus.Properties"
JOB_ENDED = b"JobRemoved"
JOB_REMOVED = f"type='signal',sender='{SERVICE}',interface='{MANAGER_INTERFACE}',member='JobRemoved',arg2="
# The properties that root_of and units.start need.
ABOUT_MANAGER = ("ControlGroup", "Version")
# D-Bus specification, "Authentication Protocol". EXTERNAL without a name: the kernel reports who we are, even in a user
# namespace, where our uid has another number. We send all of it in one write, as systemd's own programs do, and no call
# with it, since systemd's server misses a call that it reads together with BEGIN.
GREETING = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"
# How the paths of systemd's own sockets end.
OWN_SOCKET = "/systemd/private"
PATIENCE = 30.0  # seconds, for a job or a reply
CONNECT_PATIENCE = 5.0
LONGEST_LINE = 1000
BOOTED = "/run/systemd/system"  # sd_booted(3)


class Refused(Error):
    """An error reply from systemd or the bus. name: the error's D-Bus name."""

    __slots__ = ("name",)

    def __init__(self, what: str, name: str) -> None:
        super().__init__(what)
        self.name = name


def greet(address: str) -> Connection | None:
    """Open a connection and send the greeting, without waiting for a reply. Returns None if that fails."""
    try:
        return Connection(address, paths_of(address)[0])
    except (OSError, ValueError, IndexError):
        return None


def connect(
    addresses: Sequence[str], *, user: bool = False, interrupts: int = -1, greeted: Connection | None = None
) -> Connection:
    """Return a connection to the first address that works. Raises Error, which explains each failure.

    interrupts: a descriptor, checked during every wait (children/interrupts.py). greeted: the result of greet; used if
    it is for the first address, otherwise closed."""
    if greeted is not None:
        if greeted.address in addresses[:1] and greeted.is_ready(interrupts):
            return greeted
        greeted.close()
    failures = []
    for address in addresses:
        try:
            paths = paths_of(address)
            if not paths:
                failures.append(f"{address}: this kind of address is not supported")
            for path in paths:
                connection = Connection(address, path, interrupts)
                connection.authenticate()
                return connection
        except OSError as error:
            failures.append(f"{address}: {error.strerror or error}")
        except ValueError as error:
            failures.append(f"{address}: {error}")
    if user:
        hint = "without root this needs a login session with its own systemd, and that session's XDG_RUNTIME_DIR"
    elif exists(BOOTED):
        hint = "systemd is running, but refuses the connection"
    else:
        hint = "this host was not booted with systemd"
    hint += "; omit --systemd-cgroup: podman --cgroup-manager=cgroupfs, Docker native.cgroupdriver=cgroupfs"
    raise Error("cannot connect to systemd: " + ("; ".join(failures) or "no address is known"), hint=hint)


def paths_of(address: str) -> list[str]:
    """Return the socket paths in an address (D-Bus specification, "Server Addresses"). Skips abstract sockets."""
    paths = []
    for one in address.split(";"):
        transport, _, rest = one.partition(":")
        values = {}
        for pair in rest.split(","):
            key, _, value = pair.partition("=")
            values[key] = value
        if transport == "unix" and values.get("path"):
            paths.append(unescaped(values["path"]))
    return paths


def unescaped(value: str) -> str:
    """Undo the escapes in a value of an address. Raises ValueError."""
    first, *others = value.split("%")
    data = first.encode("utf-8", "surrogateescape")
    for part in others:
        data += bytes((int(part[:2], 16),)) + part[2:].encode("utf-8", "surrogateescape")
    return data.decode("utf-8", "surrogateescape")


def quoted(value: str) -> str:
    """Quote a value for a match rule (D-Bus specification, "Match Rules")."""
    return "'" + value.replace("'", "'\\''") + "'"


class Connection:
    """Sends calls, and receives replies and the results of jobs. Independent calls can be sent together.

    Raises OSError if it cannot connect. authenticate must be called first. The other methods raise Error if the peer
    has gone, if it is silent for PATIENCE, or if a signal ends us; Refused if a reply is an error.
    """

    __slots__ = (
        "_answers", "_asked", "_data", "_fd", "_interrupts", "_introduction", "_is_bus", "_is_greeted", "_known",
        "_results", "_serial", "_systemd", "_watched", "address",
    )  # fmt: skip

    def __init__(self, address: str, path: str, interrupts: int = -1) -> None:
        self.address = address
        self._data = b""
        self._serial = 0
        self._results: dict[str, str] = {}
        self._answers: dict[int, dbus.Message] = {}
        self._known: dict[str, str] = {}
        self._asked: dict[str, int] = {}
        self._interrupts = interrupts
        self._is_bus = not path.endswith(OWN_SOCKET)
        self._is_greeted = False
        self._introduction: tuple[int, int] | None = None
        self._systemd = ""  # systemd's unique name on a bus
        self._watched = ""  # the unit whose jobs the bus reports on
        self._fd = _kernel.connect_unix(path)
        try:
            self._write(GREETING)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    def authenticate(self) -> None:
        """Wait for the reply to the greeting and, on a message bus, to our introduction.

        If that fails, closes the connection and raises OSError, ValueError or Error.
        """
        try:
            self._begin()
            if self._introduction is not None:
                hello, owner = self._introduction
                self._introduction = None
                self._systemd = self._owner_of_name(hello, owner)
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Wait for the reply to the greeting. Then introduce us to a message bus, and ask it for systemd's name."""
        if not self._is_greeted:
            self._read_answer_to_greeting()
            self._is_greeted = True
            if self._is_bus:
                self._introduction = self.send(BROKER, "Hello"), self.send(BROKER, "GetNameOwner", "s", SERVICE)

    def _owner_of_name(self, hello: int, owner: int) -> str:
        try:
            self.answer(hello)
        except Refused:
            raise ValueError("the message bus does not accept us") from None
        try:
            return str(self.answer(owner)[0])
        except Refused:
            raise ValueError("systemd is not on this bus") from None

    def is_ready(self, interrupts: int) -> bool:
        """Authenticate a connection from greet, and check interrupts from now on. Returns False if it is unusable."""
        self._interrupts = interrupts
        if self._fd < 0:  # ask_ahead has seen it fail
            return False
        try:
            self.authenticate()
        except (OSError, ValueError):
            return False
        return True

    def ask_ahead(self) -> None:
        """Request the properties for root_of, if systemd has replied to the greeting by now. Does not wait or raise."""
        try:
            if _kernel.poll([(self._fd, POLLIN)], 0):
                self._begin()
                self._ask(ABOUT_MANAGER)
        except (Error, OSError, ValueError):
            self.close()  # connect tries again, and reports a failure

    def _read_answer_to_greeting(self) -> None:
        deadline = time.monotonic() + CONNECT_PATIENCE
        for beginning in (b"DATA", b"OK "):
            while b"\r\n" not in self._data:
                if len(self._data) > LONGEST_LINE:
                    raise ValueError("the reply to the authentication is incomplete")
                self._read(deadline)
            line, _, self._data = self._data.partition(b"\r\n")
            if not line.startswith(beginning):
                raise ValueError(f"the reply to the authentication is {line.decode('utf-8', 'replace')!r}")

    def _write(self, data: bytes) -> None:
        while data:
            data = data[_kernel.send(self._fd, data) :]

    def _read(self, deadline: float) -> None:
        """Read more data. Raises OSError, also at end of file, and TimeoutError."""
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
        """Call a method. Returns the call's serial number, for answer."""
        self._serial += 1
        try:
            self._write(dbus.call(self._serial, target, method, signature, body))
        except ValueError as problem:
            raise Error(f"{method} cannot be called: {problem}") from None
        except OSError as error:
            raise _broken(error) from None
        return self._serial

    def answer(self, serial: int, method: str = "") -> tuple[Any, ...]:
        """Wait for the reply to a call, and return its values. method: the call's name, for an error."""
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
        """Call a method, wait for the reply, and return its values."""
        return self.answer(self.send(target, method, signature, *body), method)

    def _receive(self, deadline: float) -> None:
        """Process the next message: a reply, the result of a job, or something that does not concern us."""
        try:
            while (size := dbus.size_of(self._data)) is None:
                self._read(deadline)
            data, self._data = self._data[:size], self._data[size:]
            # systemd's own socket reports every change of every unit.
            if dbus.kind_of(data) == dbus.SIGNAL and JOB_ENDED not in data:
                return
            message = dbus.read(data)
        except TimeoutError:
            raise Error(f"systemd did not answer within {PATIENCE:.0f} s") from None
        except OSError as error:
            raise _broken(error) from None
        except (ValueError, KeyError) as problem:
            raise Error(f"cannot parse systemd's message: {problem}") from None
        if message.kind in (dbus.RETURN, dbus.ERROR):
            self._answers[message.fields.get(dbus.REPLY_SERIAL, 0)] = message
        elif message.fields.get(dbus.MEMBER) == JOB_ENDED.decode("ascii", "replace") and self._is_from_systemd(message):
            _, job, _, result = _body_of(message)
            self._results[job] = result

    def _is_from_systemd(self, message: dbus.Message) -> bool:
        """Whether systemd sent a signal. Over a bus anybody may send us one, but the bus adds the sender's name."""
        return not self._is_bus or message.fields.get(dbus.SENDER) == self._systemd

    def call_job(self, unit: str, method: str, signature: str, *more: Any) -> str:
        """Call a method of the manager that makes a job for a unit. Returns the job, for wait.

        unit: also the call's first argument. systemd reports the end of a job on the bus as long as the caller is
        connected, without a subscription.
        """
        watched = 0
        if self._is_bus and unit != self._watched:
            watched = self.send(BROKER, "AddMatch", "s", JOB_REMOVED + quoted(unit))
        job = str(self.call(MANAGER, method, signature, unit, *more)[0])
        if watched:
            self.answer(watched, "AddMatch")
            self._watched = unit
        return job

    def wait(self, job: str) -> str:
        """Wait for a job to end, and return its result: "done" on success."""
        deadline = time.monotonic() + PATIENCE
        while job not in self._results:
            self._receive(deadline)
        return self._results.pop(job)

    def send_get(self, path: str, interface: str, name: str) -> int:
        """Request a property of an object. Returns the call's serial number."""
        return self.send((path, SERVICE, PROPERTIES), "Get", "ss", interface, name)

    def manager(self, *names: str) -> list[str]:
        """Return properties of the manager that never change, as text."""
        self._ask(names)
        for name in names:
            if name in self._asked:
                self._known[name] = str(self.answer(self._asked.pop(name), "Get")[0])
        return [self._known[name] for name in names]

    def _ask(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._known and name not in self._asked:
                self._asked[name] = self.send_get(MANAGER_PATH, MANAGER_INTERFACE, name)

    def version(self) -> int:
        """Return systemd's version: 252 for "252.39-1~deb12u2" or "v252"."""
        digits = ""
        for character in self.manager("Version")[0].lstrip("v"):
            if not character.isdigit():
                break
            digits += character
        return int(digits or 0)

    def send_settle(self) -> int:
        """Send a call that systemd answers only after its deferred work, which it does before it reads on."""
        return self.send(PEER, "Ping")


def _broken(error: OSError) -> Error:
    return Error("the connection to systemd broke", errno=error.errno or ECONNRESET)


def _body_of(message: dbus.Message) -> tuple[Any, ...]:
    try:
        return message.body
    except ValueError as problem:
        raise Error(f"cannot parse systemd's message: {problem}") from None


def root_of(bus: Connection) -> str:
    """Return the manager's own cgroup. Also requests its version, which is needed later."""
    return bus.manager(*ABOUT_MANAGER)[0].rstrip("/")
