"""Check namespaces that are joined by path: a sysctl or hostname must not change the host's."""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.host.context import carries_out
from ocipy.plan.shared_namespace import NotOurNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun

FILES = {"ipc": "ipc", "network": "net", "uts": "uts", "user": "user"}


@carries_out(NotOurNamespace)
def not_our_namespace(run: HostRun, step: NotOurNamespace) -> None:
    """Raise Error if the joined namespace is the runtime's: a change there would affect the host."""
    joined = posix.fstat(run.fds.namespaces[step.kind])
    ours = posix.stat("/proc/self/ns/" + FILES[step.kind])
    if (joined.st_dev, joined.st_ino) == (ours.st_dev, ours.st_ino):
        raise Error(
            f"the container joins the {step.kind} namespace of the host, where this would affect the host",
            hint=f"remove it, or give the container its own {step.kind} namespace",
        )
