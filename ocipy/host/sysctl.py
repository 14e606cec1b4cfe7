"""linux.sysctl set by the host: for a container whose pid namespace contains other processes.

They may look at what init holds, and through its procfs with /proc/sys they could write the host's own parameters. So a
child process does it, which enters all of init's namespaces except that one (setns(2)).
"""

from __future__ import annotations

from ocipy.children import once
from ocipy.errors import Error
from ocipy.init.stage import take_root_ids
from ocipy.init.sysctl import write
from ocipy.linux import _kernel
from ocipy.plan.namespaces import flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocipy.host.context import HostRun


def host_sysctl(run: HostRun, *, kinds: Sequence[str], path: str, value: str) -> None:
    """Write one parameter. kinds: the namespace that it belongs to, and the user namespace, if any."""

    def work() -> bytes:
        try:
            _kernel.setns(run.pidfd, flags_of(kinds))
        except OSError as error:
            raise Error(f"cannot join the {' and '.join(kinds)} namespace", errno=error.errno or 0) from None
        if "user" in kinds:
            take_root_ids()
        write(run.fds["procfs/sysctl"], path, value)
        return b""

    once.in_child("writing a kernel parameter", work)


ACTIONS: dict[str, Callable[..., None]] = {"host_sysctl": host_sysctl}
