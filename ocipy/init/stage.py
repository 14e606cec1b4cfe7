"""The stage before init, which joins namespaces (linux.namespaces), or makes one before the others."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.init.lane import become_init, close_others, report, seal_imports
from ocipy.init.namespaces import join, leave_groups, not_made
from ocipy.init.successor import continue_in_child
from ocipy.linux import _kernel
from ocipy.linux.constants import PR_SET_DUMPABLE
from ocipy.plan.namespaces import flags_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from ocipy.init.context import Init
    from ocipy.plan.model import Plan


def run_stage(
    plan: Plan,
    init: Init,
    joined: Sequence[tuple[str, str]],
    drop_groups: bool,
    user: bool,
    unshared: Sequence[str],
    forks: bool,
    watched: bool,
) -> NoReturn:
    """Join, unshare, fork if needed, and become the init process.

    joined: (kind, pointer) of each namespace to join; user: make a user namespace; unshared: the other new ones.
    drop_groups: drop the caller's groups before the join, since a joined user namespace may deny that.
    forks: a pid or time namespace is among them, which only take effect for children (setns(2), unshare(2)).
    watched: the pid namespace may contain other processes. The child gets a procfs that shows only itself.
    """
    try:
        close_others(init)
        wait_for_host(init, "joined")
        if not user:
            # Before the first setns: processes with privileges in a joined user namespace could trace us while our ids
            # and files are still the host's. A new one is empty, and its maps must come first (proc(5)).
            _kernel.prctl(PR_SET_DUMPABLE, 0)
        if drop_groups:
            leave_groups()
        seal_imports()  # a joined mount namespace may be a container's
        join([(kind, pointer, init.fds.namespaces[kind]) for kind, pointer in joined])
        if user:
            unshare(("user",))
            init.channel.send("user")
            wait_for_host(init, "mapped")
        if user or any(kind == "user" for kind, _ in joined):
            # We have all capabilities in the new namespace, but still our ids from outside.
            take_root_ids()
        # From here on processes in the joined pid namespace may inspect us (CVE-2016-9962). Set it even if it is
        # already set: the kernel may reset it when a join, or new ids, change the capabilities (prctl(2)).
        _kernel.prctl(PR_SET_DUMPABLE, 0)
        unshare(unshared)
        if "time" in unshared:
            init.channel.send("time")
            wait_for_host(init, "offset")
        for kind, _ in joined:
            posix.close(init.fds.namespaces.pop(kind))
        if watched:
            init.fds.close_procfs()  # it shows the runtime's pid namespace
        if forks:
            continue_in_child(init, enters_time="time" in unshared)
        else:
            init.channel.send("pid", {"pid": 0})
    except BaseException as error:
        report(init, error, "clone_stage", "/linux/namespaces")
    become_init(plan, init)


def unshare(kinds: Sequence[str]) -> None:
    """Make namespaces of these kinds, if any. Raises Error."""
    try:
        if kinds:
            _kernel.unshare(flags_of(kinds))
    except OSError as error:
        raise not_made(kinds, error) from None


def wait_for_host(init: Init, kind: str) -> None:
    """Wait for this message from the host lane. Raises Error for any other, and if the runtime has exited."""
    received, _, _ = init.channel.receive()
    if received != kind:
        raise Error(f"the runtime sent {received} instead of {kind}")


def take_root_ids() -> None:
    """Become uid 0 and gid 0 of the user namespace, if they are mapped."""
    try:
        posix.setresgid(0, 0, 0)
        posix.setresuid(0, 0, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:  # 0 is not mapped: keep our ids
            raise
