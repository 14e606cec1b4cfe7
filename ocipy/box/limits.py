"""Errors about limits that cannot be set name their flags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ocipy import Error
from ocipy.box.request import Limits

RESOURCES = "/linux/resources/"
# By field of Limits: its flag, and its place in linux.resources.
FLAGS = {
    "memory": ("--memory", "memory/limit"),
    "memory_swap": ("--memory-swap", "memory/swap"),
    "memory_reservation": ("--memory-reservation", "memory/reservation"),
    "cpu_shares": ("--cpu-shares", "cpu/shares"),
    "cpu_quota": ("--cpus", "cpu/quota"),
    "cpu_period": ("--cpu-period", "cpu/period"),
    "cpuset_cpus": ("--cpuset-cpus", "cpu/cpus"),
    "pids": ("--pids-limit", "pids/limit"),
}
NO_CGROUP = "without root this needs a v2 cgroup that the user's systemd has delegated, and there is none"
# How the runtime's error begins if the cgroup lacks the file. Other refusals give their own reason.
REFUSED = "cannot set "
DELEGATE = (
    "systemd delegates controllers to a user through Delegate= in user@.service (systemctl edit user@.service); "
    "cgroup.controllers lists them"
)


def flags_of(limits: Limits) -> list[str]:
    """The flags of these limits. Pure."""
    unset = Limits()._asdict()
    return [FLAGS[name][0] for name, value in limits._asdict().items() if value != unset[name]]


def check_possible(limits: Limits, *, possible: bool) -> None:
    """Raise Error if there are limits, and the caller cannot make a cgroup with limits (possible is False)."""
    flags = flags_of(limits)
    if flags and not possible:
        raise Error(f"{', '.join(flags)}: {NO_CGROUP}", hint="run it as root, or without a limit")


@contextmanager
def named_by_flags(limits: Limits, *, rootless: bool) -> Iterator[None]:
    """Let the runtime's error about a limit name the flag instead of the field; without root, hint at delegation."""
    try:
        yield
    except Error as error:
        for flag, place in FLAGS.values():
            if error.pointer == RESOURCES + place:
                # --memory sets both.
                error.pointer = "--memory" if flag == "--memory-swap" and limits.memory_swap is None else flag
                if rootless and error.what.startswith(REFUSED):
                    error.hint = DELEGATE
        raise
