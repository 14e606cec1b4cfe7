"""What copies a box's root on write: the kernel's overlayfs, or fuse-overlayfs(1) for a user if the kernel refuses.

The choice is made once, when the box is created: the two mark deleted files differently in the upper directory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, Self

from ocipy import Error
from ocipy.box import forked
from ocipy.box.tools import check_installed
from ocipy.linux import _kernel
from ocipy.linux.constants import CLONE_NEWNS, CLONE_NEWUSER

KERNEL = "overlayfs"
FUSE = "fuse-overlayfs"
DEVICE = "/dev/fuse"
UNASKED = b"unasked"
LONGEST = 255  # bytes of a directory in overlayfs's options (fsconfig(2))


class CopyOnWrite(NamedTuple):
    """by: KERNEL or FUSE. why: the reason, as users read it."""

    by: str = KERNEL
    why: str = ""

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The reverse of _asdict."""
        return cls(document["by"], document["why"])


def as_words(chosen: CopyOnWrite) -> str:
    """The line that users see."""
    return f"/: copied on write by {chosen.by}" + (f": {chosen.why}" if chosen.why else "")


def choose(directory: Path, lower: str, run: Path, *, rootless: bool, userns: bool = False) -> CopyOnWrite:
    """Choose what mounts the root of the box in this directory, over this lower one. Raises Error if nothing can.

    userns: root's box has a user namespace; any other user's always has one. run: a directory for notes about the
    filesystems for which the kernel has agreed, since asking takes some milliseconds.
    """
    check_paths(lower, f"{directory}/upper")
    if not rootless and not userns:
        return CopyOnWrite(KERNEL, "root may mount it")
    devices = f"{os.stat(directory).st_dev:x}-{os.stat(lower).st_dev:x}"
    consent = run / f"{KERNEL}-{devices}-{os.uname().release}"
    refusal = 0 if consent.exists() else refusal_of_kernel(directory, lower)
    if not refusal:
        if refusal is not None:
            consent.touch()
        return CopyOnWrite(KERNEL, "the kernel lets a user namespace mount it here")
    why = f"the kernel's overlayfs refuses a user namespace here: {os.strerror(refusal)}"
    if not rootless:
        raise Error(
            f"cannot copy the box's root on write: {why}",
            pointer=str(directory.parent),
            hint="omit --userns auto; or use Linux 5.11 or later, and set OCIPY_BOX to a directory on a disk",
        )
    check_installed(
        FUSE, f"cannot copy the box's root on write in {directory.parent}: {why}",
        "set OCIPY_BOX to a directory on a disk",
    )  # fmt: skip
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        raise Error(
            f"cannot copy the box's root on write: {why}; and {FUSE} cannot open {DEVICE}",
            pointer=DEVICE,
            hint="load the module fuse, or give the user access to the device",
        )
    return CopyOnWrite(FUSE, why)


def check_paths(*paths: str) -> None:
    """Raise Error for directories that cannot be named in overlayfs's options."""
    for path in paths:
        if any(letter in path for letter in ":,\\"):  # they separate options and directories
            raise Error(f"overlayfs accepts no path that contains : , or \\: {path}", hint="rename the directory")
        if len(os.fsencode(path)) > LONGEST:
            raise Error(
                f"overlayfs accepts no path of more than {LONGEST} bytes: {path}",
                hint="move the directory, or set OCIPY_BOX to a shorter one",
            )


def refusal_of_kernel(directory: Path, lower: str) -> int | None:
    """Mount the root as the box would, in a child's namespaces. Return the kernel's errno; 0 if it agrees; None if the
    child cannot make a user namespace."""
    uid, gid = os.geteuid(), os.getegid()

    def mount() -> bytes:
        try:
            _kernel.unshare(CLONE_NEWUSER | CLONE_NEWNS)
            for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
                Path("/proc/self", name).write_text(text)
        except OSError:
            return UNASKED  # no box can be made without a user namespace: the runtime will say why
        options = f"lowerdir={lower},upperdir={directory}/upper,workdir={directory}/work,userxattr"
        _kernel.mount("overlay", str(directory / "root"), "overlay", 0, options)
        return b""

    try:
        return None if forked.call(mount) == UNASKED else 0
    except OSError as error:
        return error.errno or 0
