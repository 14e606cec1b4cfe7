"""What the host sets on the process by its pid: process.oomScoreAdj, and its CPU affinity."""

from __future__ import annotations

import errno
import posix

from ocipy import log
from ocipy.errors import Error, caused_by
from ocipy.host.context import carries_out
from ocipy.linux.constants import O_CLOEXEC, O_WRONLY
from ocipy.linux.files import read_file
from ocipy.plan.process import OomScoreAdj, ResetAffinity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(OomScoreAdj)
def oom_score_adj(run: HostRun, step: OomScoreAdj) -> None:
    """Write /proc/PID/oom_score_adj. Lowering it below an earlier minimum needs CAP_SYS_RESOURCE (proc(5))."""
    path = f"/proc/{run.pid}/oom_score_adj"
    try:
        fd = posix.open(path, O_WRONLY | O_CLOEXEC)
        try:
            posix.write(fd, str(step.score).encode())
        finally:
            posix.close(fd)
    except OSError as error:
        if error.errno != errno.EACCES:
            raise caused_by(error, f"cannot set oom_score_adj to {step.score}") from None
        current = int(read_file(path))
        if current == step.score:
            return
        if step.rootless:
            # Engines pass the daemon's or the user's defaults, which an ordinary user may not be able to set.
            log.warning(f"/process/oomScoreAdj: it stays at {current}: lowering it needs CAP_SYS_RESOURCE")
            return
        raise Error(
            f"cannot set oom_score_adj to {step.score}",
            errno=errno.EACCES,
            hint=f"it is {current}, and lowering it needs CAP_SYS_RESOURCE, which the runtime lacks",
        ) from None


@carries_out(ResetAffinity)
def reset_affinity(run: HostRun, step: ResetAffinity) -> None:
    """Allow all CPUs that the cgroup permits, even if the caller is pinned to some.

    This applies to init; or to us if init does not exist yet (exec), and init inherits it. The kernel narrows the mask
    to the cgroup's cpuset, but never widens an inherited one (cpuset(7)).
    """
    count = posix.cpu_count()
    if count is None or len(posix.sched_getaffinity(0)) >= count:
        return
    try:
        posix.sched_setaffinity(run.pid, range(count))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
