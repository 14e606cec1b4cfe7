"""The log of --log: one record per line and per write, since all commands of a container append to one file.

By default only errors are logged, because podman parses the whole file as one record (docs/errors.md). As in crun, the
log may be the journal or syslog instead of a file.
"""

from __future__ import annotations

import posix
import time
from errno import ENXIO

from ocipy.errors import printable, reported_as
from ocipy.linux import _kernel
from ocipy.linux.constants import O_APPEND, O_CLOEXEC, O_CREAT, O_NOCTTY, O_NONBLOCK, O_WRONLY

TYPE_CHECKING = False


class _Settings:
    __slots__ = ("as_json", "debug", "path", "receiver")

    def __init__(self) -> None:
        self.path = ""
        self.receiver = "file"
        self.as_json = False
        self.debug = False


_settings = _Settings()


def configure(path: str, as_json: bool, debug: bool) -> None:
    """Set where and how to log, as the global flags --log, --log-format and --debug say.

    Raises Error now, not at the first record, if the file cannot be opened.
    """
    kind, colon, name = path.partition(":")
    if colon and kind in ("file", "journald", "syslog"):
        _settings.receiver, path = kind, name
    _settings.as_json = as_json
    _settings.debug = debug
    if path and _settings.receiver == "file":
        with reported_as("cannot open the log", pointer=path, hint={ENXIO: "it is a FIFO that nobody reads"}):
            posix.close(_open(path))
    _settings.path = path


def error(text: str) -> None:
    """Log the error that ends the command. The command line also writes it to standard error."""
    if _settings.path:
        _append("error", text)


def warning(text: str) -> None:
    """Warn on standard error; if there is a log, warn there instead, and only with --debug."""
    if _settings.path:
        if _settings.debug:
            _append("warning", text)
    else:
        write_stderr(f"ocipy: warning: {printable(text)}\n")


def is_debug() -> bool:
    """Whether debug() writes anything."""
    return _settings.debug


def debug(text: str) -> None:
    """With --debug, write the text to the log, or to standard error if there is no log."""
    if not _settings.debug:
        return
    if _settings.path:
        _append("debug", text)
    else:
        write_stderr(f"ocipy: {printable(text)}\n")


def write_stderr(text: str) -> None:
    """Write to standard error, which may be closed."""
    try:
        posix.write(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        pass


def _append(level: str, text: str) -> None:
    if _settings.receiver != "file":
        from ocipy.log_socket import send

        try:
            send(_settings.receiver, _settings.path, level, text)
        except OSError as problem:
            write_stderr(f"ocipy: cannot log to {_settings.receiver}: {posix.strerror(problem.errno or 0)}\n")
        return
    # RFC 3339 with a time zone: containerd rejects a time without one.
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if _settings.as_json:
        record = _kernel.json_dumps({"level": level, "msg": text, "time": moment}) + b"\n"
    else:
        quoted = _kernel.json_dumps(text).decode("utf-8", "surrogateescape")
        record = f'time="{moment}" level={level} msg={quoted}\n'.encode("utf-8", "surrogateescape")
    try:
        fd = _open(_settings.path)
    except OSError as problem:
        write_stderr(f"ocipy: cannot write the log {_settings.path}: {posix.strerror(problem.errno or 0)}\n")
        return
    try:
        posix.write(fd, record)
    except OSError as problem:
        write_stderr(f"ocipy: cannot write the log {_settings.path}: {posix.strerror(problem.errno or 0)}\n")
    posix.close(fd)


def _open(path: str) -> int:
    # Open it by name each time: a descriptor that we keep could have a number that the payload needs. O_NONBLOCK: a
    # FIFO without a reader, or with one that does not read, must not block us (fifo(7)).
    return posix.open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0o644)
