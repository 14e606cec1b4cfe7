"""linux.namespaces: join those with a path, and make or enter those that the clone could not make."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error, caused_by, reported_as
from ocipy.init.context import carries_out
from ocipy.init.lane import take_descriptor
from ocipy.linux import _kernel
from ocipy.linux.constants import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET
from ocipy.plan.namespaces import CLONE_FLAGS, EnterNetwork, UnshareCgroup, UnshareIpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.init.context import Init


def join(namespaces: Sequence[tuple[str, str, int]]) -> None:
    """Enter namespaces given as (kind, pointer, descriptor), in the order that the kernel permits.

    All but the user namespace come first, while we have our privileges outside. Those that are refused (EPERM: they
    belong to a user namespace in which we have no privileges) are tried again after joining the user namespace.
    """
    user = [entry for entry in namespaces if entry[0] == "user"]
    later: list[tuple[str, str, int]] = []
    for entry in namespaces:
        if entry[0] == "user":
            continue
        try:
            _kernel.setns(entry[2], CLONE_FLAGS[entry[0]])
        except OSError as error:
            if error.errno != errno.EPERM or not user:
                raise _refused(entry, error) from None
            later.append(entry)
    for entry in user + later:
        try:
            _kernel.setns(entry[2], CLONE_FLAGS[entry[0]])
        except OSError as error:
            raise _refused(entry, error) from None


def leave_groups() -> None:
    """Drop the caller's additional groups, unless setgroups is denied (user_namespaces(7))."""
    try:
        posix.setgroups([])
    except PermissionError:
        pass


def _refused(entry: tuple[str, str, int], error: OSError) -> Error:
    hint = ""
    if error.errno == errno.EINVAL and entry[0] == "user":
        hint = "it is the runtime's own user namespace: omit it"
    return caused_by(error, f"cannot join the {entry[0]} namespace", pointer=entry[1], hint=hint)


def not_made(kinds: Sequence[str], error: OSError) -> Error:
    """Return the Error for namespaces that could not be made."""
    hint = ""
    if error.errno == errno.EPERM and "user" in kinds:
        hint = "the host may forbid unprivileged user namespaces: see sysctl kernel.unprivileged_userns_clone"
    elif error.errno == errno.EPERM:
        hint = "making namespaces needs CAP_SYS_ADMIN, or a new user namespace if the host permits them"
    elif error.errno in (errno.ENOSPC, errno.EUSERS):
        hint = "a limit of /proc/sys/user/max_*_namespaces has been reached"
    elif error.errno == errno.EINVAL:
        hint = "the kernel was built without one of these kinds, or is too old for it"
    return caused_by(error, f"cannot make the namespaces ({' '.join(kinds)})", hint=hint)


@carries_out(EnterNetwork)
def enter_network(init: Init, step: EnterNetwork) -> None:
    """Enter the network namespace that the host sends."""
    made = take_descriptor(init, "network")
    with reported_as("cannot enter the network namespace"):
        _kernel.setns(made, CLONE_NEWNET)
    posix.close(made)


@carries_out(UnshareCgroup)
def unshare_cgroup(init: Init, step: UnshareCgroup) -> None:
    """Make a cgroup namespace whose root is init's current cgroup."""
    try:
        _kernel.unshare(CLONE_NEWCGROUP)
    except OSError as error:
        raise not_made(("cgroup",), error) from None


@carries_out(UnshareIpc)
def unshare_ipc(init: Init, step: UnshareIpc) -> None:
    """Make an IPC namespace whose message queues belong to root of our user namespace."""
    try:
        _kernel.unshare(CLONE_NEWIPC)
    except OSError as error:
        raise not_made(("ipc",), error) from None
