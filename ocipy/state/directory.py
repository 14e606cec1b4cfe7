"""The state directory of a container, ROOT/ID: its name, its lock, how it is made and removed.

The lock is flock(2) on the directory itself: it needs no lock file, and ends when its holder is killed.
"""

from __future__ import annotations

import errno
import posix
import time

from ocipy import log
from ocipy.errors import Error, caused_by
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    LOCK_EX,
    LOCK_NB,
    LOCK_UN,
    O_CLOEXEC,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_RDONLY,
    S_ISVTX,
    S_IWOTH,
)
from ocipy.linux.files import exists
from ocipy.linux.namespaces import in_user_namespace

ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-.")
STATE = "state.json"
LOCK_PATIENCE = 10.0  # seconds
# Engines match this text.
DOES_NOT_EXIST = "container does not exist"


def state_root(given: str) -> str:
    """The directory of the state directories, absolute. Raises Error for "/".

    Does not depend on HOME or PATH: engines call kill and delete without them.
    """
    if given:
        if not given.startswith("/"):
            given = posix.getcwd() + "/" + given
        given = given.rstrip("/")
        if not given:
            raise Error("--root / would mix the state with the root directory", hint="name a separate directory")
        return given
    directory = posix.environ.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape")
    if directory and (posix.geteuid() != 0 or _root_of_user_namespace()):
        return directory.rstrip("/") + "/ocipy"
    return "/run/ocipy"


def _root_of_user_namespace() -> bool:
    return in_user_namespace() and posix.environ.get(b"USER") != b"root"


def check_id(container_id: str) -> None:
    """Raises Error unless the id is valid (runc's rule)."""
    if not container_id or container_id in (".", "..") or not ID_CHARACTERS.issuperset(container_id):
        raise Error(
            f"invalid container ID format: {container_id!r}", hint="use letters, digits, and the characters _ + - ."
        )
    if len(container_id) > 255:
        raise Error("invalid container ID format: longer than 255 characters")


def make_directory(root: str, container_id: str) -> int:
    """Make ROOT/ID and lock it. Returns the lock's descriptor. mkdir(2) decides between two creates. Raises Error."""
    check_id(container_id)
    directory = root + "/" + container_id
    try:
        about = posix.stat(root)
    except OSError:
        _make_root(root)
        about = posix.stat(root)
    _check_root(root, about)
    try:
        posix.mkdir(directory, 0o700)
    except FileExistsError:
        raise Error(
            "container with given ID already exists", hint="choose another id, or delete the container first"
        ) from None
    except OSError as error:
        raise _no_directory(directory, error) from None
    try:
        # Another command that looks at the empty directory holds the lock only for a moment.
        fd = _lock(directory, LOCK_PATIENCE)
    except (Error, OSError):
        posix.rmdir(directory)
        raise
    if fd < 0:
        raise Error("the container was deleted while it was being created")
    return fd


def _make_root(root: str) -> None:
    path = ""
    for part in root.split("/")[1:]:
        path += "/" + part
        try:
            # Sticky, so that clean-up tools do not remove it (XDG Base Directory Specification, XDG_RUNTIME_DIR).
            posix.mkdir(path, 0o1700 if path == root else 0o700)
        except FileExistsError:
            continue
        except OSError as error:
            if exists(path):  # a read-only filesystem answers EROFS even if the directory exists
                continue
            raise _no_directory(path, error) from None


def _check_root(root: str, about: posix.stat_result) -> None:
    """Warn about a root directory in which others can rename the containers.

    A warning is enough, since another user's state is never accepted (Foreign); an error would hit users who call us
    with sudo and their own directory. In a sticky directory such as /tmp, entries are safe from others.
    """
    if about.st_uid and about.st_uid != posix.geteuid():
        log.warning(f"{root}: --root belongs to uid {about.st_uid}, who can rename and remove the containers in it")
    elif about.st_mode & (S_IWOTH | S_ISVTX) == S_IWOTH:
        log.warning(f"{root}: --root is writable by everyone, who can rename and remove the containers in it")


def _no_directory(path: str, error: OSError) -> Error:
    hint = {errno.EACCES: "set XDG_RUNTIME_DIR to your own directory, or name one with --root"}
    return caused_by(error, "cannot make the state directory", pointer=path, hint=hint)


def lock(directory: str) -> int:
    """Wait for the lock of a container. Returns its descriptor. Raises Error if the container is gone or stays busy."""
    fd = _lock(directory, LOCK_PATIENCE)
    if fd < 0:
        raise does_not_exist(directory)
    return fd


def unlock(fd: int) -> None:
    """Release a lock, and keep the directory open for lock_again."""
    _kernel.flock(fd, LOCK_UN)


def lock_again(fd: int, directory: str) -> bool:
    """Wait for a lock that was released. Returns False if the path no longer leads to that directory: the container is
    gone. Raises Error if the container stays busy."""
    deadline = time.monotonic() + LOCK_PATIENCE
    while not _take(fd, deadline):
        time.sleep(0.005)
    return _leads_to(directory, posix.stat(fd))


def does_not_exist(directory: str) -> Error:
    """The error for a container whose directory does not exist."""
    root = directory.rpartition("/")[0]
    return Error(DOES_NOT_EXIST, hint=f"searched in {root}; --root DIR searches elsewhere")


class Foreign(Error):
    """Another user made the state: we would run its hooks and kill its pid and cgroup with our rights."""

    __slots__ = ()

    def __init__(self, path: str, uid: int) -> None:
        Error.__init__(
            self,
            f"the state was made by another user (uid {uid})",
            pointer=path,
            hint="run ocipy as that user, so that what the state contains does not get your privileges",
        )


def is_locked(directory: str) -> bool:
    """Whether another process is working on the container."""
    try:
        fd = _lock(directory, patience=0)
    except Error:
        return True
    if fd >= 0:
        posix.close(fd)
    return False


def _lock(directory: str, patience: float) -> int:
    deadline = time.monotonic() + patience
    while True:
        try:
            fd = posix.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return -1
        ours = posix.stat(fd)
        if ours.st_uid != posix.geteuid():
            posix.close(fd)
            raise Foreign(directory, ours.st_uid)
        try:
            taken = _take(fd, deadline)
        except Error:
            posix.close(fd)
            raise
        # It may have been removed, and made again, between the open and the lock.
        if taken and _leads_to(directory, ours):
            return fd
        posix.close(fd)
        if not taken:
            time.sleep(0.005)


def _take(fd: int, deadline: float) -> bool:
    """Take the lock if it is free. Raises Error if it is not, and the deadline has passed."""
    try:
        _kernel.flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        if time.monotonic() >= deadline:
            raise Error("another command is working on this container", hint="it may be waiting for a hook") from None
        return False
    return True


def _leads_to(path: str, directory: posix.stat_result) -> bool:
    try:
        there = posix.stat(path)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (directory.st_dev, directory.st_ino)


def remove_directory(directory: str) -> None:
    """Remove the state directory and its contents. The state goes last: with it, delete can find the rest."""
    try:
        names = posix.listdir(directory)
    except FileNotFoundError:
        return
    if STATE in names:
        names.remove(STATE)
        names.append(STATE)
    for name in names:
        try:
            posix.unlink(directory + "/" + name)
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            remove_directory(directory + "/" + name)
    try:
        posix.rmdir(directory)
    except FileNotFoundError:
        pass
