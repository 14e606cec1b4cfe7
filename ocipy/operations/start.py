"""start: let a created container run its process (spec: runtime.md, Start)."""

from __future__ import annotations

import posix

from ocipy.children.interrupts import catch
from ocipy.errors import Error
from ocipy.host.report import raise_failure, read_to_end, warn_about_filter
from ocipy.init.fifo import EXECUTING
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_NONBLOCK, O_RDONLY, POLLIN
from ocipy.linux.files import unlink
from ocipy.operations.delete import abandon, end
from ocipy.operations.kill import open_init
from ocipy.operations.waking import wake
from ocipy.phases import START, phase
from ocipy.state.directory import lock
from ocipy.state.state import FIFO, REPORT, State, load

# How long to wait for the end of an init process that has reported an error.
FAILED_INIT_PATIENCE_MS = 2000


def start_container(root: str, container_id: str) -> None:
    """Returns when its process has executed and the poststart hooks have run. Raises Error, OSError."""
    state = load(root, container_id)
    lock_fd = lock(state.directory)
    notifier = None
    try:
        state = load(root, container_id)
        if posix.environ.get(b"NOTIFY_SOCKET"):
            from ocipy.host.notify import listen

            notifier = listen(state)
        with phase("start"):
            start(state)
    finally:
        posix.close(lock_fd)
    interrupts = -1
    if state.hooks.get("poststart"):
        # An interrupted hook has failed: neither it nor the container goes on without us.
        interrupts = catch()
        with phase("poststart hooks"):
            run_poststart(state, interrupts)
    if notifier is not None:
        notifier.wait_for(state, interrupts)


def start(state: State, pidfd: int = -1, interrupts: int = -1) -> None:
    """Let init continue to the exec, and wait until that has happened.

    The caller holds the container's lock, and releases it before run_poststart. interrupts: see children/interrupts.py.
    Raises Error; if a hook failed, the container is gone.
    """
    status = state.status(locked=True)
    if status != "created":
        texts = {
            "running": "cannot start an already running container",
            "stopped": "cannot start a container that has stopped",
        }
        raise Error(texts.get(status, f"cannot start a container in the {status} state"))
    ours = pidfd < 0
    if ours:
        pidfd = open_init(state)
    try:
        with phase(START):
            _let_go(state, pidfd, interrupts)
    except Error as error:
        if error.pointer.startswith("/hooks/"):
            # Spec, lifecycle step 7: stop the container and continue at step 12.
            end(state)
        raise
    finally:
        if ours:
            posix.close(pidfd)


def _let_go(state: State, pidfd: int, interrupts: int) -> None:
    said = b""
    # Never open it blocking: init may have died (fifo(7)).
    report = posix.open(state.directory + "/" + REPORT, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    try:
        if wake(state.directory + "/" + FIFO):
            said = read_to_end(report, "the init process", state.pid, pidfd, interrupts)
    finally:
        posix.close(report)
    unlink(state.directory + "/" + FIFO)
    try:
        raise_failure(said)
    except Error:
        # It is about to end: no later command may find it running.
        _kernel.poll([(pidfd, POLLIN)], FAILED_INIT_PATIENCE_MS)
        raise
    if EXECUTING not in said:
        raise Error(
            "cannot start the container: its init process has ended",
            hint="it was killed, or ran out of memory: linux.resources.memory.limit",
        )
    warn_about_filter(said, state.container_id, "the init process", state.pid)


def run_poststart(state: State, interrupts: int = -1) -> None:
    """Run the hooks that follow the exec, without the container's lock: they and others may call ocipy meanwhile.

    Raises the Error of the first hook that fails, or of a signal; then the container is gone (spec, lifecycle step 9).
    """
    if state.hooks.get("poststart"):
        from ocipy.host import hooks

        try:
            hooks.run_poststart(state, interrupts)
        except BaseException:
            abandon(state, locked=False)
            raise
