"""linux.timeOffsets and linux.netDevices: what the host puts into namespaces that init made."""

from __future__ import annotations

import errno
import posix

from ocipy import log
from ocipy.children.helper import Helper
from ocipy.errors import Error, reported_as
from ocipy.host.context import carries_out
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_RDONLY
from ocipy.plan.namespace_contents import NetDevices, TimeOffsets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.host.context import HostRun

NO_RIGHT = "setting the clocks needs CAP_SYS_TIME in the user namespace that owns the time namespace"
CLOCK_CAUSES = {
    errno.ERANGE: "the clocks must stay above 0, and below some 146 years from now",
    errno.EACCES: NO_RIGHT,
    errno.EPERM: NO_RIGHT,
}


@carries_out(TimeOffsets)
def time_offsets(run: HostRun, step: TimeOffsets) -> None:
    """Set the clock offsets of the new time namespace. offsets: (clock, seconds, nanoseconds)."""
    text = "".join(f"{clock} {seconds} {nanoseconds}\n" for clock, seconds, nanoseconds in step.offsets)
    fd, run.timens_offsets = run.timens_offsets, -1
    try:
        with reported_as("cannot set the clocks of the time namespace", hint=CLOCK_CAUSES):
            posix.write(fd, text.encode())  # all lines in one write, as the kernel requires
    finally:
        posix.close(fd)


@carries_out(NetDevices)
def net_devices(run: HostRun, step: NetDevices) -> None:
    """Move network devices of the host into the container's network namespace. devices: (name here, name there).

    A child moves them. If this create fails or is killed, it moves them back (runtime.md, Errors) before the namespace
    can disappear, and the devices with it.
    """
    namespace = posix.open(f"{run.pid}/ns/net", O_RDONLY | O_CLOEXEC, dir_fd=run.fds.procfs)
    try:
        run.lender = Helper("moving network devices", _load_lender, hint="this needs the Python package pyroute2")
    finally:
        posix.close(namespace)
    request = {"namespace": namespace, "devices": [list(device) for device in step.devices]}
    run.lender.ask(_kernel.json_dumps(request), run.interrupts)


def _load_lender() -> Callable[[bytes], bytes]:
    from ocipy.host.network_devices import main

    return main


def take_back(lender: Helper) -> None:
    """Have the child move the devices back and restore their state. Log what cannot be restored."""
    try:
        for problem in _kernel.json_loads(lender.ask(b"")):
            log.warning(f"/linux/netDevices: {problem}")
    except Error as error:
        log.warning(error.line)
    finally:
        lender.close()
