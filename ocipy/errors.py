"""ocipy's only error: what failed, for which field of config.json, and the likely cause.

It is printed like this (docs/errors.md)::

    ocipy: create web: /mounts/3: cannot bind /srv/data on /data: No such file or directory
      the source does not exist on the host; create it or remove the mount
"""

from __future__ import annotations

import errno as numbers
from posix import strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any

    Hint = str | Mapping[int, str] | Callable[[OSError], str]

LONGEST_TEXT = 4096
"""Characters of a text in an error. The rest is cut off, so that each error fits into a message (linux/channel.py)."""


LONGEST_PLACE = 1024
"""Characters of a text that names a place: an id, a pointer, a file name."""

# The likely causes of errnos, for errors that give no other hint.
CAUSES = {
    numbers.EACCES: "the mode of a file or directory on the path denies it, or a security module does",
    numbers.EAGAIN: "a limit is reached, most often the one on processes (RLIMIT_NPROC, pids.max, kernel.pid_max)",
    numbers.EDQUOT: "a quota is used up: the user's disk quota, or the quota for keys (kernel.keys.maxkeys)",
    numbers.EIO: "a device or a filesystem on it has failed",
    numbers.EMFILE: "the runtime has reached its own limit on open files (RLIMIT_NOFILE)",
    numbers.ELOOP: "symbolic links on the path form a loop, or a symbolic link is where none is allowed",
    numbers.ENFILE: "the host has reached its limit on open files (fs.file-max)",
    numbers.ENOMEM: "the host or the cgroup has run out of memory",
    numbers.ENOSPC: "a filesystem is full (or out of inodes), or a limit in /proc/sys/user is reached",
    numbers.ENOSYS: "the kernel is too old or was built without it, or a sandbox around the runtime forbids it",
    numbers.ENOTDIR: "a file is where the path needs a directory",
    numbers.EPERM: "the runtime lacks a capability, or a sandbox or security module around it forbids it",
    numbers.EROFS: "the filesystem is read-only",
}


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, or its beginning and its length if it is too long: conmon passes at most 8 kB on to an engine."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def printable(text: str) -> str:
    """The text without anything that a terminal would act on, since it contains untrusted names and output.

    Newlines, control characters and bytes that are not UTF-8 become escapes in Python's notation.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _printable(character) for character in text)


def _printable(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        code -= 0xDC00
    elif code > 0xFF:
        return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    return {10: "\\n", 9: "\\t", 13: "\\r"}.get(code) or f"\\x{code:02x}"


def in_bytes(number: int) -> str:
    """A size for people to read: 104857600 bytes (100 MiB)."""
    units = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    power = min((abs(number).bit_length() - 1) // 10, len(units))
    if power <= 0:
        return f"{number} byte" if number == 1 else f"{number} bytes"
    unit = 1 << 10 * power
    shown = f"{number / unit:.4g}"
    exact = float(shown) * unit == number
    return f"{number} bytes ({'' if exact else 'about '}{shown} {units[power - 1]})"


def escape(name: object) -> str:
    """A member's name or an element's index as a token of a JSON pointer, with its slash (RFC 6901)."""
    return "/" + str(name).replace("~", "~0").replace("/", "~1")


def did_you_mean(word: str, known: Iterable[str], before: str) -> str:
    """A hint at the known word that a mistyped command or flag resembles, with `before` in front of it; "" if none
    does. Needs a complete Python.
    """
    import difflib

    found = difflib.get_close_matches(word, [name for name in known if len(name) > 1], 1)
    return f"did you mean {before}{found[0]}?" if found else ""


class Error(Exception):
    """A failure, reported to the user as one line and an optional second line of advice.

    what: what could not be done, in plain words. Engines match words in it (docs/errors.md), so use
        "permission denied", "not found" and the like only where they are meant.
    pointer: the JSON pointer of the config field that asked for it, or a file name, or "".
    errno: the kernel's answer; 0 if the kernel was not involved.
    hint: the likely cause and what to do; by default the errno's entry in CAUSES, or "". Printed, never logged.
    status: the exit status of the command.
    """

    __slots__ = ("errno", "hint", "pointer", "status", "what")

    def __init__(self, what: str, *, pointer: str = "", errno: int = 0, hint: str = "", status: int = 1) -> None:
        Exception.__init__(self, what)  # directly: the library's subclasses have other bases too
        self.what = what
        self.pointer = pointer
        self.errno = errno
        self.hint = hint or CAUSES.get(errno, "")
        self.status = status

    @property
    def line(self) -> str:
        """The error as one line, without the names of program, command and container."""
        text = shortened(self.what)
        if self.pointer:
            text = shortened(self.pointer, LONGEST_PLACE) + ": " + text
        if self.errno:
            text += ": " + strerror(self.errno)
        return printable(text)

    @property
    def advice(self) -> str:
        """The hint for a terminal, each line indented; "" if there is none."""
        return "".join(f"  {printable(line)}\n" for line in self.hint.split("\n") if self.hint)

    def __str__(self) -> str:
        return self.line

    def to_message(self) -> dict[str, Any]:
        """The error as plain data, which the init process sends to the process on the host."""
        return {
            "what": self.what[:LONGEST_TEXT],
            "pointer": self.pointer[:LONGEST_TEXT],
            "errno": self.errno,
            "hint": self.hint[:LONGEST_TEXT],
            "status": self.status,
        }

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Error:
        """The reverse of to_message. Every member is checked, since the sender is not trusted. Never raises."""

        def text(key: str) -> str:
            value = message.get(key)
            return value[:LONGEST_TEXT] if isinstance(value, str) else ""

        def number(key: str, least: int, most: int) -> int:
            value = message.get(key)
            return value if isinstance(value, int) and least <= value <= most else least

        return cls(
            text("what"),
            pointer=text("pointer"),
            errno=number("errno", 0, 4095),
            hint=text("hint"),
            status=number("status", 1, 255),
        )


class reported_as:  # noqa: N801  named like contextlib.suppress, because it reads as part of the with statement
    """Turn an OSError raised in the block into an Error; any other exception passes.

    ::

        with reported_as("cannot open the log", pointer=path, hint={ENXIO: "it is a FIFO that nobody reads"}):
            fd = posix.open(path, O_WRONLY | O_NONBLOCK)

    what, pointer: as in Error.
    hint: a hint for any errno, or hints by errno, or a function that makes the hint from the OSError.

    Inside the block, catch errnos that are not failures. This is a class, since hot commands cannot import contextlib.
    """

    __slots__ = ("hint", "pointer", "what")

    def __init__(self, what: str, *, pointer: str = "", hint: Hint = "") -> None:
        self.what = what
        self.pointer = pointer
        self.hint = hint

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, OSError):
            raise caused_by(error, self.what, pointer=self.pointer, hint=self.hint) from None


def caused_by(error: OSError, what: str, *, pointer: str = "", hint: Hint = "", status: int = 1) -> Error:
    """The Error for an OSError, for callers that do not raise it at once. Parameters as in reported_as and Error."""
    errno = error.errno or 0
    if callable(hint):
        hint = hint(error)
    elif not isinstance(hint, str):
        hint = hint.get(errno, "")
    return Error(what, pointer=pointer, errno=errno, hint=hint, status=status)


def refused(error: OSError, step: str, pointer: str = "", status: int = 1) -> Error:
    """The Error for an OSError from a step that has no specific error text.

    step: as plan.model.Step names it, or the result of place_of.
    """
    return caused_by(error, f"the kernel refused the step {step}", pointer=pointer, status=status)


def place_of(traceback: TracebackType | None) -> str:
    """The innermost ocipy function outside ocipy.linux, as module.function: names the step if there is no plan."""
    place = "main"
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        if not module.startswith("ocipy.linux"):
            place = module.rpartition(".")[2] + "." + traceback.tb_frame.f_code.co_name
        traceback = traceback.tb_next
    return place
