"""ocipy update: change the limits of a container."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.bundle import parse
from ocipy.cli import Arguments, Flag
from ocipy.container.state import read_file
from ocipy.container.updating import update
from ocipy.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUMMARY = "change the limits of a container"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = (
    Flag("resources", "text", "take linux.resources from a file, - for standard input", aliases=("r",), metavar="FILE"),
    Flag("blkio-weight", "text", "weight of block I/O, 10 to 1000", metavar="N"),
    Flag("cpu-period", "text", "period of the CPU quota, in microseconds", metavar="N"),
    Flag("cpu-quota", "text", "CPU time in a period, in microseconds; -1 for no limit", metavar="N"),
    Flag("cpu-burst", "text", "CPU time that may be saved up beyond the quota, in microseconds", metavar="N"),
    Flag("cpu-share", "text", "weight of CPU time, 2 to 262144", metavar="N"),
    Flag("cpu-rt-period", "text", "period of the realtime budget, in microseconds", metavar="N"),
    Flag("cpu-rt-runtime", "text", "realtime budget in a period, in microseconds", metavar="N"),
    Flag("cpu-idle", "text", "1: only CPU time that nobody else wants", metavar="0|1"),
    Flag("cpuset-cpus", "text", "CPUs, such as 0-3,7", metavar="LIST"),
    Flag("cpuset-mems", "text", "memory nodes, such as 0-1", metavar="LIST"),
    Flag("memory", "text", "limit of memory, such as 100M; -1 for no limit", metavar="SIZE"),
    Flag("memory-reservation", "text", "memory that is not taken back while others have more", metavar="SIZE"),
    Flag("memory-swap", "text", "limit of memory and swap together; -1 for no limit", metavar="SIZE"),
    Flag("kernel-memory", "text", "limit of the kernel's memory", metavar="SIZE", hidden=True),
    Flag("kernel-memory-tcp", "text", "limit of the memory of TCP", metavar="SIZE", hidden=True),
    Flag("pids-limit", "text", "limit of processes and threads; -1 for no limit", metavar="N"),
    Flag("l3-cache-schema", "text", "not supported", metavar="SCHEMA"),
    Flag("mem-bw-schema", "text", "not supported", metavar="SCHEMA"),
)
NUMBERS = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
}
SIZES = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "kernel-memory": ("memory", "kernel"),
    "kernel-memory-tcp": ("memory", "kernelTCP"),
}
TEXTS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def run(arguments: Arguments) -> int:
    """Apply what the flags say, or what is in the file."""
    container_id = arguments.one("the container's ID")
    for name, words in (
        ("l3-cache-schema", "Intel RDT/CAT: l3 cache schema is not enabled"),
        ("mem-bw-schema", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ):
        if arguments.text(name):
            raise Error(words, hint="classes of service of the resctrl file system are not supported")
    change = from_flags(arguments)
    if arguments.text("resources"):
        if change:
            log.warning("with --resources the other flags have no effect")
        change = _from_file(arguments.text("resources"))
    update(arguments.root, container_id, change)
    return 0


def from_flags(arguments: Arguments) -> Any:
    """linux.resources with what the flags set. Raises Error."""
    change: dict[str, dict[str, Any]] = {}
    for table, convert in ((NUMBERS, number), (SIZES, size), (TEXTS, str)):
        for name, (part, member) in table.items():
            text = arguments.text(name)
            if not text:
                continue
            try:
                value: object = convert(text)
            except ValueError as error:
                raise Error(f"invalid value for {name}: {error}") from None
            change.setdefault(part, {})[member] = value
    return change


def _from_file(name: str) -> Any:
    path = "standard input" if name == "-" else name
    try:
        # A duplicate, since it is closed: the next file to be opened would become standard input.
        data = read_file(posix.dup(0) if name == "-" else name)
    except OSError as error:
        raise Error("cannot read the resources", pointer=path, errno=error.errno or 0) from None
    return parse(data, path)


def number(text: str) -> int:
    """A decimal number. Raises ValueError."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def size(text: str) -> int:
    """Bytes of a size as Docker writes it: 100M, 1.5g, 64 KiB, 512; units are powers of 1024. -1 is no limit."""
    if text == "-1":
        return -1
    unit = text.lower().lstrip("0123456789.")
    digits = text[: len(text) - len(unit)]
    unit = unit.lstrip(" ")
    shift = UNITS.get(unit[:1] if unit[:1] != "b" else "")
    if shift is None or unit[1 if shift else 0 :] not in ("", "b", "ib")[: 3 if shift else 2]:
        raise ValueError(f"invalid size: {text!r}")
    whole, point, fraction = digits.partition(".")
    if not whole.isdigit() or (point and not fraction.isdigit()):
        raise ValueError(f"invalid size: {text!r}")
    result: int = (int(whole + fraction) << shift) // 10 ** len(fraction)
    return result
