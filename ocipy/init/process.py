"""What the process starts with: session, signals, working directory, environment, umask, descriptors; and the exec."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import CAUSES, Error
from ocipy.init import paths
from ocipy.init.lookup import home_directory, quote, reason, to_bytes
from ocipy.linux import _kernel, procfs
from ocipy.linux.constants import (
    CLOSE_RANGE_MAX,
    O_RDWR,
    PR_SET_NO_NEW_PRIVS,
    S_IFCHR,
    S_IFMT,
    SIGHUP,
    SIGINT,
    SIGQUIT,
    SIGTERM,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ocipy.init.context import Init

NULL = (1, 3)  # /dev/null: devices.txt

# What execve(2) means by an answer for a file that may be executed.
EXEC_CAUSES = {
    errno.E2BIG: "args and env are too long together, also by RLIMIT_STACK: execve(2)",
    errno.EACCES: "the interpreter that it names, by #! or as its dynamic loader, may not be executed",
    errno.ENOENT: "the file is there, but not the interpreter that it names: by #! (a CR at the end counts), or as its"
    " dynamic loader",
    errno.ENOEXEC: "it is neither a program for this machine nor a script that begins with #!",
    errno.EPERM: "linux.seccomp does not permit execve, or a security module forbids it",
}


def reset_signals(init: Init) -> None:
    """Default dispositions, nothing blocked: what the caller ignores or blocks would outlive the exec (execve(2)).

    conmon ignores SIGPIPE, and so does Python; the foreground of `run` blocks all.
    """
    _kernel.reset_signals()


def heed_signals(init: Init) -> None:
    """Let `kill` end a container that waits for start, as runc's init does.

    The first process of a pid namespace gets no signal that it has no handler for, but KILL (pid_namespaces(7)). The
    exec takes the handlers away. Now, and not when it waits: a seccomp filter need not permit this.
    """
    for number in (SIGHUP, SIGINT, SIGQUIT, SIGTERM):
        _kernel.exit_on_signal(number)


def session(init: Init) -> None:
    """A session of our own, so that the caller's terminal is not our controlling one.

    The umask is 0 until the process gets its own: what is made in between gets the mode that it is given.
    """
    try:
        posix.setsid()
    except PermissionError:  # we lead one already
        pass
    posix.umask(0)


def stdio_null(init: Init, *, required: bool) -> None:
    """Standard streams that are the host's /dev/null become the container's: no inode of the host stays open.

    required: create has made the device. Later on the container may have removed it, and then they stay what they are.
    """
    streams = [fd for fd in range(3) if is_null(fd)]
    if not streams:
        return
    try:
        device = paths.open_below(init.rootfs, "dev/null")
    except OSError as error:
        if not required:
            return
        raise Error("cannot open /dev/null in the container", errno=error.errno or 0) from None
    if is_null(device):
        try:
            opened = procfs.reopen(init.proc, device, O_RDWR)
        except OSError as error:
            hint = "no rule of linux.resources.devices allows c 1:3" if error.errno == errno.EPERM else ""
            raise Error("cannot open /dev/null in the container", errno=error.errno or 0, hint=hint) from None
        for fd in streams:
            posix.dup2(opened, fd)
        posix.close(opened)
    elif required:
        raise Error("/dev/null in the container is not the null device")
    posix.close(device)


def is_null(fd: int) -> bool:
    """Whether the descriptor is of the null device, by type and number; False if it is not open."""
    try:
        status = posix.stat(fd)
    except OSError:
        return False
    number = (posix.major(status.st_rdev), posix.minor(status.st_rdev))
    return status.st_mode & S_IFMT == S_IFCHR and number == NULL


def make_cwd(init: Init, *, path: str) -> None:
    """Make the working directory where it is missing. Whatever else is wrong with it, chdir will tell."""
    try:
        posix.close(paths.make_directory(init.rootfs, path))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.ELOOP, errno.ENOTDIR):
            raise Error(f"cannot make the working directory {path}", errno=error.errno or 0) from None


def no_new_privileges(init: Init) -> None:
    """PR_SET_NO_NEW_PRIVS."""
    _kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)


def close_descriptors(init: Init, *, keep: tuple[str, ...]) -> None:
    """Close all but the standard streams, the payload's, and what keep names: "rootfs", or a name in init.fds.

    Close-on-exec is not enough: what is open is open for chdir, for the lookup of the command and for the path
    walk of execve (CVE-2024-21626). The channel and the FIFO stay, which lead nowhere.
    """
    init.fds = {name: fd for name, fd in init.fds.items() if name in keep}
    wanted = [init.channel.fd, init.report_fd, *init.fds.values()]
    if "rootfs" in keep:
        wanted.append(init.rootfs)
    else:
        init.rootfs = -1
    close_all_but(3 + init.preserved, wanted)


def close_all_but(first: int, keep: Iterable[int]) -> None:
    """Close every descriptor from first on that is not in keep (where -1 means none)."""
    for fd in sorted(keep):
        if fd < first:
            continue
        if fd > first:
            _close_range(first, fd - 1)
        first = fd + 1
    _close_range(first, CLOSE_RANGE_MAX)


def _close_range(first: int, last: int) -> None:
    """Close first to last. A seccomp filter that is already in force may know nothing of close_range (Linux 5.9);
    by then all descriptors have small numbers, since init began with few and each took the lowest that was free."""
    try:
        _kernel.close_range(first, last, 0)
    except OSError:
        posix.closerange(first, min(last, 4095) + 1)


def working_directory(init: Init, *, path: str) -> None:
    """Change to it as root of the container; where that is refused, working_directory_again may be able to."""
    try:
        posix.chdir(to_bytes(path))
    except PermissionError:
        return
    except OSError as error:
        raise _no_cwd(path, error) from None
    _check_cwd()
    init.cwd_entered = True


def working_directory_again(init: Init, *, path: str) -> None:
    """As the final user, if root could not: a home of mode 0700 on NFS, where root is nobody."""
    # Else it was entered and checked before, and getcwd may be what the filter refuses by now.
    if not init.cwd_entered:
        try:
            posix.chdir(to_bytes(path))
        except OSError as error:
            raise _no_cwd(path, error) from None
        _check_cwd()


def _no_cwd(path: str, error: OSError) -> Error:
    hint = "it does not exist in the container" if error.errno == errno.ENOENT else ""
    return Error(f"cannot change to the working directory {path}", errno=error.errno or 0, hint=hint)


def _cwd() -> str:
    """The working directory as the kernel tells it, "" if it has been removed."""
    try:
        return _kernel.getcwd()
    except FileNotFoundError:
        return ""


def _check_cwd() -> None:
    """It must be reachable from the container's root: through a leaked descriptor it would not be (CVE-2024-21626)."""
    if not _cwd().startswith("/"):
        raise Error(
            "the working directory is outside of the container's root",
            hint="it must not lead through /proc/self/fd",
        )


