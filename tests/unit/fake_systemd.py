"""A fake systemd: the other side of a D-Bus connection, with prescribed answers. On a path that ends in "bus", it is a
message bus too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, HeaderFields, Message, Parser, new_error, new_method_return, new_signal

SERVICE = "org.freedesktop.systemd1"
OWNER = ":1.0"  # its unique name on a bus
MANAGER = DBusAddress("/org/freedesktop/systemd1", SERVICE, SERVICE + ".Manager")
GREETING = b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n"
PROPERTIES = {
    "Version": ("s", "252.39-1~deb12u2"),
    "ControlGroup": ("s", ""),
    "LoadState": ("s", "loaded"),
    "Description": ("s", "ocipy container web (/run/ocipy)"),
}


class Refusal(Exception):
    """An answer raises it to send a D-Bus error."""

    def __init__(self, name: str, text: str = "because") -> None:
        super().__init__(name)
        self.name = name
        self.text = text


class HangUp(Exception):
    """An answer raises it to end the connection."""


class FakeSystemd:
    """calls: the calls, (method, arguments). answers: by method, a function from the arguments to (signature, values).

    results: those of future jobs, in order, and "done" after that; None for a job that does not end.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.address = f"unix:path={path}"
        self.sender = OWNER if path.name == "bus" else ""
        self.calls: list[tuple[str, Any]] = []
        self.greeting = GREETING
        self.properties = dict(PROPERTIES)
        self.results: list[str | None] = []
        self.answers: dict[str, Callable[[Any], tuple[str, tuple[Any, ...]]]] = {
            "Get": lambda arguments: ("v", (self.properties[arguments[1]],)),
            "GetUnit": lambda arguments: ("o", ("/org/freedesktop/systemd1/unit/x",)),
            "GetNameOwner": lambda arguments: ("s", (OWNER,)),
            "Hello": lambda arguments: ("s", (":1.1",)),
            "StartTransientUnit": self.job,
            "StopUnit": self.job,
        }
        self._jobs = 0
        self._stream: socket.socket | None = None
        self._pending: list[Message] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()

    def job(self, arguments: Any) -> tuple[str, tuple[Any, ...]]:
        """Begin a job, and announce its end at once, even before the answer: systemd can be as quick."""
        self._jobs += 1
        path = f"/org/freedesktop/systemd1/job/{self._jobs}"
        result = self.results.pop(0) if self.results else "done"
        if result is not None:
            body = (self._jobs, path, arguments[0], result)
            self._pending.append(self.job_removed(body, self.sender))
        return "o", (path,)

    def job_removed(self, body: tuple[int, str, str, str], sender: str) -> Message:
        """The signal that a job has ended. sender: as a bus writes it; "" without a bus."""
        signal = new_signal(MANAGER, "JobRemoved", "uoss", body)
        if sender:
            signal.header.fields[HeaderFields.sender] = sender
        return signal

    def method(self, name: str) -> list[Any]:
        """The arguments of all calls of a method."""
        return [arguments for called, arguments in self.calls if called == name]

    def serve(self) -> None:
        """Serve one connection after another until the listener is closed."""
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            with stream:
                self._stream = stream
                try:
                    self._converse(stream)
                except (HangUp, OSError):
                    pass

    def close(self) -> None:
        for end in (self._listener, self._stream):
            try:
                if end is not None:
                    end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._listener.close()

    def _converse(self, stream: socket.socket) -> None:
        data = b""
        while not data.endswith(b"BEGIN\r\n"):
            part = stream.recv(4096)
            if not part:
                return
            data += part
        assert data == b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n"
        stream.sendall(self.greeting)
        parser = Parser()
        serial = 0
        while part := stream.recv(65536):
            parser.add_data(part)
            while (message := parser.get_next_message()) is not None:
                for answer in self._answers(message):
                    serial += 1
                    stream.sendall(answer.serialise(serial=serial))

    def _answers(self, message: Message) -> Iterator[Message]:
        method = message.header.fields[HeaderFields.member]
        self.calls.append((method, message.body))
        try:
            signature, values = self.answers.get(method, lambda arguments: ("", ()))(message.body)
        except Refusal as refusal:
            yield new_error(message, refusal.name, "s", (refusal.text,))
            return
        yield from self._pending
        self._pending.clear()
        yield new_method_return(message, signature or None, values)


@contextmanager
def fake_systemd(path: Path) -> Iterator[FakeSystemd]:
    """A serving one, on a socket with that path."""
    fake = FakeSystemd(path)
    thread = threading.Thread(target=fake.serve, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.close()
        thread.join()
