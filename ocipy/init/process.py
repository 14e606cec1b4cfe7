"""process: session, signals, descriptors, cwd, env, umask and noNewPrivileges; then the exec of args."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import CAUSES, Error, caused_by, reported_as
from ocipy.init import paths
from ocipy.init.context import Descriptors, carries_out
from ocipy.init.lookup import find, home_directory, quote, reason, to_bytes
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
from ocipy.plan.process import (
    CloseDescriptors,
    Command,
    Environment,
    Execute,
    HeedSignals,
    MakeCwd,
    NoNewPrivileges,
    NoProcess,
    ResetSignals,
    Session,
    StdioNull,
    Umask,
    WorkingDirectory,
    WorkingDirectoryAgain,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ocipy.init.context import Init

NULL = posix.makedev(1, 3)  # /dev/null: devices.txt

# What an errno of execve(2) means for an executable file.
EXEC_CAUSES = {
    errno.E2BIG: "args and env together are too long; RLIMIT_STACK also limits them: execve(2)",
    errno.EACCES: "its interpreter, the one after #! or its dynamic loader, may not be executed",
    errno.ENOENT: "the file exists, but its interpreter does not: the one after #!, perhaps with a CR at the end of the"
    " line, or its dynamic loader",
    errno.ENOEXEC: "it is neither a program for this machine nor a script starting with #!",
    errno.EPERM: "linux.seccomp does not permit execve, or a security module forbids it",
}


@carries_out(ResetSignals)
def reset_signals(init: Init, step: ResetSignals) -> None:
    """Set default dispositions and unblock all signals: ignored and blocked ones would survive the exec (execve(2)).

    conmon ignores SIGPIPE, and so does Python. `run` in the foreground blocks all signals.
    """
    _kernel.reset_signals()


@carries_out(HeedSignals)
def heed_signals(init: Init, step: HeedSignals) -> None:
    """Let `kill` end a container that waits for start, as runc's init does.

    The first process of a pid namespace only receives signals that it handles, except KILL (pid_namespaces(7)). The
    exec removes the handlers. They are set up now because later a seccomp filter may not permit it.
    """
    for number in (SIGHUP, SIGINT, SIGQUIT, SIGTERM):
        _kernel.exit_on_signal(number)


@carries_out(Session)
def session(init: Init, step: Session) -> None:
    """Make a session, so that the caller's terminal is not our controlling one.

    The umask is 0 until the process gets its own: files made until then get exactly the mode they are given.
    """
    try:
        posix.setsid()
    except PermissionError:  # we already lead one
        pass
    posix.umask(0)


@carries_out(StdioNull)
def stdio_null(init: Init, step: StdioNull) -> None:
    """Replace standard streams that are the host's /dev/null with the container's, to keep no inode of the host open.

    required: create has just made the device. At an exec it may be missing: then leave the streams unchanged.
    """
    streams = [fd for fd in range(3) if is_null(fd)]
    if not streams:
        return
    try:
        device = paths.open_below(init.rootfs, "dev/null")
    except OSError as error:
        if not step.required:
            return
        raise caused_by(error, "cannot open /dev/null in the container") from None
    if is_null(device):
        with reported_as(
            "cannot open /dev/null in the container",
            hint={errno.EPERM: "no rule of linux.resources.devices allows c 1:3"},
        ):
            opened = procfs.reopen(init.proc, device, O_RDWR)
        for fd in streams:
            posix.dup2(opened, fd)
        posix.close(opened)
    elif step.required:
        raise Error("/dev/null in the container is not the null device")
    posix.close(device)


def is_null(fd: int) -> bool:
    """Whether the descriptor is the null device, by type and number; False if it is not open."""
    try:
        status = posix.stat(fd)
    except OSError:
        return False
    return status.st_rdev == NULL and status.st_mode & S_IFMT == S_IFCHR


@carries_out(MakeCwd)
def make_cwd(init: Init, step: MakeCwd) -> None:
    """Make the working directory if it is missing. chdir reports any other fault."""
    if step.path == "/":
        return
    try:
        posix.close(paths.make_directory(init.rootfs, step.path))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.ELOOP, errno.ENOTDIR):
            raise caused_by(error, f"cannot make the working directory {step.path}") from None


@carries_out(NoNewPrivileges)
def no_new_privileges(init: Init, step: NoNewPrivileges) -> None:
    """Set no_new_privs (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    _kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)


@carries_out(CloseDescriptors)
def close_descriptors(init: Init, step: CloseDescriptors) -> None:
    """Close everything but the standard streams, the payload's, and what the step names.

    Close-on-exec is not enough: chdir, the lookup of the command and the path walk of execve could still use an open
    descriptor (CVE-2024-21626). The channel and the FIFO stay; they lead nowhere.
    """
    opened, init.fds = init.fds, Descriptors()
    if step.for_start:
        init.fds.fifo, init.fds.report = opened.fifo, opened.report
    if step.for_hooks:
        init.fds.outputs = opened.outputs
    if step.for_entry:
        init.fds.namespaces["pid"] = opened.namespaces["pid"]
    else:
        init.rootfs = -1
    close_all_but(3 + init.preserved, [init.channel.fd, init.report_fd, init.rootfs, *init.fds.all()])


