"""linux.cgroupsPath and linux.resources on the host: the cgroup is made, joined and limited."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.cgroups.creation import NOT_PERMITTED, fill_cpuset, make, own, place
from ocipy.cgroups.device_filter import set_devices
from ocipy.cgroups.layout import probe
from ocipy.errors import Error
from ocipy.linux import _kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.cgroups.cgroup import Cgroup
    from ocipy.cgroups.devices import Rule
    from ocipy.host.context import HostRun


def _cgroup(run: HostRun) -> Cgroup:
    if run.cgroup is None:
        raise Error("internal error: the cgroup has not been made yet")
    return run.cgroup


def cgroup_create(
    run: HostRun, *, path: str, tolerant: bool, enable: Sequence[str], domain: bool, cpuset: bool, pids_shared: bool
) -> None:
    """Make the cgroup. The state records it beforehand, so that `delete --force` finds it after a SIGKILL."""
    layout = probe()
    cgroup = place(layout, path, run.options.container_id)
    run.state.cgroup = cgroup.to_state()
    run.state.save()
    run.cgroup = cgroup
    try:
        make(cgroup, layout, tolerant=tolerant, enable=enable, domain=domain, cpuset=cpuset)
        if not cpuset and "cpuset" in cgroup.paths:
            run.cpuset = (cgroup.paths["cpuset"], layout.top("cpuset"))
        if not cgroup.paths and pids_shared:
            log.warning("the container has neither its own cgroup nor its own pid namespace: delete may miss processes")
    finally:
        run.state.cgroup = cgroup.to_state()


def expected_paths(run: HostRun) -> dict[str, str]:
    """Return the cgroup's paths, for init; for a unit, which is made after the clone, those that it will have."""
    expected = run.expected_paths
    return expected or (run.cgroup.paths if run.cgroup is not None else {})


def cgroup_cpuset(run: HostRun) -> None:
    """Write what the v1 cpuset needs before a process may join."""
    if run.cpuset is not None:
        fill_cpuset(*run.cpuset)


def cgroup_own(run: HostRun, *, uid: int) -> None:
    """Let the container's user manage the cgroups below its own."""
    own(_cgroup(run), uid)


def cgroup_open(run: HostRun) -> None:
    """Open the files that init writes when it enters the v1 hierarchies: init may be unable to reach them."""
    for name, fd in _cgroup(run).open_tasks().items():
        run.fds["cgroup/" + name] = fd


def clone_into(run: HostRun, flags: int, exit_signal: int, *, required: bool) -> tuple[int, int]:
    """Clone into the v2 cgroup if there is one: (pid, pidfd), or (0, -1) in the child. Raises OSError.

    If the kernel refuses (before Linux 5.7, a threaded cgroup), cgroup_join moves the process later, unless required:
    the root of a cgroup namespace made by the clone would be our own cgroup.
    """
    directory = run.cgroup.directory_fd() if run.cgroup is not None and run.cgroup.systemd is None else -1
    try:
        pid, pidfd = _kernel.clone3(flags, exit_signal, directory)
    except OSError:
        if required or directory < 0:
            raise
        return _kernel.clone3(flags, exit_signal, -1)
    if pid and directory >= 0:
        run.in_cgroup = True
        posix.close(directory)
    return pid, pidfd


def cgroup_join(run: HostRun, *, tolerant: bool) -> None:
    """Move init, or the stage before it, into the v2 cgroup, unless it was cloned there. It enters v1 itself."""
    for name in [name for name in run.fds if name.startswith("cgroup/")]:
        posix.close(run.fds.pop(name))
    cgroup = _cgroup(run)
    if "" not in cgroup.paths or run.in_cgroup:
        return
    try:
        cgroup.join(run.pid, only_unified=True)
    except OSError as error:
        if not tolerant or error.errno not in NOT_PERMITTED:
            raise Error(f"cannot join the cgroup {cgroup.paths['']}", errno=error.errno or 0) from None
        # Not delegated to us: the container stays in our cgroup.
        path = cgroup.paths.pop("")
        if path in cgroup.created:
            posix.rmdir(path)
            cgroup.created.remove(path)
        run.state.cgroup = cgroup.to_state()
        run.state.save()


def cgroup_devices(run: HostRun, *, rules: Sequence[Rule], tolerant: bool) -> None:
    """Apply the device rules."""
    set_devices(_cgroup(run), rules, tolerant=tolerant)


def cgroup_write(run: HostRun, *, controller: str, file: str, value: str, **options: str | bool) -> None:
    """Set one limit."""
    _cgroup(run).write(controller, file, value, **options)  # type: ignore[arg-type]


def cgroup_check_memory(run: HostRun, *, limit: int, swap: int) -> None:
    """Refuse a limit below the current usage."""
    _cgroup(run).check_memory(limit, swap)


ACTIONS = {
    "cgroup_check_memory": cgroup_check_memory,
    "cgroup_cpuset": cgroup_cpuset,
    "cgroup_create": cgroup_create,
    "cgroup_devices": cgroup_devices,
    "cgroup_join": cgroup_join,
    "cgroup_open": cgroup_open,
    "cgroup_own": cgroup_own,
    "cgroup_write": cgroup_write,
}
