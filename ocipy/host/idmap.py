"""mounts[].uidMappings and gidMappings on the host: the user namespaces whose id maps the mounts get."""

from __future__ import annotations

import posix

from ocipy.errors import reported_as
from ocipy.host.context import carries_out
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import (
    CLONE_NEWUSER,
    CLONE_PIDFD,
    O_CLOEXEC,
    O_RDONLY,
    SIGCHLD,
)
from ocipy.plan.idmap import IdmapJoin, IdmapSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun


@carries_out(IdmapJoin)
def idmap_join(run: HostRun, step: IdmapJoin) -> None:
    """Open the user namespace that the container joins, whose id maps the mounts get."""
    run.id_maps[step.pointer] = posix.open(step.path, O_RDONLY | O_CLOEXEC)


@carries_out(IdmapSource)
def idmap_source(run: HostRun, step: IdmapSource) -> None:
    """Make a user namespace with these id maps, for mounts. Its only process exits once we have opened it."""
    reading, writing = posix.pipe()
    pid, pidfd = _kernel.clone3(CLONE_NEWUSER | CLONE_PIDFD, SIGCHLD, -1)
    if pid == 0:
        # Wait until the runtime closes its end: when it is done, or when it dies.
        try:
            posix.close(writing)
            posix.read(reading, 1)
        finally:
            posix._exit(0)
    posix.close(reading)
    posix.close(pidfd)
    try:
        for kind, triples in (("uid_map", step.uids), ("gid_map", step.gids)):
            lines = "".join(f"{inside} {outside} {size}\n" for inside, outside, size in triples)
            with reported_as(f"cannot write the id map {lines.strip()!r}"):
                procfs.write(run.fds.procfs, f"{pid}/{kind}", lines.encode())
        run.id_maps[step.pointer] = posix.open(f"{pid}/ns/user", O_RDONLY | O_CLOEXEC, dir_fd=run.fds.procfs)
    finally:
        posix.close(writing)
        posix.waitpid(pid, 0)
