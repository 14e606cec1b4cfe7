"""Apply the device rules, with devices.allow and devices.deny on v1, and an attached program on v2."""

from __future__ import annotations

import posix
from errno import EINVAL, EPERM

from ocipy.cgroups import files
from ocipy.cgroups.device_program import assemble
from ocipy.cgroups.devices import APPLIED, CHANGES, allows_everything
from ocipy.errors import Error, caused_by, reported_as
from ocipy.linux import _kernel
from ocipy.linux.constants import (
    BPF_CGROUP_DEVICE,
    BPF_F_ALLOW_MULTI,
    BPF_F_REPLACE,
    BPF_PROG_TYPE_CGROUP_DEVICE,
    RLIMIT_MEMLOCK,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ocipy.cgroups.cgroup import Cgroup
    from ocipy.cgroups.devices import Rule


def set_devices(cgroup: Cgroup, rules: Sequence[Rule], *, tolerant: bool = False) -> None:
    """Apply the rules to the cgroup. Raises Error.

    tolerant: ignore all errors (rootless: in a user namespace nobody can do this).
    """
    try:
        with reported_as("cannot limit devices"):
            path = cgroup.path_of("devices")
            if path:
                set_v1(path, rules)
                return
            path = cgroup.path_of("")
            if path:
                set_v2(path, rules)
                return
            raise Error("cannot limit devices: the container has no cgroup for it")
    except Error:
        if not tolerant:
            raise


def set_v1(path: str, rules: Sequence[Rule]) -> None:
    """Write the differences from the current list, and check that the kernel applied them. Raises Error, OSError."""
    wanted = tuple(rules)
    _write_lines(path, CHANGES[files.read(path + "/devices.list"), wanted])
    if not APPLIED[files.read(path + "/devices.list"), wanted]:
        raise Error("the kernel did not apply the device rules as written")


def _write_lines(path: str, lines: Iterable[tuple[str, str]]) -> None:
    """Write line by line: the kernel accepts one line per write."""
    fds: dict[str, int] = {}
    try:
        for file, line in lines:
            if file not in fds:
                fds[file] = posix.open(path + "/" + file, posix.O_WRONLY | posix.O_CLOEXEC)
            try:
                posix.write(fds[file], line.encode())
            except OSError as error:
                hint = {EPERM: "the parent cgroup does not allow this device either"}
                raise caused_by(error, f"cannot write {line!r} to {file}", hint=hint) from None
    finally:
        for fd in fds.values():
            posix.close(fd)


def set_v2(path: str, rules: Sequence[Rule]) -> None:
    """Attach a program that replaces the existing one atomically (BPF_F_REPLACE, Linux 5.6). Raises Error.

    If no program can be loaded, rules that allow everything need none.
    """
    with reported_as("cannot load the device program"):
        try:
            program = _load(assemble(rules))
        except OSError:
            if not allows_everything(rules):
                raise
            return
    directory = posix.open(path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    old: list[int] = []
    try:
        with reported_as("cannot attach the device program"):
            for number in _kernel.bpf_prog_query(directory, BPF_CGROUP_DEVICE):
                old.append(_kernel.bpf_prog_get_fd_by_id(number))
            _replace(directory, program, old)
    finally:
        for fd in (program, directory, *old):
            posix.close(fd)


def _load(instructions: bytes) -> int:
    try:
        return _kernel.bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, instructions, "ocipy_devices")
    except OSError as error:
        if error.errno != EPERM:
            raise
    # Before Linux 5.11 a program counts as locked memory.
    soft, hard = _kernel.prlimit(0, RLIMIT_MEMLOCK, -1, -1)
    if soft == hard:
        raise Error("cannot load the device program", errno=EPERM)
    _kernel.prlimit(0, RLIMIT_MEMLOCK, hard, hard)
    return _kernel.bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, instructions, "ocipy_devices")


def _replace(directory: int, program: int, old: list[int]) -> None:
    if len(old) == 1:
        try:
            _kernel.bpf_prog_attach(directory, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, old[0])
            return
        except OSError as error:
            # An older kernel, or a program that was attached without BPF_F_ALLOW_MULTI.
            if error.errno not in (EINVAL, EPERM):
                raise
    # While several are attached, all must permit an access (BPF_F_ALLOW_MULTI), so nothing is allowed by mistake.
    _kernel.bpf_prog_attach(directory, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI, -1)
    for fd in old:
        _kernel.bpf_prog_detach(directory, fd, BPF_CGROUP_DEVICE)