def environment(init: Init, *, variables: tuple[str, ...], uid: int, listen_fds: int) -> None:
    """The environment of the process, and nothing of ours. Fills init.environment.

    variables: NAME=value, each name once. HOME comes from the container's passwd file where it is absent or empty.
    listen_fds: so many descriptors are handed on by sd_listen_fds(3).
    """
    result: dict[bytes, bytes] = {}
    for variable in variables:
        name, _, value = to_bytes(variable).partition(b"=")
        result[name] = value
    if not result.get(b"HOME"):
        result.pop(b"HOME", None)
        result[b"HOME"] = home_directory(init, uid)
    if listen_fds:
        result[b"LISTEN_FDS"] = str(listen_fds).encode()
        result[b"LISTEN_PID"] = b"1"
    init.environment = result


def umask(init: Init, *, mask: int) -> None:
    """umask(2)."""
    posix.umask(mask)


def rlimit_at_exec(init: Init, *, name: str, resource: int, soft: int, hard: int) -> None:
    """Keep a limit that would bind us ourselves for the moment of the exec. The host has seen to it that it is
    permitted. Fills init.limits."""
    init.limits += ((resource, soft, hard),)


def execute(init: Init, *, arguments: tuple[str, ...]) -> None:
    """execve(2), which returns only to fail."""
    argv = tuple(to_bytes(argument) for argument in arguments)
    try:
        if init.limits:
            environment = tuple(name + b"=" + value for name, value in init.environment.items())
            _kernel.execve_limited(init.command, argv, environment, init.limits)
        posix.execve(init.command, argv, init.environment)
    except OSError as error:
        hint = EXEC_CAUSES.get(error.errno or 0) or CAUSES.get(error.errno or 0, "")
        raise Error(f"exec {quote(init.command)}: {reason(error)}", hint=hint) from None


def no_process(init: Init) -> None:
    """start MUST generate an error if process was not set (runtime.md, Start)."""
    raise Error("there is no process to run", hint="config.json had no process when the container was created")


ACTIONS: dict[str, Callable[..., None]] = {
    "heed_signals": heed_signals,
    "reset_signals": reset_signals,
    "session": session,
    "stdio_null": stdio_null,
    "make_cwd": make_cwd,
    "no_new_privileges": no_new_privileges,
    "close_descriptors": close_descriptors,
    "working_directory": working_directory,
    "working_directory_again": working_directory_again,
    "environment": environment,
    "rlimit_at_exec": rlimit_at_exec,
    "umask": umask,
    "execute": execute,
    "no_process": no_process,
}
