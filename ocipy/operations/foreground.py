"""The foreground of `run` and `exec`: wait for the process, pass on signals, and copy between the user's terminal and
the container's.

The user's descriptors are never made non-blocking: that would affect the shell too. Terminals and pipes are reopened
instead, which gives us separate open file descriptions.
"""

from __future__ import annotations

import errno
import posix

from ocipy import log
from ocipy.errors import Error
from ocipy.host.console import copy_size, standard_terminal
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    O_CLOEXEC,
    O_NOCTTY,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    PR_SET_CHILD_SUBREAPER,
    S_IFCHR,
    S_IFIFO,
    S_IFMT,
    SIGCHLD,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGPIPE,
    SIGTERM,
    SIGURG,
    SIGWINCH,
    WNOHANG,
)
from ocipy.phases import phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.cgroups.cgroup import Cgroup
    from ocipy.host.notify import Notifier
    from ocipy.operations.end_of_input import EndOfInput

# A pipe that poll(2) calls writable takes at least this much without blocking (pipe(7), PIPE_BUF).
CHUNK = 4096
# The most data that may wait on one side until the other accepts it; no more is read.
BUFFER = 64 * 1024
# More than a pseudoterminal can hold, so it covers everything in it when the process ended.
LEFT_OVER = 1024 * 1024
MOMENT_MS = 50
READABLE = POLLIN | POLLHUP | POLLERR


def check(console_socket: str, detach: bool) -> None:
    """In the foreground we hold the terminal, so a console socket is refused. Raises Error."""
    if console_socket and not detach:
        raise Error(
            "cannot use console socket if ocipy will not detach or allocate tty",
            hint="leave --console-socket out, or add --detach",
        )


def prepare(console_socket: str, detach: bool, *, subreaper: bool) -> Foreground | None:
    """The Foreground that will wait for the process, and that keeps signals from now on; None for --detach.

    Call it after the payload's descriptors are claimed, since it opens one. Raises Error.
    """
    check(console_socket, detach)
    if detach:
        return None
    waiter = Foreground(subreaper=subreaper)
    waiter.catch_signals()
    return waiter


class Foreground:
    """Prepares the foreground before the container exists, and waits for its process.

    subreaper: orphans of the container become our children instead of those of the host's init (prctl(2)).
    """

    __slots__ = ("signals",)

    def __init__(self, *, subreaper: bool) -> None:
        self.signals = -1
        if subreaper:
            _kernel.prctl(PR_SET_CHILD_SUBREAPER, 1)

    def catch_signals(self) -> None:
        """Keep signals for the process from now on. Call it before there is one: create looks for the signals that
        interrupt it, and the others wait."""
        if self.signals < 0:
            self.signals = _kernel.signalfd(())

    def ends_soon(self, pidfd: int) -> bool:
        """Wait a moment, and return whether the process has ended. A signal ends the wait."""
        with phase("wait for the end"):
            ready = _kernel.poll([(self.signals, POLLIN), (pidfd, POLLIN)], MOMENT_MS)
        return any(fd == pidfd for fd, _ in ready)

    def wait(self, pid: int, pidfd: int, master: int = -1, notifier: Notifier | None = None) -> int:
        """Wait until the process has ended. Returns its exit status, 128 + the signal if one killed it.

        pid: a child of this process. master: its terminal, -1 if it has our standard streams. notifier: passes on its
        readiness; we are then the service manager's main process.
        """
        self.catch_signals()
        if master < 0:
            with phase("wait for the end"):
                return _until_end(pid, pidfd, self.signals, None, notifier)
        relay = Relay(master)
        try:
            relay.start()
            with phase("wait for the end"):
                status = _until_end(pid, pidfd, self.signals, relay, notifier)
            relay.drain(self.signals)
            return status
        finally:
            relay.close()


