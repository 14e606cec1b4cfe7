"""The only door to the kernel: a C extension of thin system-call wrappers, without policy.

One function per system call; errno becomes OSError (without a file name); flags are plain ints from
ocipy.linux.constants; struct layouts come from kernel headers. -1 as a directory descriptor is not special: pass
AT_FDCWD. Returned descriptors are close-on-exec.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

Result = TypeVar("Result")

# mounts: mount(2), umount2(2), pivot_root(2), and the new mount API
def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None) -> None: ...
def umount2(target: str, flags: int) -> None: ...
def pivot_root(new_root: str, put_old: str) -> None: ...
def open_tree(dirfd: int, path: str, flags: int) -> int: ...
def move_mount(from_fd: int, from_path: str, to_fd: int, to_path: str, flags: int) -> None: ...
def fsopen(fstype: str, flags: int) -> int: ...
def fsconfig(fd: int, command: int, key: str | None, value: str | bytes | None, aux: int) -> None: ...
def fsmount(fd: int, flags: int, attributes: int) -> int: ...
def mount_setattr(
    dirfd: int, path: str, flags: int, attr_set: int, attr_clr: int, propagation: int, userns_fd: int
) -> None: ...
def fstatfs(fd: int) -> tuple[int, int]:
    """(f_type, f_flags) of statfs(2)."""

def mount_id(dirfd: int, path: str, flags: int) -> int:
    """stx_mnt_id of statx(2)."""

# paths
def openat2(dirfd: int, path: str, flags: int, mode: int, resolve: int) -> int: ...
def fchownat(dirfd: int, path: str, uid: int, gid: int, flags: int) -> None: ...
def close_range(first: int, last: int, flags: int) -> None: ...
def getcwd() -> str:
    """The raw system call: may begin with "(unreachable)"."""

def flock(fd: int, operation: int) -> None: ...

# processes
def clone3(flags: int, exit_signal: int, cgroup_fd: int) -> tuple[int, int]:
    """(pid, pidfd), or (0, -1) in the child, where PyOS_AfterFork_Child has run. cgroup_fd -1: none."""

def aside(work: Callable[[], Result]) -> Result:
    """What a function returns or raises in a child with our memory, but its own descriptors, directories and
    namespaces. Until it returns we stand still, and no signal but SIGKILL ends that: nothing in it may wait for long.
    """

def spawn(
    prepare: Callable[[], None], path: bytes, arguments: tuple[bytes, ...], environment: tuple[bytes, ...]
) -> int:
    """The pid of a child that executes a program after a function, which it runs as in aside. Raises what that
    raises."""

def execve_limited(
    path: bytes, arguments: tuple[bytes, ...], environment: tuple[bytes, ...], limits: tuple[tuple[int, int, int], ...]
) -> NoReturn:
    """prlimit(2) with each (resource, soft, hard), then execve(2), with nothing in between."""

def wait_and_execute(
    fifo: int,
    report: int,
    first_foreign: int,
    watch: bool,
    path: bytes,
    arguments: tuple[bytes, ...],
    environment: tuple[bytes, ...],
    limits: tuple[tuple[int, int, int], ...],
    filter: bytes,
    filter_in_force: bool,
    loads_filter: bool,
    filter_flags: int,
    filter_is_optional: bool,
    filter_failure: bytes,
    exec_failure: bytes,
) -> NoReturn:
    """Gives back all memory, waits for start at the FIFO, closes descriptors from first_foreign on except report, loads
    the filter if loads_filter, sets the limits, and executes. What fails is told through report: filter_failure or
    exec_failure, the errno, and "}"."""

def unshare(flags: int) -> None: ...
def setns(fd: int, nstype: int) -> None: ...
def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int: ...
def set_name(name: str) -> None:
    """PR_SET_NAME."""

def capget() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this thread, each a 64-bit mask."""

def capset(effective: int, permitted: int, inheritable: int) -> None: ...
def prlimit(pid: int, resource: int, soft: int, hard: int) -> tuple[int, int]:
    """Sets the limits (soft < 0 and hard < 0: does not); returns the old (soft, hard), RLIM_INFINITY as 2**64-1."""

