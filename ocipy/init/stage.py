"""The stage before init, where namespaces are joined or one must be made ahead of the others."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.init.lane import become_init, close_others, report, seal_imports
from ocipy.init.namespaces import join, leave_groups, not_made
from ocipy.linux import _kernel
from ocipy.linux.constants import CLONE_PARENT, PR_SET_DUMPABLE
from ocipy.plan.namespaces import flags_of

USED_UP = "namespace/"  # begins the names of the descriptors of what is joined

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
    """Join, unshare, fork if that is what it takes, and become the init process.

    joined: (kind, pointer) of what is joined; user: a new user namespace; unshared: the other new ones.
    drop_groups: give up the caller's before the join, since a user namespace that is joined may deny it.
    forks: a pid or time namespace is among them, which only take effect for children (setns(2), unshare(2)).
    watched: there may be others in the pid namespace. The child is handed a procfs that has nothing but itself.
    """
    try:
        close_others(init)
        wait_for_host(init, "joined")
        if not user:
            # Before the first setns: who has rights in a user namespace that is joined might trace us, while our ids
            # and our files are still the host's. In a new one there is nobody, and the maps come first (proc(5)).
            _kernel.prctl(PR_SET_DUMPABLE, 0)
        if drop_groups:
            leave_groups()
        seal_imports()  # a mount namespace that is joined may be a container's
        join([(kind, pointer, init.fds["namespace/" + kind]) for kind, pointer in joined])
        if user:
            unshare(("user",))
            init.channel.send("user")
            wait_for_host(init, "mapped")
        if user or any(kind == "user" for kind, _ in joined):
            # The capabilities in the new namespace are full, but the ids are still those of outside.
            take_root_ids()
        # Whoever shares the pid namespace that is joined may look at us from here on (CVE-2016-9962). If it was done
        # before: the kernel may undo it when a join, or new ids, change the capabilities (prctl(2)).
        _kernel.prctl(PR_SET_DUMPABLE, 0)
        unshare(unshared)
        if "time" in unshared:
            init.channel.send("time")
            wait_for_host(init, "offset")
        used_up = {USED_UP + kind for kind, _ in joined}
        for name in [name for name in init.fds if name in used_up or (watched and name.startswith("procfs"))]:
            posix.close(init.fds.pop(name))
        if forks:
            # CLONE_PARENT makes the init process a child of the runtime, which waits for it and is its reaper.
            pid, _ = _kernel.clone3(CLONE_PARENT, 0, -1)
            if pid != 0:
                init.channel.send("pid", {"pid": pid})
                posix._exit(0)
        else:
            init.channel.send("pid", {"pid": 0})
    except BaseException as error:
        report(init, error, "clone_stage", "/linux/namespaces")
    become_init(plan, init)


def unshare(kinds: Sequence[str]) -> None:
    """Make namespaces of these kinds, if there are any. Raises Error."""
    try:
        if kinds:
            _kernel.unshare(flags_of(kinds))
    except OSError as error:
        raise not_made(kinds, error) from None


def wait_for_host(init: Init, kind: str) -> None:
    """Wait for this word of the host lane's. Raises Error for another, and where the host is gone."""
    received, _, _ = init.channel.receive()
    if received != kind:
        raise Error(f"the runtime said {received} instead of {kind}")


def take_root_ids() -> None:
    """Take the ids 0 of the user namespace, if they are mapped there."""
    try:
        posix.setresgid(0, 0, 0)
        posix.setresuid(0, 0, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:  # 0 is not mapped: the ids stay what they are
            raise
