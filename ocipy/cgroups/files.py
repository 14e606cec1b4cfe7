"""Reading and writing the small files of a cgroup, one system call an act."""

from __future__ import annotations

import posix
from errno import EEXIST, EINVAL, ENODEV, ENOENT, ENOTDIR, EOPNOTSUPP
from time import sleep

from ocipy.linux.files import read_file
from ocipy.linux.text import decode, encode, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A task that is still being made is refused with EINVAL for a moment.
YOUNG_TASK_TRIES = 5
YOUNG_TASK_PAUSE = 0.03


def read(path: str) -> str:
    """The content of a control file. Raises OSError."""
    return decode(read_file(path))


def write(path: str, value: str) -> None:
    """Give a control file a value, in one write(2): the kernel takes each as a whole. Raises OSError."""
    fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
    try:
        posix.write(fd, encode(value))
    finally:
        posix.close(fd)


def write_pid(directory: str, pid: int) -> None:
    """Move a process, all its threads, into a cgroup. Raises OSError."""
    for left in range(YOUNG_TASK_TRIES, 0, -1):
        try:
            write(directory + "/cgroup.procs", str(pid))
            return
        except OSError as error:
            if error.errno != EINVAL or left == 1:
                raise
        sleep(YOUNG_TASK_PAUSE)


def exists(path: str) -> bool:
    """Whether there is such a file or directory."""
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def make_directory(path: str, stop: str) -> list[str]:
    """Make a cgroup and those above it that are missing, below `stop`. Returns the ones made, the topmost first.

    Somebody else may remove an empty parent in between: then it is made again. Raises OSError.
    """
    made: list[str] = []
    for left in range(10, -1, -1):
        try:
            posix.mkdir(path, 0o755)
            made.append(path)
            return made
        except OSError as error:
            if error.errno == EEXIST:
                return made
            if error.errno != ENOENT or left == 0 or path == stop:
                raise
        made = [parent for parent in made if exists(parent)] + make_directory(parent_of(path), stop)
    return made


def parent_of(path: str) -> str:
    """The directory above."""
    return path[: path.rindex("/")]


def missing(path: str, top: str) -> list[str]:
    """Of a directory and those above it, below `top`, the ones that are not there, the topmost first."""
    found: list[str] = []
    while path != top and not exists(path):
        found.insert(0, path)
        path = parent_of(path)
    return found


def children(directory: str) -> list[str]:
    """The cgroups directly below one; none if it is gone."""
    try:
        entries = posix.scandir(directory)
    except OSError as error:
        if error.errno in (ENOENT, ENODEV, ENOTDIR):
            return []
        raise
    with entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


def walk(directory: str, visit: Callable[[str], None]) -> None:
    """Call visit for a cgroup and all below it, the deepest first."""
    for child in children(directory):
        walk(child, visit)
    visit(directory)


def processes(directory: str, recursive: bool = True) -> list[int]:
    """The ids of the processes in a cgroup. One that vanishes has none."""
    found: list[int] = []

    def collect(place: str) -> None:
        try:
            found.extend(map(int, words_of(read_file(place + "/cgroup.procs"))))
        except OSError as error:
            # EOPNOTSUPP: a threaded cgroup, whose processes the domain above it lists (cgroups(7)).
            if error.errno not in (ENOENT, ENODEV, EOPNOTSUPP):
                raise

    if recursive:
        walk(directory, collect)
    else:
        collect(directory)
    return found


def path_of(paths: Mapping[str, str], controller: str) -> str:
    """Of the directories of a cgroup, by hierarchy, that of a v1 controller, or of v2 (""); "" if there is none."""
    found = paths.get(controller)
    if found is not None:
        return found
    for name, path in paths.items():
        if controller in name.split(","):
            return path
    return ""
