"""Talking to criu: where it is, one request after the other (`criu swrk`, https://criu.org/RPC), its log. Cold.

criu is a program of the host's. It is looked for, and executed, before and outside of anything that is the
container's (CVE-2022-1227).
"""

from __future__ import annotations

import errno
import fcntl
import os
import posix
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ocipy.children.interrupts import check as check_interrupts
from ocipy.criu import messages
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import CLONE_PIDFD, O_CLOEXEC, POLLIN, SIGCHLD, SIGKILL, SOCK_SEQPACKET
from ocipy.linux.files import read_file
from ocipy.linux.namespaces import in_user_namespace
from ocipy.linux.text import decode
from ocipy.plan.checkpoint import OLDEST, CriuFlags, describe_version, log_file

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTALL = "install criu 3.0 or later (package criu), or name it by --criu PATH"
# Bytes; a response is some hundred.
MAX_MESSAGE = 64 * 1024
FINISH_PATIENCE_MS = 30_000
# To come to where a dump can be given up: it is told nothing more, and lets the container go on.
GIVE_UP_PATIENCE_MS = 10_000
# Descriptors of the child above all that criu gets.
SAFE_FD = 64
# A line of criu's log, "(00.131739) Error (criu/sk-inet.c:191): inet: …", of a restored process with its pid before.
ERROR = re.compile(r"\(\d+\.\d+\)\s+(?:pie: )?(?:\d+: )?Error \(([^)]*)\): (.*)")
# What it does not mark as one, though it fails for that reason.
UNMARKED = re.compile(r"\(\d+\.\d+\)\s+(Can't connect to server .*)")
SOCKET_FD = 3
FIRST_FD = 4
"""The number in criu of the first of the descriptors that are handed to it."""


# What the features need of the kernel's configuration.
KERNEL = {"lazy_pages": "CONFIG_USERFAULTFD", "mem_track": "CONFIG_MEM_SOFT_DIRTY"}


class Criu:
    """An executable, and its version as plan/checkpoint.py compares it. Make it by find."""

    def __init__(self, path: str, version: int) -> None:
        self.path = path
        self.version = version

    def check_feature(self, feature: str, flag: str) -> None:
        """Raise Error if criu, or this kernel, lacks a feature (of the message criu_features) that a flag needs."""
        response = ask(self.path, {"type": messages.FEATURE_CHECK, "features": {feature: True}})
        if not response.get("success") or not response.get("features", {}).get(feature):
            raise Error(
                f"{flag} needs criu's feature {feature}, which is missing here",
                hint=f"criu {describe_version(self.version)} lacks it, or this kernel, which wants {KERNEL[feature]}",
            )


def find(given: str) -> Criu:
    """criu by --criu, or in PATH, with its version. Raises Error where there is none, or one that is too old."""
    wanted = given or "criu"
    search = ":".join(place for place in os.environ.get("PATH", DEFAULT_PATH).split(":") if place.startswith("/"))
    import shutil  # which loads libraries, so that it cannot be in the snapshot

    path = shutil.which(wanted, path=search or DEFAULT_PATH)
    if path is None:
        where = "there is no program of that name" if given else "criu is not installed"
        raise Error(f"cannot run {wanted}: {where}", pointer="--criu" if given else "", hint=INSTALL)
    path = os.path.abspath(path)
    try:
        response = ask(path, {"type": messages.VERSION})
    except NoAnswer as problem:
        raise Error(f"{path} does not answer as criu 3.0 does: {problem.what}", hint=INSTALL) from None
    version = number_of(response.get("version") or {})
    if not response.get("success") or version < OLDEST:
        found = f"is version {describe_version(version)}, which" if version else "does not tell its version, so it"
        raise Error(f"{path} {found} is too old", hint=INSTALL)
    return Criu(path, version)


def number_of(version: Mapping[str, Any]) -> int:
    """31701 for 3.17.1. A build from between two versions (it has a gitid) counts as the next minor one."""
    number = int(version.get("major_number", 0)) * 10000 + int(version.get("minor_number", 0)) * 100
    return number + (100 if version.get("gitid") else int(version.get("sublevel", 0)))


