"""Talk to criu: find it, send requests one after the other (`criu swrk`, https://criu.org/RPC), read its log. Cold.

criu is a host program. We look it up and execute it outside the container, and before we enter any of its namespaces
(CVE-2022-1227).
"""

from __future__ import annotations

import errno
import fcntl
import os
import posix
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ocipy.children.interrupts import check_interrupts
from ocipy.criu import messages
from ocipy.errors import Error, caused_by
from ocipy.linux import _kernel
from ocipy.linux.constants import POLLIN, SIGKILL, SOCK_SEQPACKET
from ocipy.linux.files import read_file
from ocipy.linux.namespaces import in_user_namespace
from ocipy.linux.text import decode
from ocipy.plan.checkpoint import OLDEST, CriuFlags, describe_version, log_file

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTALL = "install criu 3.0 or later (package criu), or give its path: --criu PATH"
# In bytes. A response has a few hundred.
MAX_MESSAGE = 64 * 1024
FINISH_PATIENCE_MS = 30_000
# How long a dump may take to reach a point where criu, no longer connected to us, gives up and lets the container
# continue.
GIVE_UP_PATIENCE_MS = 10_000
# The child's descriptors from here up are free: all numbers for criu are lower.
SAFE_FD = 64
# A line in criu's log, "(00.131739) Error (criu/sk-inet.c:191): inet: …". For a restored process, its pid precedes
# "Error". A child that could not execute a program writes no time.
ERROR = re.compile(r"(?:\(\d+\.\d+\)\s+)?(?:pie: )?(?:\d+: )?Error \(([^)]*)\): (.*)")
# A failure that criu does not mark as an error.
UNMARKED = re.compile(r"\(\d+\.\d+\)\s+(Can't connect to server .*)")
SOCKET_FD = 3
FIRST_FD = 4
"""The number that the first descriptor passed to criu has there."""

# The kernel configuration that each feature needs.
KERNEL = {"lazy_pages": "CONFIG_USERFAULTFD", "mem_track": "CONFIG_MEM_SOFT_DIRTY"}


class Criu:
    """A running criu. Made by start. A single process reports its version and then serves one request.

    version: in the form of plan/checkpoint.py; 0 until learn is called.
    """

    def __init__(self, path: str, session: CriuSession) -> None:
        self.path = path
        self.session = session
        self.version = 0

    def learn(self, interrupts: int = -1) -> None:
        """Wait for criu's version. Raises Error if it is too old, or if a signal ends us."""
        try:
            response, _ = self.session.receive(interrupts)
        except NoAnswer as problem:
            raise Error(f"{self.path} does not answer as criu 3.0 does: {problem.what}", hint=INSTALL) from None
        version = number_of(response.get("version") or {})
        if not response.get("success") or version < OLDEST:
            found = (
                f"is version {describe_version(version)}, which" if version else "does not report its version, so it"
            )
            raise Error(f"{self.path} {found} is too old", hint=INSTALL)
        self.version = version

    def check_feature(self, feature: str, flag: str) -> None:
        """Raise Error if criu or this kernel lacks a feature that a flag needs. feature: a field of criu_features."""
        response = ask(self.path, {"type": messages.FEATURE_CHECK, "features": {feature: True}})
        if not response.get("success") or not response.get("features", {}).get(feature):
            raise Error(
                f"{flag} needs criu's feature {feature}, which is missing here",
                hint=f"criu {describe_version(self.version)} lacks it, or this kernel, which needs {KERNEL[feature]}",
            )


def find(given: str) -> str:
    """Return the absolute path of criu. given: the value of --criu, or "" to search PATH. Raises Error if missing."""
    wanted = given or "criu"
    search = ":".join(place for place in os.environ.get("PATH", DEFAULT_PATH).split(":") if place.startswith("/"))
    path = _which(wanted, (search or DEFAULT_PATH).split(":"))
    if not path:
        why = _why_not(given) if given else "criu is not installed"
        raise Error(f"cannot run {wanted}: {why}", pointer="--criu" if given else "", hint=INSTALL)
    return os.path.abspath(path)


def _which(name: str, places: Sequence[str]) -> str:
    """Like shutil.which(), but "" if there is none. shutil needs extension modules, which not every snapshot has."""
    for path in (name,) if "/" in name else [f"{place}/{name}" for place in places]:
        if posix.access(path, posix.X_OK) and not os.path.isdir(path):
            return path
    return ""


def _why_not(path: str) -> str:
    try:
        posix.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "no such program"
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "it is a directory" if os.path.isdir(path) else "it is not executable"


def start(path: str, **how: Any) -> Criu:
    """Start criu, and ask for its version. how: as for CriuSession. The caller must end the session. Raises Error."""
    program = Criu(path, CriuSession(path, **how))
    try:
        program.session.send({"type": messages.VERSION, "keep_open": True})
    except NoAnswer:  # learn reports it
        pass
    return program


