"""linux.cgroupsPath and linux.resources on the host: make, join and limit the cgroup."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.cgroups.creation import NOT_PERMITTED, delegate, fill_cpuset, locate, make_cgroup, refuse_frozen
from ocipy.cgroups.device_filter import set_devices
from ocipy.cgroups.layout import probe
from ocipy.errors import Error, caused_by
from ocipy.host.context import carries_out
from ocipy.linux import _kernel
from ocipy.plan.cgroup import (
    CgroupCheckMemory,
    CgroupCpuset,
    CgroupCreate,
    CgroupDevices,
    CgroupJoin,
    CgroupOpen,
    CgroupOwn,
    CgroupWrite,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.cgroups.cgroup import Cgroup
    from ocipy.host.context import HostRun


def _cgroup(run: HostRun) -> Cgroup:
    if run.cgroup is None:
        raise Error("internal error: the cgroup has not been made yet")
    return run.cgroup


@carries_out(CgroupCreate)
def cgroup_create(run: HostRun, step: CgroupCreate) -> None:
    """Make the cgroup. The state records it beforehand, so that `delete --force` finds it after a SIGKILL."""
    layout = probe()
    cgroup = locate(layout, step.path, run.options.container_id)
    run.state.cgroup = cgroup.to_state()
    run.state.save()
    run.cgroup = cgroup
    try:
        make_cgroup(
            cgroup, layout, tolerant=step.tolerant, enable=step.enable, domain=step.domain, cpuset=step.cpuset,
            frozen=step.frozen,
        )  # fmt: skip
        if not step.cpuset and "cpuset" in cgroup.paths:
            run.cpuset = (cgroup.paths["cpuset"], layout.tops["cpuset"])
        if not cgroup.paths and step.pids_shared:
            log.warning("the container has neither its own cgroup nor its own pid namespace: delete may miss processes")
    finally:
        run.state.cgroup = cgroup.to_state()


def expected_paths(run: HostRun) -> dict[str, str]:
    """Return the cgroup's paths, for init; for a unit, which is made after the clone, those that it will have."""
    return run.expected_paths or (run.cgroup.paths if run.cgroup is not None else {})


@carries_out(CgroupCpuset)
def cgroup_cpuset(run: HostRun, step: CgroupCpuset) -> None:
    """Fill in what a v1 cpuset needs before a process may join it."""
    if run.cpuset is not None:
        fill_cpuset(*run.cpuset)


@carries_out(CgroupOwn)
def cgroup_own(run: HostRun, step: CgroupOwn) -> None:
    """Let the container's user manage the cgroups below the container's own."""
    delegate(_cgroup(run), step.uid)


@carries_out(CgroupOpen)
def cgroup_open(run: HostRun, step: CgroupOpen) -> None:
    """Open the files that init writes to when it enters the v1 hierarchies, since init may be unable to reach them."""
    run.fds.cgroups = _cgroup(run).open_tasks()


def clone_into(run: HostRun, flags: int, exit_signal: int, *, required: bool) -> tuple[int, int]:
    """Clone into the v2 cgroup if there is one. Return (pid, pidfd), or (0, -1) in the child. Raises OSError.

    If the kernel refuses, for example because the cgroup is threaded, cgroup_join moves the process later. By then init
    may have begun to mount, which is harmless: a threaded cgroup does not account for memory (cgroups(7)).
    required: raise instead, since the clone also makes a cgroup namespace, whose root would be our own cgroup.
    """
    directory = run.cgroup.directory_fd() if run.cgroup is not None and run.cgroup.systemd is None else -1
    entered = True
    try:
        pid, pidfd = _kernel.clone3(flags, exit_signal, directory)
    except OSError:
        if required or directory < 0:
            raise
        entered = False
        pid, pidfd = _kernel.clone3(flags, exit_signal, -1)
    if pid and directory >= 0:
        run.in_cgroup = entered
        posix.close(directory)
    return pid, pidfd


@carries_out(CgroupJoin)
def cgroup_join(run: HostRun, step: CgroupJoin) -> None:
    """Move init, or the stage before it, into the v2 cgroup, unless it was cloned into it. It enters v1 by itself."""
    run.fds.close_cgroups()
    cgroup = _cgroup(run)
    if "" not in cgroup.paths:
        return
    if cgroup.mode == "v2":
        refuse_frozen(cgroup)  # a frozen process can be killed
    if run.in_cgroup:
        return
    try:
        cgroup.join(run.pid, only_unified=True)
    except OSError as error:
        if not step.tolerant or error.errno not in NOT_PERMITTED:
            raise caused_by(error, f"cannot join the cgroup {cgroup.paths['']}") from None
        # The cgroup is not delegated to us: the container stays in ours.
        path = cgroup.paths.pop("")
        if path in cgroup.created:
            posix.rmdir(path)
            cgroup.created.remove(path)
        run.state.cgroup = cgroup.to_state()
        run.state.save()


@carries_out(CgroupDevices)
def cgroup_devices(run: HostRun, step: CgroupDevices) -> None:
    """Apply the rules of resources.devices."""
    set_devices(_cgroup(run), step.rules, tolerant=step.tolerant)


@carries_out(CgroupWrite)
def cgroup_write(run: HostRun, step: CgroupWrite) -> None:
    """Set one limit."""
    _cgroup(run).write(
        step.controller, step.file, step.value, other_file=step.other_file, other_value=step.other_value,
        optional=step.optional, defer=step.defer, resume=step.resume, verify=step.verify,
    )  # fmt: skip


@carries_out(CgroupCheckMemory)
def cgroup_check_memory(run: HostRun, step: CgroupCheckMemory) -> None:
    """Refuse a limit below the current usage."""
    _cgroup(run).check_memory(step.limit, step.swap)
