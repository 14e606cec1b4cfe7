"""process.user: init is root of its user namespace during setup, and gets uid, gid and additionalGids at the end.

See credentials(7).
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import caused_by, reported_as
from ocipy.init.context import carries_out
from ocipy.init.namespaces import leave_groups
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    SIGKILL,
)
from ocipy.plan.identity import BecomeRoot, GidUid, Groups, StdioOwner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(BecomeRoot)
def become_root(init: Init, step: BecomeRoot) -> None:
    """Become uid 0 and gid 0 of the user namespace, or take the process's ids if 0 is not mapped.

    Files made during setup get a mapped owner, and the caller's groups grant no access.
    """
    if step.drop_groups:
        leave_groups()
    try:
        posix.setresgid(0, 0, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _set_gid(step.gid)
    try:
        posix.setresuid(0, 0, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _set_uid(step.uid)
    # The kernel resets both when the ids change (prctl(2)). If the runtime has died meanwhile, our next wait shows it.
    _kernel.prctl(PR_SET_DUMPABLE, 0)
    _kernel.prctl(PR_SET_PDEATHSIG, SIGKILL)


@carries_out(StdioOwner)
def stdio_owner(init: Init, step: StdioOwner) -> None:
    """Make the user own the pipes, sockets and files among the standard streams, to let it reopen /dev/stdout etc.

    Not devices: /dev/null and the caller's terminal are the host's, and our own terminal has an owner. Nor files opened
    read-only: their owner could open them for writing.
    """
    for fd in (0, 1, 2):
        try:
            status = posix.fstat(fd)
        except OSError:
            continue
        kind = status.st_mode & S_IFMT
        if kind not in (S_IFIFO, S_IFSOCK, S_IFREG) or status.st_uid == step.uid:
            continue
        if kind == S_IFREG and not _is_writable(fd):
            continue
        try:
            posix.fchown(fd, step.uid, -1)
        except OSError as error:
            # Not ours to change (for example its owner is not mapped), or on a read-only filesystem.
            if error.errno not in (errno.EPERM, errno.EINVAL, errno.EROFS, errno.EOPNOTSUPP):
                raise


def _is_writable(fd: int) -> bool:
    try:
        posix.write(fd, b"")  # writes nothing, but fails with EBADF on a descriptor opened only for reading
    except OSError:
        return False
    return True


@carries_out(Groups)
def groups(init: Init, step: Groups) -> None:
    """Set exactly these additional groups."""
    try:
        posix.setgroups(list(step.gids))
    except OSError as error:
        if error.errno == errno.EPERM:
            # setgroups is denied here. That does not matter if the groups are in effect anyway.
            if not set(step.gids) - {step.gid} - set(posix.getgroups()):
                return
            hint = "setgroups is denied in this user namespace, or CAP_SETGID is missing"
        else:
            hint = "a group is not mapped in the container's user namespace" if error.errno == errno.EINVAL else ""
        what = f"cannot set the additional groups {', '.join(map(str, step.gids))}"
        raise caused_by(error, what, hint=hint) from None


@carries_out(GidUid)
def gid_uid(init: Init, step: GidUid) -> None:
    """Set the real, effective and saved group ids of the process, then its user ids."""
    _set_gid(step.gid)
    _set_uid(step.uid)


def _set_gid(gid: int) -> None:
    with reported_as(f"cannot become gid {gid}", pointer="/process/user/gid", hint=_hint):
        posix.setresgid(gid, gid, gid)


def _set_uid(uid: int) -> None:
    with reported_as(f"cannot become uid {uid}", pointer="/process/user/uid", hint=_hint):
        posix.setresuid(uid, uid, uid)


def _hint(error: OSError) -> str:
    if error.errno == errno.EINVAL:
        return "it is not mapped in the user namespace of the container"
    if error.errno == errno.EAGAIN:
        return "the user has reached RLIMIT_NPROC"
    return ""
