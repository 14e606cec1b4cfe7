"""Practice for the init lane (practice.py): its steps are taken as in a container, but the kernel only seems to answer.

Meanwhile the functions of posix and _kernel are replaced by some that do nothing, so only CPython sees a difference.
"""

from __future__ import annotations

import errno
import posix
from types import BuiltinFunctionType

from ocipy.init.context import ACTIONS, Init
from ocipy.init.lane import load_modules
from ocipy.init.process import NULL
from ocipy.linux import _kernel
from ocipy.linux.channel import Channel
from ocipy.linux.constants import S_IFCHR, S_IFDIR, S_IFREG
from ocipy.plan.devices import Device
from ocipy.plan.masks import TakeNull
from ocipy.plan.model import InitStep
from ocipy.plan.process import Command, Environment, StdioNull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

# Functions without system calls.
KEPT = frozenset(("fspath", "json_dumps", "json_loads", "makedev", "strerror"))
# What every other function returns, unless SeemingKernel has a method of that name: a descriptor, a pid, or success.
SUCCESS = 3


class SeemingKernel:
    """Answers as the kernel would in a container that has everything. step: the one being taken."""

    def __init__(self) -> None:
        self.step = InitStep()
        self.inode = 0
        self.unmounted = False

    def replace(self, module: ModuleType, contents: dict[str, Any]) -> None:
        """Replace the module's functions."""
        for name, value in contents.items():
            if isinstance(value, BuiltinFunctionType) and name not in KEPT:
                setattr(module, name, getattr(self, name, succeed))

    def stat(self, *_arguments: object, **_keywords: object) -> posix.stat_result:
        """Another file each time: of the kind that the step expects."""
        step, mode, device = self.step, S_IFDIR | 0o755, 0
        if isinstance(step, Device):
            mode, device = S_IFCHR | step.mode, posix.makedev(step.major, step.minor)
        elif isinstance(step, TakeNull | StdioNull):
            mode, device = S_IFCHR | 0o666, NULL
        elif isinstance(step, Command | Environment):
            mode = S_IFREG | 0o755
        self.inode += 1
        return posix.stat_result((mode, self.inode, 1, 1, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0, 0, 0, 4096, 0, device))

    fstat = stat

    def readlink(self, *_arguments: object, **_keywords: object) -> str:
        """The path of the root filesystem."""
        return "/practice/rootfs"

    def read(self, *_arguments: object) -> bytes:
        """An empty file."""
        return b""

    def umount2(self, *_arguments: object) -> None:
        """What has been unmounted is no longer a mount point."""
        self.unmounted = not self.unmounted
        if not self.unmounted:
            raise OSError(errno.EINVAL, "")

    def recv(self, *_arguments: object) -> tuple[bytes, list[int]]:
        """What the step awaits from the host."""
        return _kernel.json_dumps({"kind": self.step.awaits}), [SUCCESS]

    def poll(self, watched: Sequence[tuple[int, int]], _timeout: int) -> Sequence[tuple[int, int]]:
        """All are ready."""
        return watched

    def getcwd(self) -> str:
        """The root."""
        return "/"

    def keyctl_describe(self, _key: int) -> str:
        """A keyring that everybody may search."""
        return "keyring;0;0;3f1f001f;_ses.practice"

    def prlimit(self, *_arguments: object) -> tuple[int, int]:
        """The highest limits."""
        return 2**64 - 1, 2**64 - 1


def succeed(*_arguments: object, **_keywords: object) -> int:
    """Do nothing."""
    return SUCCESS


def _take(kernel: SeemingKernel, lane: Sequence[InitStep]) -> None:
    init = Init(channel=Channel(SUCCESS), state={})
    init.proc = init.rootfs = SUCCESS
    init.steps = lane
    for step in lane:
        kernel.step = step
        ACTIONS[type(step)](init, step)


def practise_init(lanes: Sequence[Sequence[InitStep]], rounds: int) -> None:
    """Take the steps of these lanes again and again."""
    for lane in lanes:
        load_modules(lane, "ocipy.init", ACTIONS)
    kernel = SeemingKernel()
    former = [(module, dict(vars(module))) for module in (posix, _kernel)]
    try:
        for module, contents in former:
            kernel.replace(module, contents)
        for _ in range(rounds):
            for lane in lanes:
                _take(kernel, lane)
    finally:
        for module, contents in former:
            vars(module).update(contents)