def number_of(version: Mapping[str, Any]) -> int:
    """Return 31701 for 3.17.1. A build between two versions (with a gitid) counts as the next minor version."""
    number = int(version.get("major_number", 0)) * 10000 + int(version.get("minor_number", 0)) * 100
    return number + (100 if version.get("gitid") else int(version.get("sublevel", 0)))


def ask(path: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send a request to a new criu, and return its response. Raises Error."""
    session = CriuSession(path)
    try:
        session.send(request)
        return session.receive()[0]
    finally:
        session.end()


class NoAnswer(Error):
    """criu has exited without a response."""

    __slots__ = ()


class CriuSession:
    """A running `criu swrk`, which serves one request, after an optional one for its version. Raises Error.

    prepare: what the child does before it becomes criu. fds: passed to criu as descriptors 4 and up. streams: whether
    criu gets our standard streams, for the processes that it restores, and not /dev/null.
    """

    def __init__(
        self,
        path: str,
        *,
        prepare: Callable[[], None] | None = None,
        fds: Sequence[int] = (),
        streams: bool = False,
    ) -> None:
        self.path = path
        ours, theirs = _kernel.socketpair(SOCK_SEQPACKET)
        environment = tuple(os.fsencode(f"{name}={value}") for name, value in os.environ.items())
        words = (os.fsencode(path), b"swrk", b"%d" % SOCKET_FD)
        try:
            self.pid = _kernel.spawn(lambda: _get_ready(theirs, fds, streams, prepare), words[0], words, environment)
        except OSError as error:
            posix.close(ours)
            raise caused_by(error, f"cannot run {path}") from None
        except BaseException:
            posix.close(ours)
            raise
        finally:
            posix.close(theirs)
        self.pidfd = _kernel.pidfd_open(self.pid, 0)
        self.socket = ours
        self.status: int | None = None

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request, or the reply to a notification. Raises NoAnswer, OSError."""
        try:
            _kernel.send(self.socket, messages.encode(messages.REQUEST, request))
        except (BrokenPipeError, ConnectionResetError):
            raise self._gone() from None

    def receive(self, interrupts: int = -1) -> tuple[dict[str, Any], list[int]]:
        """Return the next response and its descriptors. Raises Error, NoAnswer; Error if a signal ends us."""
        ready = dict(_kernel.poll([(self.socket, POLLIN), (self.pidfd, POLLIN), (interrupts, POLLIN)], -1))
        check_interrupts(interrupts)
        # Restored processes hold criu's end of the socket for a while, so there may be no end of file when criu exits.
        if self.pidfd in ready and self.socket not in ready:
            raise self._gone()
        try:
            data, fds = _kernel.recv(self.socket, MAX_MESSAGE, 1)
        except ConnectionResetError:
            raise self._gone() from None
        if not data:
            raise self._gone()
        try:
            return messages.decode(messages.RESPONSE, data), fds
        except ValueError as problem:
            raise Error(f"{self.path} sent a malformed message: {problem}") from None

    def _gone(self) -> NoAnswer:
        code = posix.waitstatus_to_exitcode(self.wait())
        how = f"it was killed by signal {-code}" if code < 0 else f"it exited with status {code}"
        return NoAnswer(how)

    def wait(self) -> int:
        """Wait until criu exits; return its wait status."""
        if self.status is None:
            self.status = posix.waitpid(self.pid, 0)[1]
        return self.status

    def hang_up(self) -> None:
        """Close the connection. After its last response, criu then exits, which takes a while."""
        if self.socket >= 0:
            posix.close(self.socket)
            self.socket = -1

    def finish(self, patience: int = FINISH_PATIENCE_MS) -> None:
        """Hang up, and give criu time to exit by itself. patience: in milliseconds.

        Its status does not matter: after a pre-dump, criu expects another request, and end of file is an error to it.
        """
        self.hang_up()
        if _kernel.poll([(self.pidfd, POLLIN)], patience):
            self.wait()

    def end(self) -> None:
        """Close the connection, and kill criu if it is still running."""
        if self.pidfd < 0:
            return
        self.hang_up()
        if self.status is None:
            try:
                _kernel.pidfd_send_signal(self.pidfd, SIGKILL)
            except ProcessLookupError:
                pass
            self.wait()
        posix.close(self.pidfd)
        self.pidfd = -1


def _get_ready(socket: int, fds: Sequence[int], streams: bool, prepare: Callable[[], None] | None) -> None:
    """Prepare the child that executes criu next. It shares our memory, but what changes here (descriptors, process
    group, signals) is its own."""
    if prepare is not None:
        prepare()
    if not streams:
        # criu must not get the terminal's signals: an interrupted dump leaves the container broken.
        posix.setpgid(0, 0)
        null = posix.open("/dev/null", posix.O_RDWR)
        for fd in range(3):
            posix.dup2(null, fd)
    handed = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, SAFE_FD) for fd in (socket, *fds)]
    for fd, safe in enumerate(handed, SOCKET_FD):
        posix.dup2(safe, fd)
    _kernel.close_range(SOCKET_FD + len(handed), SAFE_FD - 1, 0)
    _kernel.reset_signals()


