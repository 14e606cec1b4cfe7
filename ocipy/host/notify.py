"""NOTIFY_SOCKET: pass the readiness of the container's process on to the service manager (sd_notify(3)).

create makes a directory that the container sees as /run/notify (plan/notify.py); start makes the socket in it. Of the
container's messages only READY=1 is passed on; MAINPID comes from us.
"""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.children.interrupts import check_interrupts
from ocipy.host.context import carries_out
from ocipy.launcher.python import complete_start
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_DIRECTORY, O_PATH, POLLHUP, POLLIN
from ocipy.linux.files import exists
from ocipy.plan.notify import DIRECTORY, SOCKET, NotifyDirectory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.host.context import HostRun
    from ocipy.state.state import State

LONGEST_MESSAGE = 4096
# How long the service manager may take to read what was sent (sd_notify_barrier(3)), as in runc.
BARRIER_PATIENCE_MS = 30_000


@carries_out(NotifyDirectory)
def notify_directory(run: HostRun, step: NotifyDirectory) -> None:
    """Make the directory to mount. Raises OSError."""
    path = f"{run.state.directory}/{DIRECTORY}"
    posix.mkdir(path)
    # Regardless of the umask: the process in the container may have any id.
    posix.chmod(path, 0o755)


class Notifier:
    """The two sockets: ours, to which the container's process writes, and the service manager's.

    fd: our socket's, readable when the process has written to it; -1 once closed. told: it has reported readiness.
    Failures are only warnings: a container runs even if its readiness cannot be reported.
    """

    __slots__ = ("_manager", "_ours", "fd", "told")

    def __init__(self, state: State, manager: bytes) -> None:
        """manager: the address in our NOTIFY_SOCKET."""
        complete_start()
        import socket

        self.fd = -1
        self.told = False
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._manager.connect(b"\0" + manager[1:] if manager[:1] == b"@" else manager)
            self._bind(state.directory)
        except OSError as error:
            where = manager.decode("utf-8", "backslashreplace")
            log.warning(f"NOTIFY_SOCKET: cannot relay to {where}: {posix.strerror(error.errno or 0)}")
            self.close()
            return
        self.fd = self._ours.fileno()

    def _bind(self, state_directory: str) -> None:
        # By descriptor: the path may be longer than the 107 bytes of unix(7).
        directory = posix.open(f"{state_directory}/{DIRECTORY}", O_PATH | O_DIRECTORY | O_CLOEXEC)
        # The umask gives the socket its mode. A chmod afterwards would use its name, which may be a symlink by then, if
        # the container can write there after all.
        umask = posix.umask(0)
        try:
            self._ours.bind(f"/proc/self/fd/{directory}/{SOCKET}")
        finally:
            posix.umask(umask)
            posix.close(directory)

    def forward(self, main_pid: int, *, barrier: bool) -> None:
        """Read one message; pass it on if it is the first to report readiness.

        barrier: wait until the service manager has read it, since we are about to exit.
        """
        message = self._ours.recv(LONGEST_MESSAGE)
        if self.told or b"READY=1" not in message.split(b"\n"):
            return
        self.told = True
        try:
            self._manager.send(b"READY=1\nMAINPID=%d\n" % main_pid)
            if barrier:
                self._barrier()
        except OSError as error:
            log.warning(f"NOTIFY_SOCKET: cannot pass on READY=1: {posix.strerror(error.errno or 0)}")

    def _barrier(self) -> None:
        """Wait until it is read: once we exit, the service manager may not know our service (sd_notify_barrier(3))."""
        import socket

        reader, writer = posix.pipe2(O_CLOEXEC)
        try:
            socket.send_fds(self._manager, [b"BARRIER=1"], [writer])
            posix.close(writer)
            writer = -1
            _kernel.poll([(reader, POLLHUP)], BARRIER_PATIENCE_MS)
        finally:
            for fd in (reader, writer):
                if fd >= 0:
                    posix.close(fd)

    def wait(self, pid: int, pidfd: int, interrupts: int = -1) -> None:
        """Wait until the process is ready, or has exited. Raises Error for a signal (children/interrupts.py)."""
        try:
            while self.fd >= 0 and not self.told:
                ready = dict(_kernel.poll([(self.fd, POLLIN), (pidfd, POLLIN), (interrupts, POLLIN)], -1))
                if self.fd in ready:
                    self.forward(pid, barrier=True)
                elif pidfd in ready:
                    break
                check_interrupts(interrupts)
        finally:
            self.close()

    def wait_for(self, state: State, interrupts: int = -1) -> None:
        """Do the same for a process that is not our child."""
        try:
            pidfd = _kernel.pidfd_open(state.pid, 0)
        except OSError:  # it has exited and been reaped
            self.close()
            return
        self.wait(state.pid, pidfd, interrupts)
        posix.close(pidfd)

    def close(self) -> None:
        """Close both sockets."""
        self.fd = -1
        self._ours.close()
        self._manager.close()


def listen(state: State) -> Notifier | None:
    """Return the container's notifier, or None if create ran without a service manager. Call this before start."""
    manager = posix.environ.get(b"NOTIFY_SOCKET")
    return Notifier(state, manager) if manager and exists(f"{state.directory}/{DIRECTORY}") else None