def ask(path: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The response to a request that needs nothing but an answer. Raises Error."""
    session = Session(path)
    try:
        session.send(request)
        return session.receive()[0]
    finally:
        session.end()


class NoAnswer(Error):
    """criu has ended without a response."""

    __slots__ = ()


class Session:
    """A running `criu swrk`, which serves one request.

    prepare: what the child does before it becomes criu. fds: handed to it, as 4 and on. streams: it gets our standard
    streams, for the processes that it restores; else /dev/null. Raises Error.
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
        reader, writer = posix.pipe2(O_CLOEXEC)
        try:
            self.pid, self.pidfd = _kernel.clone3(CLONE_PIDFD, SIGCHLD, -1)
            if self.pid == 0:
                _become_criu(path, theirs, fds, writer, streams, prepare)
        finally:
            posix.close(theirs)
            posix.close(writer)
        self.socket = ours
        self.status: int | None = None
        with os.fdopen(reader, "rb") as pipe:
            failure = pipe.read()
        if failure:
            self.end()
            raise Error.from_message(_kernel.json_loads(failure))

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request, or the answer to a notification. Raises NoAnswer, OSError."""
        try:
            _kernel.send(self.socket, messages.encode(messages.REQUEST, request))
        except (BrokenPipeError, ConnectionResetError):
            raise self._gone() from None

    def receive(self, interrupts: int = -1) -> tuple[dict[str, Any], list[int]]:
        """The next response, with its descriptors. Raises Error, NoAnswer; also for a signal that ends us."""
        ready = dict(_kernel.poll([(self.socket, POLLIN), (self.pidfd, POLLIN), (interrupts, POLLIN)], -1))
        check_interrupts(interrupts)
        # What criu restores has its end of the socket too for a while: only its own end is one of the connection.
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
            raise Error(f"{self.path} sent a message that is none: {problem}") from None

    def _gone(self) -> NoAnswer:
        code = posix.waitstatus_to_exitcode(self.wait())
        how = f"it was killed by signal {-code}" if code < 0 else f"it ended with status {code}"
        return NoAnswer(how)

    def wait(self) -> int:
        """Wait for criu's end; its wait status."""
        if self.status is None:
            self.status = posix.waitpid(self.pid, 0)[1]
        return self.status

    def finish(self, patience: int = FINISH_PATIENCE_MS) -> None:
        """Close the connection after the last response, and give criu time to end of itself, in milliseconds.

        How it ends is of no interest: after a pre-dump it waits for another request, and takes the end for an error.
        """
        posix.close(self.socket)
        self.socket = -1
        if _kernel.poll([(self.pidfd, POLLIN)], patience):
            self.wait()

    def end(self) -> None:
        """Close the connection; criu, where it still runs, is killed."""
        if self.pidfd < 0:
            return
        if self.socket >= 0:
            posix.close(self.socket)
            self.socket = -1
        if self.status is None:
            try:
                _kernel.pidfd_send_signal(self.pidfd, SIGKILL)
            except ProcessLookupError:
                pass
            self.wait()
        posix.close(self.pidfd)
        self.pidfd = -1


def _become_criu(
    path: str, socket: int, fds: Sequence[int], writer: int, streams: bool, prepare: Callable[[], None] | None
) -> NoReturn:
    """The child's part. What goes wrong is written to the pipe, which an exec closes."""
    failure = Error("internal error: criu was not executed")
    writer = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, SAFE_FD)
    try:
        if prepare is not None:
            prepare()
        if not streams:
            # A terminal's signals are not for it: a dump that is cut off leaves the container in pieces.
            posix.setpgid(0, 0)
            null = posix.open("/dev/null", posix.O_RDWR)
            for fd in range(3):
                posix.dup2(null, fd)
        handed = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, SAFE_FD) for fd in (socket, *fds)]
        for fd, safe in enumerate(handed, SOCKET_FD):
            posix.dup2(safe, fd)
        _kernel.close_range(SOCKET_FD + len(handed), SAFE_FD - 1, 0)
        _kernel.reset_signals()
        posix.execve(path, [path, "swrk", str(SOCKET_FD)], os.environ)
    except Error as error:
        failure = error
    except OSError as error:
        failure = Error(f"cannot run {path}", errno=error.errno or 0)
    except Exception as error:
        failure = Error(f"internal error: {type(error).__name__}: {error}")
    finally:
        posix.write(writer, _kernel.json_dumps(failure.to_message()))
        posix._exit(127)