def _until_end(pid: int, pidfd: int, signals: int, relay: Relay | None, notifier: Notifier | None) -> int:
    timeout = -1
    while True:
        watched = [(signals, POLLIN), (pidfd, POLLIN)]
        if notifier is not None:
            watched.append((notifier.fd, POLLIN))
        if relay is not None:
            watched += relay.watched()
        ready = dict(_kernel.poll(watched, timeout))
        if signals in ready and pidfd not in ready:  # otherwise it is SIGCHLD, or comes too late
            _handle_signals(pid, pidfd, signals, relay)
        if relay is not None:
            relay.move(ready)
            timeout = relay.pass_on_end()
        if notifier is not None and notifier.fd in ready:
            notifier.forward(posix.getpid(), barrier=False)
        if pidfd in ready:
            status = posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
            return status if status >= 0 else 128 - status


def _handle_signals(pid: int, pidfd: int, signals: int, relay: Relay | None) -> None:
    while True:
        received = _kernel.read_signal(signals)
        if received is None:
            return
        number, sender = received
        if number == SIGCHLD:
            _reap_others(pid)
        elif number == SIGWINCH:
            if relay is not None:
                relay.resize()
        elif number != SIGURG and not (number == SIGPIPE and sender == posix.getpid()):
            # A SIGPIPE from ourselves answers one of our writes, which handles its EPIPE.
            try:
                _kernel.pidfd_send_signal(pidfd, number)
            except OSError as error:
                if error.errno not in (errno.ESRCH, errno.EPERM):
                    raise


def _reap_others(pid: int) -> None:
    """Reap the container's orphans, but not its process, whose status is still needed."""
    while True:
        try:
            found = posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == pid:
            return
        posix.waitpid(found.si_pid, WNOHANG)


def warn_of_oom_kill(container_id: str, cgroup: Cgroup | None, status: int) -> None:
    """Warn if the process was killed because memory ran out: the status of SIGKILL does not say who killed it.
    status: the exit status."""
    if status == 128 + SIGKILL and cgroup is not None and cgroup.oom_kills() > 0:
        log.warning(f"{container_id}: the container was OOM-killed: linux.resources.memory.limit is too low for it")


