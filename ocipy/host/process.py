"""What the host sets on the process by its pid: process.oomScoreAdj, and execCPUAffinity, initial and final."""

from __future__ import annotations

import errno
import posix

from ocipy import log
from ocipy.errors import Error
from ocipy.linux.constants import O_CLOEXEC, O_WRONLY
from ocipy.linux.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocipy.host.context import HostRun


def oom_score_adj(run: HostRun, *, score: int, rootless: bool) -> None:
    """Write /proc/PID/oom_score_adj. Lowering it below an earlier minimum needs CAP_SYS_RESOURCE (proc(5))."""
    path = f"/proc/{run.pid}/oom_score_adj"
    try:
        fd = posix.open(path, O_WRONLY | O_CLOEXEC)
        try:
            posix.write(fd, str(score).encode())
        finally:
            posix.close(fd)
    except OSError as error:
        if error.errno != errno.EACCES:
            raise Error(f"cannot set oom_score_adj to {score}", errno=error.errno or 0) from None
        current = int(read_file(path))
        if current == score:
            return
        if rootless:
            # Engines pass the daemon's or the user's defaults, which an ordinary user may not be able to set.
            log.warning(f"/process/oomScoreAdj: it stays at {current}: lowering it needs CAP_SYS_RESOURCE")
            return
        raise Error(
            f"cannot set oom_score_adj to {score}",
            errno=errno.EACCES,
            hint=f"it is {current}, and lowering it needs CAP_SYS_RESOURCE, which the runtime lacks",
        ) from None


def reset_affinity(run: HostRun) -> None:
    """Allow all CPUs that the cgroup permits, even if the caller is pinned to some.

    For init; before init exists (exec), for us, and it inherits that. The kernel narrows the mask to the cgroup's
    cpuset, but never widens an inherited one (cpuset(7)).
    """
    count = posix.cpu_count()
    if count is None or len(posix.sched_getaffinity(0)) >= count:
        return
    try:
        posix.sched_setaffinity(run.pid, range(count))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise


def initial_affinity(run: HostRun, *, cpus: Sequence[int]) -> None:
    """Run on these CPUs from here on: the cloned process starts there (sched_setaffinity(2))."""
    _set_affinity(0, cpus)


def final_affinity(run: HostRun, *, cpus: Sequence[int]) -> None:
    """Set the CPUs of the process, now that it is in its cgroup."""
    _set_affinity(run.pid, cpus)


def _set_affinity(pid: int, cpus: Sequence[int]) -> None:
    try:
        posix.sched_setaffinity(pid, cpus)
    except OSError as error:
        hint = ""
        if error.errno == errno.EINVAL:
            hint = "none of them is online and in the cgroup's cpuset (linux.resources.cpu.cpus)"
        text = ",".join(map(str, cpus))
        raise Error(f"cannot run on the CPUs {text}", errno=error.errno or 0, hint=hint) from None


ACTIONS: dict[str, Callable[..., None]] = {
    "final_affinity": final_affinity,
    "initial_affinity": initial_affinity,
    "oom_score_adj": oom_score_adj,
    "reset_affinity": reset_affinity,
}