def failure(what: str, response: Mapping[str, Any], log: str, images: str = "") -> Error:
    """The error of a request that has failed. what: "criu cannot dump the container". log: the path of criu's log.
    images: the directory that it has written into, "" if it has not.

    What criu says first is the cause; what follows are the consequences.
    """
    said = first_error(log)
    if not said and _is_full(os.path.dirname(log)):
        return Error(f"{what}: there is no room for its log {log}", errno=errno.ENOSPC)
    said = said or _message(response) or first_error(log, trials=True)
    number = response.get("cr_errno", 0)
    error = Error(f"{what}: {said or 'it does not say why'} (criu's log: {log})")
    if not said and 0 < number < 4096:
        error.errno = number
    error.hint = f"the filesystem of {images} is full" if images and _is_full(images) else _hint(said)
    return error


def log_path(flags: CriuFlags, name: str) -> str:
    """Where criu's log is: that of its own configuration file, or of this name beside its work files."""
    if flags.config_file:
        try:
            name = log_file(decode(read_file(flags.config_file))) or name
        except OSError:  # criu tells of that
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
    """The first error in a log of criu's, without its time: "inet: Connected TCP socket, … (criu/sk-inet.c:191)".

    Before it begins criu tries out the kernel, and calls it an error where that lacks something. So what is from before
    the last word of that (mmap_min_addr) counts only where trials are wanted, and what it goes on after never.
    """
    tried, trying = "", True
    try:
        with open(path, encoding="utf-8", errors="replace", newline="\n") as log:
            for line in log:
                if trying and "mmap_min_addr" in line:
                    trying = False
                    if tried and trials:
                        return tried
                error = _error_of(line)
                if error and not trying:
                    return error
                tried = tried or error
    except OSError:
        pass
    return tried if trying else ""


def _error_of(line: str) -> str:
    unmarked = UNMARKED.match(line)
    if unmarked:
        return unmarked[1]
    found = ERROR.match(line)
    return f"{found[2].strip()} ({found[1]})" if found and not found[2].startswith(HARMLESS) else ""


# Raising this takes CAP_SYS_RESOURCE; without it criu can do with fewer files.
HARMLESS = ("rlimit: Can't setup RLIMIT_NOFILE",)
# Words of criu's errors (criu/*.c), and what helps.
HINTS = (
    ("Connected TCP socket", "give --tcp-established, here and at the restore"),
    ("External socket", "give --ext-unix-sk, here and at the restore"),
    ("half of stream unix", "of Unix sockets to somebody outside criu can keep those of datagrams alone"),
    ("without peer", "a Unix socket leads into another network namespace, where criu does not look"),
    ("Dangling connection", "a Unix socket leads into another network namespace, where criu does not look"),
    ("Can't get rlimit", "criu takes CAP_SYS_RESOURCE to save the processes of another user than root"),
    ("In-flight connection", "give --tcp-skip-in-flight"),
    ("Use link-remap option", "give --link-remap"),
    ("Can't get 1:16 opt", "from Linux 6.16 on it takes criu 4.2 to save a socket of the network"),
    ("file locks are hold", "give --file-locks, here and at the restore"),
    ("not a session leader", "give --shell-job, here and at the restore"),
    ("Can't connect to server", "what is to run there: criu page-server --images-dir DIR --port PORT"),
    ("dangling tty", "give --shell-job, here and at the restore"),
    ("Can't lookup mount", "a file of the host's is open: as a standard stream criu takes a pipe, or /dev/null"),
    (".img: Permission denied", "in a user namespace its root reads the images: let it search their directory"),
    ("has unreachable sharing", "a mount in the container is neither of config.json nor of the container's own making"),
)


def _hint(said: str) -> str:
    known = next((hint for words, hint in HINTS if words in said), "")
    return known or ("criu takes the rights of the host's root" if os.geteuid() != 0 or in_user_namespace() else "")
