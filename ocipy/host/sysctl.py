"""linux.sysctl set by the host, for a container whose pid namespace contains other processes.

They may inspect init's descriptors, and through a procfs with /proc/sys they could write the host's own parameters. So
the runtime has a child write each parameter, after entering only the namespace that it belongs to and the user
namespace (setns(2)).
"""

from __future__ import annotations

from ocipy.children import once
from ocipy.errors import reported_as
from ocipy.host.context import carries_out
from ocipy.init.stage import take_root_ids
from ocipy.init.sysctl import write_parameter
from ocipy.linux import _kernel
from ocipy.plan.namespaces import flags_of
from ocipy.plan.sysctl import HostSysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(HostSysctl)
def host_sysctl(run: HostRun, step: HostSysctl) -> None:
    """Write one parameter. kinds: the namespace that it belongs to, and the user namespace, if any."""

    def work() -> bytes:
        with reported_as(f"cannot join the {' and '.join(step.kinds)} namespace"):
            _kernel.setns(run.pidfd, flags_of(step.kinds))
        if "user" in step.kinds:
            take_root_ids()
        write_parameter(run.fds.sysctl, step.path, step.value)
        return b""

    once.in_child("writing a kernel parameter", work)
