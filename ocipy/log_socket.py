"""The log of --log journald:NAME and syslog:NAME: a datagram for each record."""

from __future__ import annotations

import posix

from ocipy.errors import printable
from ocipy.linux import _kernel
from ocipy.linux.constants import SOCK_DGRAM

SOCKETS = {"journald": "/run/systemd/journal/socket", "syslog": "/dev/log"}
# syslog(3); LOG_USER is the facility of ordinary programs.
PRIORITIES = {"error": 3, "warning": 4, "debug": 7}
LOG_USER = 1 << 3


def send(receiver: str, name: str, level: str, text: str) -> None:
    """Send a record to journald or syslog. name: of the program, as the record gives it. Raises OSError."""
    message = (journal_entry if receiver == "journald" else syslog_line)(name, level, text)
    fd = _kernel.connect_unix(SOCKETS[receiver], SOCK_DGRAM)
    try:
        _kernel.send(fd, message)
    finally:
        posix.close(fd)


def journal_entry(name: str, level: str, text: str) -> bytes:
    """A record in the journal's native protocol: one field per line, and no newlines in a field."""
    fields = f"PRIORITY={PRIORITIES[level]}\nSYSLOG_IDENTIFIER={printable(name)}\nMESSAGE={printable(text)}\n"
    return fields.encode("utf-8", "surrogateescape")


def syslog_line(name: str, level: str, text: str) -> bytes:
    """A record in the form of RFC 3164 used on /dev/log. The receiver adds the time."""
    priority = LOG_USER | PRIORITIES[level]
    return f"<{priority}>{printable(name)}[{posix.getpid()}]: {printable(text)}".encode("utf-8", "surrogateescape")