class Relay:
    """Copies between the user's side (standard input and output) and the master of the container's terminal.

    to_master, to_user: data that was read and not yet written. Each side can close separately: the user's input at its
    end, the output when its reader has gone, the master when the container has closed its side (EIO, pty(7)).
    """

    __slots__ = (
        "end", "input", "master", "master_open", "opened", "output", "saved", "terminal", "to_master", "to_user"
    )  # fmt: skip

    def __init__(self, master: int) -> None:
        self.master = master
        self.master_open = True
        self.end: EndOfInput | None = None
        self.to_master = b""
        self.to_user = b""
        self.opened: list[int] = []
        self.saved = b""
        self.terminal = self._find_terminal()
        self.input = self._own(0, O_RDONLY)
        self.output = self._own(1, O_WRONLY)
        posix.set_blocking(master, False)

    def start(self) -> None:
        """Give the container's terminal the user's size, and put the user's into raw mode. close undoes it."""
        self.resize()
        if self.terminal >= 0:
            # The container's terminal handles echo, line editing, and the keys that send signals.
            self.saved = _kernel.tty_raw(self.terminal)

    def _find_terminal(self) -> int:
        """The user's terminal: that of a standard stream, or the controlling one; -1 if there is none."""
        fd = standard_terminal()
        if fd >= 0:
            return fd
        try:
            fd = posix.open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC)
        except OSError:
            return -1
        self.opened.append(fd)
        return fd

    def _own(self, fd: int, flags: int) -> int:
        """A separate non-blocking description for a terminal or pipe; otherwise the descriptor itself."""
        try:
            if posix.fstat(fd).st_mode & S_IFMT not in (S_IFCHR, S_IFIFO):
                return fd
            own = posix.open(f"/proc/self/fd/{fd}", flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        except OSError as error:
            return -1 if error.errno == errno.EBADF else fd
        self.opened.append(own)
        return own

    def resize(self) -> None:
        """Give the container's terminal the size of the user's."""
        copy_size(self.terminal, self.master)

    def watched(self) -> list[tuple[int, int]]:
        """The descriptors and events for poll(2)."""
        watched = []
        events = 0
        if self.master_open:
            events = (POLLIN if len(self.to_user) < BUFFER else 0) | (POLLOUT if self.to_master else 0)
            # Even without events, poll would report POLLHUP again and again.
            if events:
                watched.append((self.master, events))
        if self.input >= 0 and self.master_open and len(self.to_master) < BUFFER:
            watched.append((self.input, POLLIN))
        if self.output >= 0 and self.to_user:
            watched.append((self.output, POLLOUT))
        return watched

    def move(self, ready: dict[int, int]) -> None:
        """Copy what can be copied without blocking."""
        if self.input >= 0 and ready.get(self.input, 0) & READABLE:
            self._read_input()
        if ready.get(self.master, 0) & READABLE:
            self._read_master()
        if self.to_master and ready.get(self.master, 0) & POLLOUT:
            self._write_master()
        if self.output >= 0 and ready.get(self.output, 0) & (POLLOUT | POLLERR):
            self._write_output()

    def _read_input(self) -> None:
        data = _read(self.input)
        if data is None:
            return
        if not data:
            self.input = -1
        self.to_master += data

    def pass_on_end(self) -> int:
        """Signal the end of the user's input to the process. Returns milliseconds until the next call, -1: never."""
        if self.input >= 0 or not self.master_open or self.to_master:
            return -1
        if self.end is None:
            from ocipy.operations.end_of_input import EndOfInput

            self.end = EndOfInput()
        return self.end.tell(self.master)

    def _read_master(self) -> bool:
        """Returns False when there is nothing more to read."""
        data = _read(self.master)
        if data is None:
            return False
        if not data:
            self.master_open = False
            return False
        if self.output >= 0:
            self.to_user += data
        return True

    def _write_master(self) -> None:
        try:
            self.to_master = self.to_master[posix.write(self.master, self.to_master[:CHUNK]) :]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self.master_open = False
            self.to_master = b""

    def _write_output(self) -> None:
        try:
            self.to_user = self.to_user[posix.write(self.output, self.to_user[:CHUNK]) :]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO, errno.ENXIO, errno.ECONNRESET):
                raise
            # The reader has gone. The container continues, as if in a closed terminal window.
            self.output = -1
            self.to_user = b""

    def drain(self, signals: int) -> None:
        """Copy the rest of the terminal's output after the process has ended, even if others keep the terminal open.

        A signal that would end us stops this: the reader of our output may be stuck.
        """
        self.input = -1
        left_over = LEFT_OVER
        while True:
            while left_over > 0 and len(self.to_user) < BUFFER and self._read_master():
                left_over -= CHUNK
            if self.output < 0 or not self.to_user:
                return
            ready = dict(_kernel.poll([(signals, POLLIN), (self.output, POLLOUT)], -1))
            if signals in ready and _asked_to_end(signals):
                return
            if self.output in ready:
                self._write_output()

    def close(self) -> None:
        """Restore the user's terminal."""
        if self.saved:
            try:
                _kernel.tty_restore(self.terminal, self.saved)
            except OSError:  # the terminal is gone, and so is its user
                pass
        for fd in (*self.opened, self.master):
            posix.close(fd)


def _read(fd: int) -> bytes | None:
    """The available data, b"" at the end (EIO: the other side of a terminal is closed), None if there is none yet."""
    try:
        return posix.read(fd, CHUNK)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def _asked_to_end(signals: int) -> bool:
    while True:
        received = _kernel.read_signal(signals)
        if received is None:
            return False
        if received[0] in (SIGHUP, SIGINT, SIGTERM):
            return True
