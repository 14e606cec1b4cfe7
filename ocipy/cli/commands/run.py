"""ocipy run: create, start, wait and delete in one."""

from __future__ import annotations

import posix

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.options import BUNDLE_FLAGS, options_from
from ocipy.operations import foreground
from ocipy.operations.create import create
from ocipy.operations.lifecycle import abandon, delete_ended, run_poststart, start

SUMMARY = "create and start a container, wait for its end, and delete it"
USAGE = "[FLAGS] ID"
FLAGS: tuple[Flag, ...] = (
    *BUNDLE_FLAGS,
    Flag("detach", "switch", "do not wait for the container's end", aliases=("d",)),
    Flag("keep", "switch", "do not delete the container after its end"),
    Flag("no-subreaper", "switch", "do not take in the container's orphaned processes"),
)


def run(arguments: Arguments) -> int:
    """The exit status is that of the container's process, 128 + the signal that ended it."""
    container_id = arguments.one("the container's ID")
    console_socket = arguments.text("console-socket")
    detach = arguments.switch("detach")
    options = options_from(arguments, container_id, has_console=bool(console_socket) or not detach)
    waiter = foreground.prepare(console_socket, detach, subreaper=not arguments.switch("no-subreaper"))
    created, lock_fd = create(
        arguments.root,
        options,
        console_socket=console_socket,
        pid_file=arguments.text("pid-file"),
        pidfd_socket=arguments.text("pidfd-socket"),
        rootless=arguments.rootless,
        in_foreground=not detach,
    )
    notifier = None
    try:
        if posix.environ.get(b"NOTIFY_SOCKET"):
            from ocipy.host.notify import listen

            notifier = listen(created.state)
        start(created.state, created.pidfd, created.interrupts)
    except BaseException:
        abandon(created.state)
        raise
    finally:
        posix.close(lock_fd)
    run_poststart(created.state, created.interrupts)
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
    foreground.tell_of_memory(container_id, created.cgroup, status)
    if not arguments.switch("keep"):
        delete_ended(created.state)
    return status
