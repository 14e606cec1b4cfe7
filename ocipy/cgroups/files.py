"""The directories and small files of a cgroup: make, list, read, write."""

from __future__ import annotations

import posix
from errno import EINVAL, ENODEV, ENOENT, EOPNOTSUPP
from time import sleep

from ocipy.linux.files import read_file
from ocipy.linux.text import decode, encode, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
# The kernel's errors for a removed cgroup, or a file in one.
GONE = (ENOENT, ENODEV)
# For a short time the kernel refuses to move a task that is still being made (EINVAL). Pause in seconds.
YOUNG_TASK_TRIES = 5
YOUNG_TASK_PAUSE = 0.03
MAKE_TRIES = 10


def read(path: str) -> str:
    """Return the content of a control file. Raises OSError."""
    return decode(read_file(path))


def write(path: str, value: str) -> None:
    """Write a control file in one write(2): the kernel treats each write as a whole value. Raises OSError."""
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, encode(value))
    finally:
        posix.close(fd)


def write_pid(directory: str, pid: int) -> None:
    """Move a process with all its threads into a cgroup. Raises OSError."""
    for left in range(YOUNG_TASK_TRIES, 0, -1):
        try:
            write(directory + "/cgroup.procs", str(pid))
            return
        except OSError as error:
            if error.errno != EINVAL or left == 1:
                raise
        sleep(YOUNG_TASK_PAUSE)


def is_present(path: str) -> bool:
    """Whether a file or directory exists at that path."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def make_directory(path: str, stop: str) -> list[str]:
    """Make a cgroup and the missing ones between it and `stop`. Returns the new ones, the topmost first.

    If somebody else removes an empty parent meanwhile, it is made again. Raises OSError.
    """
    made: list[str] = []
    wanted = [path]
    for left in range(MAKE_TRIES, -1, -1):
        try:
            for directory in wanted:
                if _make(directory):
                    made.append(directory)
            break
        except FileNotFoundError:
            if left == 0 or path == stop:
                raise
        made = [directory for directory in made if is_present(directory)]
        wanted = missing(path, stop) or [path]
    return made


def _make(path: str) -> bool:
    """Make a directory. Returns False if it existed."""
    try:
        posix.mkdir(path, 0o755)
    except FileExistsError:
        return False
    return True


def parent_of(path: str) -> str:
    """Return the parent directory's path."""
    return path[: path.rindex("/")]


def missing(path: str, top: str) -> list[str]:
    """Return which directories are missing, this one and its ancestors below `top`, the topmost first."""
    found: list[str] = []
    while path != top and not is_present(path):
        found.append(path)
        path = parent_of(path)
    found.reverse()
    return found


def walk(
    path: str, enter: Callable[[int], object] | None = None, leave: Callable[[int, str], object] | None = None
) -> None:
    """Walk through a cgroup and all below it, by descriptors: a container may nest its own as deeply as it likes.

    enter: called with a descriptor of each cgroup, before its children, which are skipped if it returns True.
    leave: called for each cgroup except the topmost, after its children, with a descriptor of its parent and its name.
    At most two descriptors are open at a time. The walk goes back by "..", since a cgroup cannot move to another
    parent. A cgroup that disappears meanwhile is skipped. Raises OSError.
    """
    try:
        fd = posix.open(path, DIRECTORY)
    except OSError as error:
        if error.errno in GONE:
            return
        raise
    names: list[str] = []
    try:
        todo = [_below(fd, enter)]
        while True:
            if todo[-1]:
                name = todo[-1].pop()
                try:
                    below = posix.open(name, DIRECTORY, dir_fd=fd)
                except OSError as error:
                    if error.errno in GONE:
                        continue
                    raise
                posix.close(fd)
                fd = below
                names.append(name)
                todo.append(_below(fd, enter))
            elif names:
                todo.pop()
                above = posix.open("..", DIRECTORY, dir_fd=fd)
                posix.close(fd)
                fd = above
                name = names.pop()
                if leave is not None:
                    leave(fd, name)
            else:
                return
    finally:
        posix.close(fd)


def _below(fd: int, enter: Callable[[int], object] | None) -> list[str]:
    """Enter a cgroup and return the names of its children."""
    if enter is not None and enter(fd) is True:
        return []
    if posix.fstat(fd).st_nlink == 2:  # no children: each would count as a link (inode(7))
        return []
    try:
        with posix.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in GONE:
            return []
        raise


def read_at(directory: int, name: str) -> bytes:
    """Return the content of a control file in an open cgroup. Raises OSError."""
    return read_file(posix.open(name, posix.O_RDONLY | posix.O_CLOEXEC, dir_fd=directory))


def write_at(directory: int, name: str, value: bytes) -> None:
    """Write a control file in an open cgroup in one write(2). Raises OSError."""
    fd = posix.open(name, posix.O_WRONLY | posix.O_CLOEXEC, dir_fd=directory)
    try:
        posix.write(fd, value)
    finally:
        posix.close(fd)


def processes(path: str) -> list[int]:
    """Return the ids of the processes in a cgroup and those below it. A cgroup that disappears has none.

    An id of 0 is a process outside our pid namespace. Raises OSError.
    """
    found: list[int] = []

    def collect(fd: int) -> None:
        try:
            found.extend(map(int, words_of(read_at(fd, "cgroup.procs"))))
        except OSError as error:
            # EOPNOTSUPP: a threaded cgroup; the domain above it lists its processes (cgroups(7)).
            if error.errno not in (*GONE, EOPNOTSUPP):
                raise

    walk(path, collect)
    return found


def path_of(paths: Mapping[str, str], controller: str) -> str:
    """Return a cgroup's directory for a v1 controller, or "" for v2, from its directories by hierarchy; "" if none."""
    found = paths.get(controller)
    if found is not None:
        return found
    for name, path in paths.items():
        if controller in name.split(","):
            return path
    return ""