def close_all_but(first: int, keep: Iterable[int]) -> None:
    """Close every descriptor from first upwards that is not in keep (-1 is ignored)."""
    kept = sorted(keep)
    for fd in kept[kept.count(-1) :]:
        if fd > first:
            _close_range(first, fd - 1)
        if fd >= first:
            first = fd + 1
    _close_range(first, CLOSE_RANGE_MAX)


def _close_range(first: int, last: int) -> None:
    """Close first to last. A loaded seccomp filter may deny close_range (Linux 5.9): then close only the small numbers.

    All our descriptors have small numbers, since init began with few, and each new one took the lowest free number.
    """
    try:
        _kernel.close_range(first, last, 0)
    except OSError:
        posix.closerange(first, min(last, 4095) + 1)


@carries_out(WorkingDirectory)
def working_directory(init: Init, step: WorkingDirectory) -> None:
    """Change to it as root of the container. If that is refused, working_directory_again may succeed."""
    try:
        posix.chdir(to_bytes(step.path))
    except PermissionError:
        return
    except OSError as error:
        raise _no_cwd(step.path, error) from None
    _check_cwd()
    init.cwd_entered = True


@carries_out(WorkingDirectoryAgain)
def working_directory_again(init: Init, step: WorkingDirectoryAgain) -> None:
    """Change to it as the final user if root could not, as for a home of mode 0700 on NFS, where root is nobody."""
    # Otherwise it was entered and checked before, and the filter may deny getcwd by now.
    if not init.cwd_entered:
        try:
            posix.chdir(to_bytes(step.path))
        except OSError as error:
            raise _no_cwd(step.path, error) from None
        _check_cwd()


def _no_cwd(path: str, error: OSError) -> Error:
    hint = "it does not exist in the container" if error.errno == errno.ENOENT else ""
    return caused_by(error, f"cannot change to the working directory {path}", hint=hint)


def _cwd() -> str:
    """Return the working directory as the kernel reports it, "" if it has been removed."""
    try:
        return _kernel.getcwd()
    except FileNotFoundError:
        return ""


def _check_cwd() -> None:
    """Check that it is inside the container's root: through a leaked descriptor it would not be (CVE-2024-21626)."""
    if not _cwd().startswith("/"):
        raise Error(
            "the working directory is outside the container's root",
            hint="it must not lead through /proc/self/fd",
        )


@carries_out(Environment)
def environment(init: Init, step: Environment) -> None:
    """Set the environment of the process, without any of our variables. Sets init.environment.

    variables: NAME=value, each name once. HOME comes from the container's passwd file if it is missing or empty.
    listen_fds: how many descriptors to announce as sd_listen_fds(3) expects.
    """
    result: dict[bytes, bytes] = {}
    for variable in step.variables:
        name, _, value = to_bytes(variable).partition(b"=")
        result[name] = value
    if not result.get(b"HOME"):
        result.pop(b"HOME", None)
        result[b"HOME"] = home_directory(init, step.uid)
    if step.listen_fds:
        result[b"LISTEN_FDS"] = str(step.listen_fds).encode()
        result[b"LISTEN_PID"] = b"1"
    init.environment = result


@carries_out(Umask)
def umask(init: Init, step: Umask) -> None:
    """umask(2)."""
    posix.umask(step.mask)


@carries_out(Command)
def command(init: Init, step: Command) -> None:
    """Find the command as execvp(3) would, in the PATH of the process, without a default. Sets init.command.

    This runs at create, as the final user. Engines tell exit status 126 from 127 by these sentences of runc's.
    """
    init.command = find(to_bytes(step.name), init.environment.get(b"PATH", b""))


@carries_out(Execute)
def execute(init: Init, step: Execute) -> None:
    """execve(2), which returns only on failure."""
    argv = tuple(to_bytes(argument) for argument in step.arguments)
    try:
        if init.limits:
            environment = tuple(name + b"=" + value for name, value in init.environment.items())
            _kernel.execve_limited(init.command, argv, environment, init.limits)
        posix.execve(init.command, argv, init.environment)
    except OSError as error:
        raise exec_refused(quote(init.command), error.errno or 0) from None


def exec_refused(command: str, number: int) -> Error:
    """Return the Error for an errno of execve(2). command: quoted."""
    hint = EXEC_CAUSES.get(number) or CAUSES.get(number, "")
    return Error(f"exec {command}: {reason(OSError(number, ''))}", hint=hint)


@carries_out(NoProcess)
def no_process(init: Init, step: NoProcess) -> None:
    """Fail: start must generate an error if process was not set (runtime.md, Start)."""
    raise Error("there is no process to run", hint="config.json had no process when the container was created")
