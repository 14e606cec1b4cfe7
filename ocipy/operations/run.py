"""run: create, start, wait and delete in one process."""

from __future__ import annotations

from ocipy.operations import foreground
from ocipy.operations.create import create
from ocipy.operations.delete import abandon, delete_ended
from ocipy.operations.start import run_poststart, start
from ocipy.phases import phase
from ocipy.state.directory import unlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Options


def run(
    root: str,
    options: Options,
    *,
    console_socket: str,
    rootless: bool | None,
    detach: bool,
    subreaper: bool,
    keep: bool,
) -> int:
    """Returns the exit status of the container's process, 128 + the signal that killed it; 0 when a detached one runs.

    subreaper: adopt the container's orphaned processes. keep: do not delete the container. The other parameters are
    those of create. Raises Error, OSError; the container is gone then.
    """
    options.starts = True
    waiter = foreground.prepare(console_socket, detach, subreaper=subreaper)
    created, lock_fd = create(
        root,
        options,
        console_socket=console_socket,
        rootless=rootless,
        in_foreground=not detach,
    )
    notifier = None
    try:
        if options.notify_socket:
            from ocipy.host.notify import listen

            notifier = listen(created.state)
        if created.status != "running":
            with phase("start"):
                start(created.state, created.pidfd, created.interrupts)
    except BaseException:
        abandon(created.state)
        raise
    finally:
        unlock(lock_fd)
    with phase("poststart hooks"):
        run_poststart(created.state, created.interrupts)
    if created.bus is not None and (
        waiter is None or notifier is not None or created.master >= 0 or not waiter.ends_soon(created.pidfd)
    ):
        created.hang_up()  # systemd reports everything to every connection
    if waiter is None:
        if notifier is not None:
            notifier.wait(created.pid, created.pidfd, created.interrupts)
        return 0
    try:
        status = waiter.wait(created.pid, created.pidfd, created.master, notifier)
    except BaseException:
        # Nobody is left to wait for its end.
        abandon(created.state)
        raise
    foreground.warn_of_oom_kill(options.container_id, created.cgroup, status)
    if not keep:
        with phase("delete"):
            delete_ended(created.state, created.bus, lock_fd)
    return status
