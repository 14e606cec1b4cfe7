"""linux.seccomp on the host: compile the profile to BPF, cache the filters, and send listeners to the agent
(listenerPath, listenerMetadata).

Compiling needs libseccomp and all of Python, so it is done once (host/seccomp_compile.py, in a child). The program
is cached under a digest of everything that it depends on: the profile, the architecture, the kernel's release and the
libseccomp that compiled it. A hit reads two small files.

A cached filter is code. So its directory must be our user's, with mode 0700, and is opened by descriptors, without
following symlinks. Each file is checked at each use: owner, mode, kind, a single link, length, and a header with a
digest of its key and its program. A file that fails a check is not used, but made again.
"""

from __future__ import annotations

import errno
import posix

from ocipy.children import once
from ocipy.errors import Error, reported_as
from ocipy.host.context import carries_out
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    BPF_MAXINSNS,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_NONBLOCK,
    O_RDONLY,
    O_WRONLY,
    S_IFMT,
    S_IFREG,
)
from ocipy.linux.memory import memory_file
from ocipy.plan.seccomp import INSTRUCTION, SeccompFilter, SeccompListener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.config.types import Seccomp
    from ocipy.host.context import HostRun

SYSTEM_CACHE = "/var/cache"
# Next to the containers' directories if /var/cache is not writable; no container id contains "@".
LOCAL_CACHE = "@seccomp"
# The file that says which libseccomp the compiler used: its path and version.
LIBRARY = "libseccomp"
MAGIC = b"ocipy seccomp 1\n"
HEADER = len(MAGIC) + 64 + 1
MAX_FILTERS = 128
MAX_PROGRAM = BPF_MAXINSNS * INSTRUCTION


@carries_out(SeccompFilter)
def seccomp_filter(run: HostRun, step: SeccompFilter) -> None:
    """Put the program into a memfd that init inherits."""
    root = run.state.directory.rpartition("/")[0]
    run.fds.seccomp = memory_file("seccomp", program(step.profile, root))


def program(profile: Seccomp, root: str) -> bytes:
    """Return a profile's BPF program, from the cache if possible. root: the directory of all containers' states.

    Raises Error if libseccomp refuses the profile.
    """
    text = _kernel.json_dumps(profile)
    directory = open_cache(root)
    try:
        if directory < 0:
            return compile_in_child(text)[0]
        key = _key(directory, text)
        cached = read_cached(directory, key, key) if key else None
        if cached is not None and len(cached) % INSTRUCTION == 0 and 0 < len(cached) <= MAX_PROGRAM:
            return cached
        compiled, library = compile_in_child(text)
        store(directory, LIBRARY, LIBRARY, library)
        key = _key(directory, text)
        if key:
            store(directory, key, key, compiled)
            _evict(directory)
        return compiled
    finally:
        if directory >= 0:
            posix.close(directory)


def _key(directory: int, text: bytes) -> str:
    """Return the digest of everything that a program depends on, "" if the library is not known yet."""
    library = read_cached(directory, LIBRARY, LIBRARY)
    if library is None:
        return ""
    try:
        status = posix.stat(library.partition(b"\n")[0])
    except (OSError, ValueError):
        return ""
    system = posix.uname()
    file = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    identity = f"{system.machine} {system.release} {file}\n".encode()
    return _kernel.sha256(MAGIC + identity + library + b"\n" + text)


def open_cache(root: str) -> int:
    """Return a descriptor of the cache directory, -1 if there is no trustworthy one."""
    places: list[tuple[str, tuple[str, ...]]] = [(SYSTEM_CACHE, ("ocipy", "seccomp"))] if posix.geteuid() == 0 else []
    if root:
        places.append((root, (LOCAL_CACHE,)))
    for parent, names in places:
        try:
            return _open_private(parent, names)
        except OSError:
            continue
    return -1


def _open_private(parent: str, names: tuple[str, ...]) -> int:
    """Walk down, making missing directories. Raises OSError unless everything below parent belongs to us alone."""
    fd = posix.open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    for name in names:
        above = fd
        try:
            try:
                posix.mkdir(name, 0o700, dir_fd=above)
            except FileExistsError:
                pass
            fd = posix.open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, dir_fd=above)
        finally:
            posix.close(above)
        status = posix.stat(fd)
        if status.st_uid != posix.geteuid() or status.st_mode & 0o077:
            posix.close(fd)
            raise OSError(errno.EPERM, "")
    return fd