def pidfd_open(pid: int, flags: int) -> int: ...
def pidfd_send_signal(pidfd: int, signal: int) -> None: ...
def pidfd_getfd(pidfd: int, target_fd: int) -> int: ...
def sethostname(name: str) -> None: ...
def setdomainname(name: str) -> None: ...
def join_session_keyring(name: str | None) -> int: ...
def keyctl_describe(key: int) -> str: ...
def keyctl_setperm(key: int, permissions: int) -> None: ...
def sched_setattr(
    pid: int, policy: int, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None: ...
def ioprio_set(which: int, who: int, priority: int) -> None: ...
def set_mempolicy(mode: int, nodes: Sequence[int]) -> None: ...
def personality(persona: int) -> int: ...
def reset_signals() -> None:
    """Sets every disposition to SIG_DFL and unblocks all signals."""

def exit_on_signal(signal: int) -> None:
    """Installs a handler that exits with 128 + the signal."""

def signal_is_ignored(signal: int) -> bool:
    """Whether the disposition is SIG_IGN."""

def signalfd(signals: Sequence[int]) -> int:
    """Blocks these signals (empty: all) and returns a signalfd, non-blocking."""

def read_signal(fd: int) -> tuple[int, int] | None:
    """(signal, sender's pid) of the next signal on a signalfd, None if there is none."""

# descriptors
def poll(watched: Sequence[tuple[int, int]], timeout_ms: int) -> list[tuple[int, int]]:
    """(fd, revents) of those that are ready; retried on EINTR. timeout_ms -1: no timeout."""

def socketpair(kind: int) -> tuple[int, int]:
    """AF_UNIX; kind SOCK_STREAM or SOCK_SEQPACKET."""

def connect_unix(path: str, kind: int = ...) -> int:
    """A connected socket, SOCK_STREAM by default; OSError ENAMETOOLONG over 107 bytes."""

def send(fd: int, data: bytes, fds: Sequence[int] = ()) -> int:
    """sendmsg(2) with MSG_NOSIGNAL and, if fds are given, SCM_RIGHTS."""

def recv(fd: int, size: int, max_fds: int) -> tuple[bytes, list[int]]:
    """recvmsg(2) with MSG_CMSG_CLOEXEC; OSError EMSGSIZE for a truncated message or more descriptors (all closed)."""

# terminals: termios(3), ioctl_tty(2)
def tty_raw(fd: int) -> bytes:
    """Sets raw mode, except OPOST; returns the old struct termios for tty_restore."""

def tty_clear_output(fd: int, flags: int) -> None:
    """Clears c_oflag flags."""

def tty_end_of_file(fd: int) -> tuple[int, bool]:
    """(the end-of-file character, 0 if none; whether canonical mode heeds it). For a master: of its terminal."""

def tty_restore(fd: int, saved: bytes) -> None: ...
def tty_size(fd: int) -> tuple[int, int]:
    """(rows, columns)."""

def tty_set_size(fd: int, rows: int, columns: int) -> None: ...
def tty_set_controlling(fd: int) -> None:
    """TIOCSCTTY."""

def pty_unlock(master: int) -> None: ...
def pty_number(master: int) -> int: ...
def pty_peer(master: int, flags: int) -> int:
    """TIOCGPTPEER."""

# network
def link_up(name: str) -> None:
    """SIOCSIFFLAGS IFF_UP on an interface of this network namespace."""

# namespaces: ioctl_ns(2)
def ns_type(fd: int) -> int:
    """NS_GET_NSTYPE: the CLONE_NEW… flag."""

# seccomp, bpf
def seccomp_load(program: bytes, flags: int) -> int:
    """seccomp(2) SECCOMP_SET_MODE_FILTER with an array of struct sock_filter; returns the listener's fd or 0."""

def bpf_prog_load(program_type: int, attach_type: int, instructions: bytes, name: str) -> int: ...
def bpf_prog_attach(target_fd: int, program_fd: int, attach_type: int, flags: int, replace_fd: int) -> None: ...
def bpf_prog_detach(target_fd: int, program_fd: int, attach_type: int) -> None: ...
def bpf_prog_query(target_fd: int, attach_type: int) -> list[int]:
    """Ids of the programs attached to a cgroup."""

def bpf_prog_get_fd_by_id(program_id: int) -> int: ...

# data
def json_loads(data: bytes, repeated: list[tuple[str | int, ...]] = ...) -> Any:
    """Strict JSON in UTF-8. ValueError(text, byte offset). Nested as deeply as memory permits.

    Of members with the same name the last counts; repeated receives the JSON pointers of the others as tuples of parts.
    """

def json_dumps(value: Any, indent: int = 0) -> bytes:
    """indent 0: the shortest form."""

def sha256(data: bytes) -> str:
    """In hexadecimal."""

def monotonic_ns() -> int: ...
def shared_memory(size: int) -> memoryview:
    """mmap(2), MAP_SHARED | MAP_ANONYMOUS: zeroed, shared with children until they exec, never unmapped."""
