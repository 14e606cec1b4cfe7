"""list: the containers in the root directory, and their owners."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.errors import Error, reported_as
from ocipy.linux.files import read_file
from ocipy.operations.several import container_ids
from ocipy.state.state import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def ids(root: str, *, must_exist: bool) -> list[str]:
    """The ids of the containers. Raises Error if root is missing but must exist."""
    with reported_as("cannot list the containers", pointer=root):
        try:
            return container_ids(root)
        except FileNotFoundError:
            if must_exist:
                raise
            return []


def containers(root: str, *, must_exist: bool) -> list[dict[str, Any]]:
    """The state of each container, with its owner's name. Raises Error if root is missing but must exist."""
    found: list[dict[str, Any]] = []
    owners: dict[int, str] = {}
    for name in ids(root, must_exist=must_exist):
        try:
            state = load(root, name)
            found.append({**state.to_oci(), "owner": owner(posix.stat(state.directory).st_uid, owners)})
        except Error as error:
            log.warning(f"{name}: {error.line}")
        except OSError:
            continue
    return found


def owner(uid: int, known: dict[int, str]) -> str:
    """The name of a user, "#UID" if it has none. known: a cache."""
    name = known.get(uid)
    if name is None:
        name = known[uid] = _name_of(uid) or f"#{uid}"
    return name


def _name_of(uid: int) -> str:
    try:
        name = name_in(read_file("/etc/passwd"), uid)
    except OSError:
        name = ""
    if name:
        return name
    # It may be in a directory service; libc knows how to ask (nss(5)).
    from ocipy.launcher.python import complete_start

    complete_start()
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def name_in(passwd: bytes, uid: int) -> str:
    """The first name with this uid in the content of a passwd(5) file, "" if there is none."""
    number = str(uid).encode()
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        if len(fields) > 2 and fields[2] == number:
            return fields[0].decode("utf-8", "surrogateescape")
    return ""