def failure(what: str, response: Mapping[str, Any], log: str, images: str = "") -> Error:
    """Return the Error for a failed request. what: such as "criu cannot dump the container".

    log: the path of criu's log. images: the directory that criu has written to, or "".

    criu's first error is the cause. Those that follow are its consequences.
    """
    said = first_error(log)
    if not said and _is_full(os.path.dirname(log)):
        return Error(f"{what}: there is no room for its log {log}", errno=errno.ENOSPC)
    said = said or _message(response) or first_error(log, trials=True)
    number = response.get("cr_errno", 0)
    error = Error(f"{what}: {said or 'it gives no reason'} (criu's log: {log})")
    if not said and 0 < number < 4096:
        error.errno = number
    error.hint = f"the filesystem of {images} is full" if images and _is_full(images) else _hint(said)
    return error


def log_path(flags: CriuFlags, name: str) -> str:
    """Return the path of criu's log. name: its name, unless criu's configuration file gives another."""
    if flags.config_file:
        try:
            name = log_file(decode(read_file(flags.config_file))) or name
        except OSError:  # criu reports that
            pass
    return os.path.join(flags.work_path or flags.image_path, name)


def _is_full(directory: str) -> bool:
    try:
        return os.statvfs(directory).f_bavail == 0
    except OSError:
        return False


def _message(response: Mapping[str, Any]) -> str:
    message = str(response.get("cr_errmsg") or "").strip()
    return "" if any(words in message for words in HARMLESS) else message


def first_error(path: str, *, trials: bool = False) -> str:
    """Return the first error in criu's log, without its time: "inet: Connected TCP socket, … (criu/sk-inet.c:191)".

    Before it begins, criu tests the kernel, and logs errors for missing features. So errors before the end of these
    tests (mmap_min_addr) count only if trials is true. Errors that do not stop criu never count.
    """
    tried, vague, trying = "", "", True
    try:
        with open(path, encoding="utf-8", errors="replace", newline="\n") as log:
            for line in log:
                if trying and "mmap_min_addr" in line:
                    trying = False
                    if tried and trials:
                        return tried
                error = _error_of(line)
                if error and not trying:
                    if not error.startswith(VAGUE):
                        return error
                    vague = vague or error
                tried = tried or error
    except OSError:
        pass
    return vague or (tried if trying else "")


def _error_of(line: str) -> str:
    unmarked = UNMARKED.match(line)
    if unmarked:
        return unmarked[1]
    found = ERROR.match(line)
    return f"{found[2].strip()} ({found[1]})" if found and not found[2].startswith(HARMLESS) else ""


# Raising this needs CAP_SYS_RESOURCE; without it criu can handle fewer files.
HARMLESS = ("rlimit: Can't setup RLIMIT_NOFILE",)
# How a program that criu called has ended. The next error names the program.
VAGUE = ("exited, status=", "killed by signal ")
IPTABLES = "criu uses this program to hold connections: install iptables, or give --network-lock nftables"
# Words in criu's errors (criu/*.c), and the remedy.
HINTS = (
    ('execvp("iptables-restore"', IPTABLES),
    ('execvp("ip6tables-restore"', IPTABLES),
    ('execvp("', "criu needs this program: install it"),
    ("Connected TCP socket", "give --tcp-established, here and at the restore"),
    ("External socket", "give --ext-unix-sk, here and at the restore"),
    ("half of stream unix", "criu can keep a Unix socket to an outside process only if it is a datagram socket"),
    ("without peer", "a Unix socket leads into another network namespace, where criu does not look"),
    ("Dangling connection", "a Unix socket leads into another network namespace, where criu does not look"),
    ("Can't get rlimit", "criu needs CAP_SYS_RESOURCE to save processes of users other than root"),
    ("In-flight connection", "give --tcp-skip-in-flight"),
    ("Use link-remap option", "give --link-remap"),
    ("Can't get 1:16 opt", "saving network sockets on Linux 6.16 or later needs criu 4.2"),
    ("file locks are hold", "give --file-locks, here and at the restore"),
    ("not a session leader", "give --shell-job, here and at the restore"),
    ("Can't connect to server", "run there: criu page-server --images-dir DIR --port PORT"),
    ("dangling tty", "give --shell-job, here and at the restore"),
    ("Can't lookup mount", "a host file is open: use a pipe or /dev/null as the standard stream"),
    (".img: Permission denied", "the user namespace's root reads the images: let that user search the directory"),
    ("has unreachable sharing", "a mount in the container was made neither by config.json nor by the container itself"),
)


def _hint(said: str) -> str:
    known = next((hint for words, hint in HINTS if words in said), "")
    return known or ("criu needs the privileges of the host's root" if os.geteuid() != 0 or in_user_namespace() else "")
