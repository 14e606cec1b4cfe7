"""What --no-pivot leaves below the container's root: the host's tree, for a process that can unmount that root."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

from ocipy.linux import _kernel
from ocipy.linux.constants import MNT_DETACH
from tests.harness.look import Mount, parse_mountinfo


def behind(pid: int, look: Callable[[list[Mount]], Any]) -> Any:
    """Unmount the root in a container's mount namespace, and call `look` with the mounts of what appears as "/".

    Paths that it opens are the host's, as the container sees them. The container is unusable afterwards.
    """
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    answers, answer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _kernel.setns(namespace, 0)
            _kernel.umount2("/", MNT_DETACH)
            _kernel.setns(namespace, 0)  # again: it sets our root to the topmost mount
            result = look(mounts_from(proc))
        except BaseException:
            result = AssertionError(traceback.format_exc())
        os.write(answer, pickle.dumps(result))
        os._exit(0)
    for fd in (namespace, proc, answer):
        os.close(fd)
    with os.fdopen(answers, "rb") as stream:
        result = pickle.loads(stream.read())
    os.waitpid(child, 0)
    if isinstance(result, AssertionError):
        raise result
    return result


def mounts_from(proc: int) -> list[Mount]:
    """The caller's mounts, read through an open procfs."""
    file = os.open("self/mountinfo", os.O_RDONLY, dir_fd=proc)
    with os.fdopen(file, encoding="utf-8", errors="surrogateescape") as stream:
        return parse_mountinfo(stream.read())


def visible(mounts: list[Mount]) -> list[str]:
    """The mount points of procfs and sysfs that show everything, with nothing mounted on their roots."""
    points = {mount.id: mount.point for mount in mounts}
    covered = {mount.parent for mount in mounts if points.get(mount.parent) == mount.point}
    return [
        mount.point
        for mount in mounts
        if mount.fstype in ("proc", "sysfs") and mount.root == "/" and mount.id not in covered
    ]