def read_cached(directory: int, name: str, key: str) -> bytes | None:
    """Return a cached file's content, or None unless it is complete, ours, and stored under this key."""
    try:
        # O_NONBLOCK: a FIFO in its place must not block us.
        fd = posix.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    try:
        status = posix.stat(fd)
        if (
            status.st_mode & S_IFMT != S_IFREG
            or status.st_mode & 0o7777 != 0o600
            or status.st_uid != posix.geteuid()
            or status.st_nlink != 1
            or not HEADER < status.st_size <= HEADER + MAX_PROGRAM
        ):
            return None
        data = posix.read(fd, HEADER + MAX_PROGRAM + 1)
    finally:
        posix.close(fd)
    content = data[HEADER:]
    return content if data[:HEADER] == _header(key, content) else None


def _header(key: str, content: bytes) -> bytes:
    return MAGIC + _kernel.sha256(key.encode() + b"\n" + content).encode() + b"\n"


def store(directory: int, name: str, key: str, content: bytes) -> None:
    """Write a file under a temporary name, then rename it. An unwritable cache is not an error."""
    temporary = f".{name}.{posix.getpid()}"
    try:
        fd = posix.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600, dir_fd=directory)
    except OSError:
        return
    try:
        try:
            posix.fchmod(fd, 0o600)  # regardless of the umask
            data = _header(key, content) + content
            if posix.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, "")
        finally:
            posix.close(fd)
        posix.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        try:
            posix.unlink(temporary, dir_fd=directory)
        except OSError:
            pass


def _evict(directory: int) -> None:
    """Remove the oldest filters beyond MAX_FILTERS, and leftovers of killed writers."""
    found = []
    for name in posix.listdir(directory):
        if name == LIBRARY:
            continue
        try:
            found.append((posix.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime_ns, name))
        except OSError:
            continue
    for _, name in sorted(found)[:-MAX_FILTERS]:
        try:
            posix.unlink(name, dir_fd=directory)
        except OSError:
            pass


def compile_in_child(text: bytes) -> tuple[bytes, bytes]:
    """Return (program, file and version of libseccomp). Raises Error."""

    def work() -> bytes:
        from ocipy.host.seccomp_compile import main

        return main(text)

    answer = once.with_python(
        "compiling the filter",
        work,
        hint="this needs libseccomp (package libseccomp2) and the Python package pyseccomp or seccomp",
    )
    length, _, rest = answer.partition(b"\n")
    return rest[int(length) :], rest[: int(length)]


@carries_out(SeccompListener)
def seccomp_listener(run: HostRun, step: SeccompListener) -> None:
    """Fetch init's listener by its number, and send it to the agent (config-linux.md, Seccomp). Raises Error."""
    from ocipy.host.lane import channel_of, wait_for

    body = wait_for(run, "seccomp")
    number = body.get("fd")
    if not isinstance(number, int) or number < 0:
        raise Error("the init process sent a malformed message")
    listener = _kernel.pidfd_getfd(run.pidfd, number)
    try:
        send_listener(listener, step.path, step.metadata, run.pid, run.state.for_hooks(run.status))
    finally:
        posix.close(listener)
    channel_of(run).send("seccomp")


def send_listener(listener: int, path: str, metadata: str, pid: int, state: dict[str, Any]) -> None:
    """Send the listener in one message on its own connection. pid: whose system calls it receives. Raises Error."""
    message = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid, "state": state}
    if metadata:
        message["metadata"] = metadata
    agent = -1
    try:
        with reported_as(
            f"cannot send the listener to the agent at {path}",
            hint={
                errno.ENOENT: "the agent must listen there before create",
                errno.ECONNREFUSED: "the agent must listen there before create",
            },
        ):
            agent = _kernel.connect_unix(path)
            data = _kernel.json_dumps(message)
            # The descriptor travels with the first bytes only.
            sent = _kernel.send(agent, data, (listener,))
            while sent < len(data):
                sent += _kernel.send(agent, data[sent:])
    finally:
        if agent >= 0:
            posix.close(agent)
