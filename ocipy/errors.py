"""The one error of ocipy: what failed, for which field of config.json, and the likely cause.

Printed so (docs/errors.md)::

    ocipy: create web: /mounts/3: cannot bind /srv/data on /data: No such file or directory
      the source does not exist on the host; create it or remove the mount
"""

from __future__ import annotations

import errno as numbers
from posix import strerror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any


LONGEST_TEXT = 4096
"""Characters of a text in a message; the rest is cut off, so that every error fits into one (linux/channel.py)."""


LONGEST_PLACE = 1024
"""Characters of what only says where: an id, a pointer, a file's name."""

# The likely cause of an answer, where who reports it knows no better.
CAUSES = {
    numbers.EACCES: "the mode of a file or directory on the way does not permit it, or a security module forbids it",
    numbers.EAGAIN: "a limit is reached: of processes (RLIMIT_NPROC, pids.max, kernel.pid_max), most often",
    numbers.EDQUOT: "a quota is used up: of a filesystem's user, or of keys (kernel.keys.maxkeys)",
    numbers.EIO: "a device or a filesystem below has failed",
    numbers.EMFILE: "the runtime has as many files open as its own RLIMIT_NOFILE permits",
    numbers.ELOOP: "symbolic links on the way lead in a circle, or there is one where none may be",
    numbers.ENFILE: "all of the host has as many files open as fs.file-max permits",
    numbers.ENOMEM: "no memory is left, on the host or within the cgroup's limit",
    numbers.ENOSPC: "a filesystem is full (or out of inodes), or a limit in /proc/sys/user is reached",
    numbers.ENOSYS: "the kernel is too old or was built without it, or a sandbox around the runtime forbids it",
    numbers.ENOTDIR: "a file stands where the path wants a directory",
    numbers.EPERM: "the runtime lacks a capability, or a sandbox or security module around it forbids it",
    numbers.EROFS: "the filesystem is read-only",
}


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """The text, or its beginning and how long it is: conmon reads no more than 8 kB of what an engine then shows."""
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def printable(text: str) -> str:
    """The text without what a terminal would act on: names and outputs in it are other people's.

    Line ends and control characters become escapes as Python writes them, bytes that are not UTF-8 as well.
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
    """A size for people: 104857600 bytes (100 MiB)."""
    unit, value = "", number
    for bigger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if abs(value) < 1024:
            break
        unit, value = bigger, value // 1024
    shift = ("", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB").index(unit) * 10
    if not shift:
        return f"{number} byte" if number == 1 else f"{number} bytes"
    shown = f"{number / (1 << shift):.4g}"
    exact = float(shown) * (1 << shift) == number
    return f"{number} bytes ({'' if exact else 'about '}{shown} {unit})"


def escape(name: object) -> str:
    """The name of a member, or the number of an element, as a part of a JSON pointer, with its slash (RFC 6901)."""
    return "/" + str(name).replace("~", "~0").replace("/", "~1")


class Error(Exception):
    """A failure that is reported to the user as one line, with an optional second line of advice.

    what: what could not be done, in plain words. Engines match words in it (docs/errors.md), so
        "permission denied", "not found" and the like stand only where they are meant.
    pointer: JSON pointer of the config field that asked for it, or a file name, or "".
    errno: the kernel's answer, 0 if the kernel had no part in it.
    hint: the likely cause and what to do, by default what CAUSES has, "" if not known. Never logged, only printed.
    status: the exit status of the command.
    """

    __slots__ = ("errno", "hint", "pointer", "status", "what")

    def __init__(self, what: str, *, pointer: str = "", errno: int = 0, hint: str = "", status: int = 1) -> None:
        Exception.__init__(self, what)  # not that of the library's other bases
        self.what = what
        self.pointer = pointer
        self.errno = errno
        self.hint = hint or CAUSES.get(errno, "")
        self.status = status

    @property
    def line(self) -> str:
        """The error in one line, without program, command and id."""
        text = shortened(self.what)
        if self.pointer:
            text = shortened(self.pointer, LONGEST_PLACE) + ": " + text
        if self.errno:
            text += ": " + strerror(self.errno)
        return printable(text)

    @property
    def advice(self) -> str:
        """The hint for a terminal: indented, as many lines as it has, "" if there is none."""
        return "".join(f"  {printable(line)}\n" for line in self.hint.split("\n") if self.hint)

    def __str__(self) -> str:
        return self.line

    def to_message(self) -> dict[str, Any]:
        """The error as plain data, to be sent from the init process to the host's."""
        return {
            "what": self.what[:LONGEST_TEXT],
            "pointer": self.pointer[:LONGEST_TEXT],
            "errno": self.errno,
            "hint": self.hint[:LONGEST_TEXT],
            "status": self.status,
        }

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Error:
        """The reverse of to_message. Every member is checked: the sender is not trusted, and an error stays one."""

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


def refused(error: OSError, step: str, pointer: str = "", status: int = 1) -> Error:
    """What the kernel has answered to a step that had no words of its own for it.

    step: as plan.model.Step names it, or what place_of tells.
    """
    return Error(f"the kernel refused the step {step}", pointer=pointer, errno=error.errno or 0, status=status)


def place_of(traceback: TracebackType | None) -> str:
    """The innermost function of ours above the kernel's door, as module.function: the step, where no plan has one."""
    place = "main"
    while traceback is not None:
        module = traceback.tb_frame.f_globals.get("__name__", "")
        if not module.startswith("ocipy.linux"):
            place = module.rpartition(".")[2] + "." + traceback.tb_frame.f_code.co_name
        traceback = traceback.tb_next
    return place
