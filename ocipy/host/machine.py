"""The host as a plan sees it: a few cheap checks, and none for features that the plan does not depend on."""

from __future__ import annotations

import errno
import posix

from ocipy.cgroups.files import is_present
from ocipy.cgroups.layout import probe
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    AT_FDCWD,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
)
from ocipy.linux.files import read_file
from ocipy.linux.namespaces import in_user_namespace
from ocipy.plan.fields import process_of
from ocipy.plan.model import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config


def describe_host(rootless: bool | None = None, config: Config | None = None) -> Host:
    """Describe this machine. rootless: None to detect it (--rootless auto). config: leave out what it does not ask for:
    the security modules, if it has no label."""
    release = posix.uname().release.split(".")
    uid = posix.geteuid()
    nested = in_user_namespace()
    layout = probe()
    labelled = config is None or _has_label(config)
    return Host(
        kernel=(int(release[0]), _leading_number(release[1])),
        uid=uid,
        gid=posix.getegid(),
        in_user_namespace=nested,
        clones_mounts=not nested or _clones_mounts(),
        rootless=(uid != 0 or nested) if rootless is None else rootless,
        capabilities=_kernel.capget()[1],
        last_capability=_kernel.last_capability(),
        cgroup_mode=layout.mode,
        cgroup_controllers=layout.controllers,
        apparmor=labelled and _says("/sys/module/apparmor/parameters/enabled", b"Y"),
        selinux=labelled and is_present("/sys/fs/selinux/class"),
    )


def _has_label(config: Config) -> bool:
    process = process_of(config)
    labels = process.get("apparmorProfile"), process.get("selinuxLabel"), (config.get("linux") or {}).get("mountLabel")
    return any(labels)


def _clones_mounts() -> bool:
    """Whether we may copy mounts by open_tree(2): root of a user namespace may not in the host's mount namespace."""
    try:
        posix.close(_kernel.open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC))
    except OSError as error:
        return error.errno != errno.EPERM
    return True


def _leading_number(text: str) -> int:
    digits = ""
    for character in text:
        if not character.isdigit():
            break
        digits += character
    return int(digits or 0)


def _says(path: str, word: bytes) -> bool:
    try:
        return read_file(path).startswith(word)
    except OSError:
        return False
