"""ocipy update: change the limits of a container."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.cli.arguments import Arguments, Flag
from ocipy.errors import Error, reported_as
from ocipy.linux.files import read_file
from ocipy.operations import bundle
from ocipy.operations.update import update

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SUMMARY = "change the limits of a container"
USAGE = "[FLAGS] ID"
UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def number(text: str) -> int:
    """A decimal number. Raises ValueError."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def size(text: str) -> int:
    """The bytes in a size in Docker's notation: 100M, 1.5g, 64 KiB, 512; units are powers of 1024. -1 means no limit.

    Raises ValueError.
    """
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


class Limit:
    """A flag for a member of linux.resources.

    member: (the part of the resources, the name in it). convert: turns the text into the value, or raises ValueError.
    """

    __slots__ = ("convert", "flag", "member")

    def __init__(
        self,
        name: str,
        member: tuple[str, str],
        convert: Callable[[str], object],
        help: str,
        metavar: str,
        *,
        hidden: bool = False,
    ) -> None:
        self.flag = Flag(name, "text", help, metavar=metavar, hidden=hidden)
        self.member = member
        self.convert = convert


LIMITS = (
    Limit("blkio-weight", ("blockIO", "weight"), number, "weight of block I/O, 10 to 1000", "N"),
    Limit("cpu-period", ("cpu", "period"), number, "period of the CPU quota, in microseconds", "N"),
    Limit("cpu-quota", ("cpu", "quota"), number, "CPU time in a period, in microseconds; -1 for no limit", "N"),
    Limit(
        "cpu-burst", ("cpu", "burst"), number, "unused CPU time that may exceed the quota later, in microseconds", "N"
    ),
    Limit("cpu-share", ("cpu", "shares"), number, "weight of CPU time, 2 to 262144", "N"),
    Limit("cpu-rt-period", ("cpu", "realtimePeriod"), number, "period of the realtime budget, in microseconds", "N"),
    Limit("cpu-rt-runtime", ("cpu", "realtimeRuntime"), number, "realtime budget in a period, in microseconds", "N"),
    Limit("cpu-idle", ("cpu", "idle"), number, "1: use only CPU time that no other cgroup wants", "0|1"),
    Limit("cpuset-cpus", ("cpu", "cpus"), str, "CPUs, such as 0-3,7", "LIST"),
    Limit("cpuset-mems", ("cpu", "mems"), str, "memory nodes, such as 0-1", "LIST"),
    Limit("memory", ("memory", "limit"), size, "memory limit, such as 100M; -1 for no limit", "SIZE"),
    Limit(
        "memory-reservation", ("memory", "reservation"), size, "memory that it may keep when memory is short",
        "SIZE",
    ),
    Limit("memory-swap", ("memory", "swap"), size, "limit on the sum of memory and swap; -1 for no limit", "SIZE"),
    Limit("kernel-memory", ("memory", "kernel"), size, "limit on kernel memory", "SIZE", hidden=True),
    Limit("kernel-memory-tcp", ("memory", "kernelTCP"), size, "limit on TCP's memory", "SIZE", hidden=True),
    Limit("pids-limit", ("pids", "limit"), number, "limit on processes and threads; -1 for no limit", "N"),
)  # fmt: skip
# Flags for members of linux.intelRdt.
SCHEMAS = (("l3-cache-schema", "l3CacheSchema"), ("mem-bw-schema", "memBwSchema"))
FLAGS: tuple[Flag, ...] = (
    Flag("resources", "text", "read linux.resources from FILE, - for standard input", aliases=("r",), metavar="FILE"),
    *(limit.flag for limit in LIMITS),
    Flag("l3-cache-schema", "text", "shares of the L3 cache, such as L3:0=7f0;1=1f", metavar="SCHEMA"),
    Flag("mem-bw-schema", "text", "memory bandwidth for each L3 cache, such as MB:0=20;1=70", metavar="SCHEMA"),
)


def run(arguments: Arguments) -> int:
    """Apply the flags, or the file."""
    container_id = arguments.one("the container's ID")
    change = from_flags(arguments)
    if arguments.text("resources"):
        if change:
            log.warning("the other flags have no effect with --resources")
        change = _from_file(arguments.text("resources"))
    schemas = {member: arguments.text(name) for name, member in SCHEMAS if arguments.text(name)}
    if schemas:
        from ocipy.operations.update_intel_rdt import update_schemata

        undo = update_schemata(arguments.root, container_id, schemas)
    try:
        update(arguments.root, container_id, change)
    except Error:
        if schemas:
            undo()
        raise
    return 0


def from_flags(arguments: Arguments) -> Any:
    """The flags as linux.resources. Raises Error."""
    change: dict[str, dict[str, Any]] = {}
    for limit in LIMITS:
        text = arguments.text(limit.flag.name)
        if not text:
            continue
        part, member = limit.member
        try:
            change.setdefault(part, {})[member] = limit.convert(text)
        except ValueError as error:
            hint = "give a number of bytes, or one with a unit: 512k, 100M, 1.5G" if limit.convert is size else ""
            raise Error(f"invalid value for {limit.flag.name}: {error}", hint=hint) from None
    return change


def _from_file(name: str) -> Any:
    path = "standard input" if name == "-" else name
    with reported_as("cannot read the resources", pointer=path):
        # read_file closes its descriptor: without a duplicate the next file opened would become standard input.
        data = read_file(posix.dup(0) if name == "-" else name)
    return bundle.parse(data, path)
