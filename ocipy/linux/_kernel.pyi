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
def openat2(dirfd: int, path: str, flags: int, mode: int, resolve: int) -> int:
    """Retried while renames race with a ".." in the path (EAGAIN)."""

def fchownat(dirfd: int, path: str, uid: int, gid: int, flags: int) -> None: ...
def renameat2(old: str, new: str, flags: int) -> None: ...
def close_range(first: int, last: int, flags: int) -> None: ...
def getcwd() -> str:
    """The raw system call: may begin with "(unreachable)"."""

def flock(fd: int, operation: int) -> None: ...

# processes
def clone3(flags: int, exit_signal: int, cgroup_fd: int) -> tuple[int, int]:
    """(pid, pidfd), or (0, -1) in the child, after PyOS_AfterFork_Child. cgroup_fd: where the child starts, or -1."""

def clone_successor() -> int:
    """Fork a child that continues in our place: only the child returns. Returns its pid in our own pid namespace.

    The child uses our memory, and its parent is our parent (CLONE_VM, CLONE_PARENT). We are suspended until it executes
    a program or exits (CLONE_VFORK), and then exit. It enters a new time namespace only at that exec. Raises OSError in
    us: ENOSYS on an architecture without an implementation; EINVAL before Linux 6.2 if it would enter a time namespace.
    """

def aside(work: Callable[[], Result]) -> Result:
    """Call a function in a child that shares our memory, but has its own descriptors, directories and namespaces.
    Returns what it returns, or raises what it raises. We are suspended meanwhile, and only SIGKILL ends that, so the
    function must not wait for long."""

def spawn(
    prepare: Callable[[], None], path: bytes, arguments: tuple[bytes, ...], environment: tuple[bytes, ...]
) -> int:
    """Start a child that calls a function, as aside does, then executes a program. Returns its pid. Raises what the
    function raises, or OSError."""

def execve_limited(
    path: bytes, arguments: tuple[bytes, ...], environment: tuple[bytes, ...], limits: tuple[tuple[int, int, int], ...]
) -> NoReturn:
    """prlimit(2) for each (resource, soft, hard), then execve(2), with no Python code in between."""

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
) -> None:
    """Give back all memory and wait for start at the FIFO, unless that is -1. Close all descriptors from first_foreign
    up except report, load the filter if loads_filter, set the limits, and execute. A failure is written to report:
    filter_failure or exec_failure, the errno, and "}". Returns None if the filter in force might forbid giving the
    memory back."""

def unshare(flags: int) -> None: ...
def setns(fd: int, nstype: int) -> None: ...
def prctl(option: int, arg2: int = 0, arg3: int = 0, arg4: int = 0, arg5: int = 0) -> int: ...
def set_name(name: str) -> None:
    """PR_SET_NAME."""

def capget() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this thread, each a 64-bit mask."""

def drop_bounding(unwanted: int) -> None:
    """PR_CAPBSET_DROP for each capability of this mask, from the lowest. EPERM is no error if the set lacks it. In an
    OSError, filename is the number of the capability."""

def last_capability() -> int:
    """Return the highest capability that the kernel knows."""

def capset(effective: int, permitted: int, inheritable: int) -> None: ...
def prlimit(pid: int, resource: int, soft: int, hard: int) -> tuple[int, int]:
    """Set the limits, unless both are negative. Returns the old (soft, hard); RLIM_INFINITY is 2**64-1."""

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
    """Set every disposition to SIG_DFL and unblock all signals."""

def exit_on_signal(signal: int) -> None:
    """Install a handler that exits with 128 + the signal."""

def signal_is_ignored(signal: int) -> bool:
    """Whether the disposition is SIG_IGN."""

def signalfd(signals: Sequence[int]) -> int:
    """Block these signals, or all if there are none, and return a non-blocking signalfd for them."""

def read_signal(fd: int) -> tuple[int, int] | None:
    """(signal, sender's pid) of the next signal on a signalfd; None if no signal is pending."""

# descriptors
def poll(watched: Sequence[tuple[int, int]], timeout_ms: int) -> list[tuple[int, int]]:
    """(fd, revents) of each descriptor that is ready. Retried on EINTR. timeout_ms -1: no timeout."""

def socketpair(kind: int) -> tuple[int, int]:
    """AF_UNIX; kind SOCK_STREAM or SOCK_SEQPACKET."""

def connect_unix(path: str, kind: int = ...) -> int:
    """Return a connected socket, SOCK_STREAM by default. OSError ENAMETOOLONG if the path has more than 107 bytes."""

def send(fd: int, data: bytes, fds: Sequence[int] = ()) -> int:
    """sendmsg(2) with MSG_NOSIGNAL and, if fds are given, SCM_RIGHTS."""

def recv(fd: int, size: int, max_fds: int) -> tuple[bytes, list[int]]:
    """recvmsg(2) with MSG_CMSG_CLOEXEC. OSError EMSGSIZE if the message is truncated or has more descriptors, which are
    closed then."""

# terminals: termios(3), ioctl_tty(2)
def tty_raw(fd: int) -> bytes:
    """Set raw mode, but keep OPOST. Returns the old struct termios for tty_restore."""

def tty_clear_output(fd: int, flags: int) -> None:
    """Clear flags in c_oflag."""

def tty_end_of_file(fd: int) -> tuple[int, bool]:
    """(end-of-file character, 0 if none; whether the terminal is in canonical mode, which acts on it). fd may be the
    master."""

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
    """Set IFF_UP on an interface in this network namespace (SIOCSIFFLAGS)."""

# namespaces: ioctl_ns(2)
def ns_type(fd: int) -> int:
    """NS_GET_NSTYPE: the CLONE_NEW… flag."""

# seccomp, bpf
def seccomp_load(program: bytes, flags: int) -> int:
    """SECCOMP_SET_MODE_FILTER of seccomp(2), with an array of struct sock_filter. Returns the listener's fd, or 0."""

def bpf_prog_load(program_type: int, attach_type: int, instructions: bytes, name: str) -> int: ...
def bpf_prog_attach(target_fd: int, program_fd: int, attach_type: int, flags: int, replace_fd: int) -> None: ...
def bpf_prog_detach(target_fd: int, program_fd: int, attach_type: int) -> None: ...
def bpf_prog_query(target_fd: int, attach_type: int) -> list[int]:
    """Ids of the programs attached to a cgroup."""

def bpf_prog_get_fd_by_id(program_id: int) -> int: ...

# data
def json_loads(data: bytes, repeated: list[tuple[str | int, ...]] = ...) -> Any:
    """Parse strict JSON in UTF-8, nested as deeply as memory permits. Raises ValueError(reason, byte offset).

    Of several members with the same name the last counts; repeated receives the JSON pointer of each repetition, as a
    tuple of its parts."""

def json_dumps(value: Any, indent: int = 0) -> bytes:
    """indent: spaces for each level; 0: the shortest form. ValueError or TypeError for what JSON cannot represent."""

def obeys(value: Any, rule: tuple[Any, ...], unknown: list[tuple[dict[str, Any], str, dict[str, Any]]]) -> bool:
    """Whether a document obeys a rule of config/rules.py. unknown receives each member that the rules do not know, with
    its object and the rules there: only the first ones if a rule is broken."""

def sha256(data: bytes) -> str:
    """In hexadecimal."""

def monotonic_ns() -> int: ...
def shared_memory(size: int) -> memoryview:
    """mmap(2) with MAP_SHARED | MAP_ANONYMOUS: zeroed, shared with children until they exec, never unmapped."""
