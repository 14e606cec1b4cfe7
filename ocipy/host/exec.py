"""The host lane's side of exec: the joiner, its cgroup, its CPUs (execCPUAffinity: initial, final), its exec."""

from __future__ import annotations

import errno
import posix

from ocipy.cgroups.cgroup import Cgroup
from ocipy.cgroups.files import is_present, read
from ocipy.cgroups.layout import parse_own, probe
from ocipy.cgroups.paths import is_within
from ocipy.errors import Error, caused_by, reported_as
from ocipy.host.context import carries_out
from ocipy.init.context import Init
from ocipy.init.exec import run_joining
from ocipy.linux import _kernel, channel
from ocipy.linux.constants import CLONE_PIDFD, O_CLOEXEC, O_DIRECTORY, O_PATH, SIGCHLD
from ocipy.plan.exec import (
    CloneJoining,
    ExecCgroup,
    ExecCgroupJoin,
    FinalAffinity,
    InitialAffinity,
    OpenRoot,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ocipy.host.context import HostRun

MOVE_REFUSED = (errno.EACCES, errno.EPERM)


@carries_out(OpenRoot)
def open_root(run: HostRun, step: OpenRoot) -> None:
    """Open the root of the container's process, for a container without a mount namespace."""
    with reported_as("cannot open the container's root"):
        run.fds.root = posix.open(f"/proc/{run.state.pid}/root", O_PATH | O_DIRECTORY | O_CLOEXEC)


@carries_out(ExecCgroup)
def exec_cgroup(run: HostRun, step: ExecCgroup) -> None:
    """Use the container's cgroup, and open the files that the process writes to when it enters the v1 hierarchies."""
    run.cgroup = Cgroup("", dict(step.paths), [])
    run.chosen = step.chosen
    try:
        run.fds.cgroups = run.cgroup.open_tasks()
    except FileNotFoundError:
        raise _no_cgroup(run, [path for name, path in step.paths if name]) from None


def _no_cgroup(run: HostRun, paths: Sequence[str]) -> Error:
    """Avoid the kernel's words for ENOENT: engines mistake them for a missing command (docs/errors.md)."""
    missing = next((path for path in paths if not is_present(path)), "")
    hint = "--cgroup must name an existing cgroup below the container's" if run.chosen else ""
    return Error(f"there is no cgroup {missing}", hint=hint)


@carries_out(CloneJoining)
def clone_joining(run: HostRun, step: CloneJoining) -> None:
    """Clone the joiner, into the container's v2 cgroup if it has one."""
    ours, theirs = channel.pair()
    init = Init(channel=theirs, fds=run.fds, state={}, preserved=run.options.preserve_fds, onlooker=run.onlooker)
    pid, pidfd = _clone(run)
    if pid == 0:
        run_joining(run.plan, init, step.kinds, step.chroot, step.drop_groups, run.state.pid)
    posix.close(theirs.fd)
    run.channel = ours
    run.pid, run.pidfd = pid, pidfd
    run.stage = pid if "pid" in step.kinds else 0


def _clone(run: HostRun) -> tuple[int, int]:
    """Return (pid, pidfd), or (0, -1) in the child."""
    for path in _unified_cgroups(run):
        if not _has_room(path):
            break
        try:
            directory = posix.open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            pid, pidfd = _kernel.clone3(CLONE_PIDFD, SIGCHLD, directory)
        except OSError:
            # Before Linux 5.7, or the cgroup cannot contain processes (cgroups(7)): try the next, or exec_cgroup_join.
            continue
        finally:
            posix.close(directory)
        run.in_cgroup = True
        return pid, pidfd
    return _kernel.clone3(CLONE_PIDFD, SIGCHLD, -1)


def _has_room(path: str) -> bool:
    """Whether the limit on processes leaves room for two more: the joiner and its child.

    If not, exec_cgroup_join moves the child in, which the limit does not prevent (cgroup-v2.rst, PID).
    """
    try:
        limit = read(path + "/pids.max").strip()
        return limit == "max" or int(limit) - int(read(path + "/pids.current")) >= 2
    except OSError:
        return True  # the controller is not enabled


def _unified_cgroups(run: HostRun) -> Iterator[str]:
    """Yield the container's v2 cgroup, then the one that its first process is in now.

    A cgroup whose children have controllers cannot contain processes, so a systemd inside moves itself into a child
    (cgroups(7)). Only a cgroup below the container's counts: the process decides where it is.
    """
    path = run.cgroup.path_of("") if run.cgroup is not None else ""
    if path:
        yield path
        if not run.chosen:
            other = _cgroup_of_init(run.state.pid)
            # If the process is still alive, its pid has not been reused.
            if other != path and is_within(other, path) and run.state.is_alive():
                yield other


@carries_out(ExecCgroupJoin)
def exec_cgroup_join(run: HostRun, step: ExecCgroupJoin) -> None:
    """Move the process into the v2 cgroup, unless it was cloned into it. It enters v1 by itself."""
    run.fds.close_cgroups()
    if run.in_cgroup:
        return
    refusal: Error | None = None
    for path in _unified_cgroups(run):
        try:
            Cgroup("", {"": path}, []).join(run.pid)
            return
        except FileNotFoundError:
            refusal = refusal or _no_cgroup(run, [path])
        except OSError as error:
            if error.errno in MOVE_REFUSED and run.state.cgroup is not None and run.state.cgroup.get("systemd"):
                _attach(run, path)
                return
            refusal = refusal or caused_by(error, f"cannot join the cgroup {path}")
    if refusal is not None:
        raise refusal


def _attach(run: HostRun, path: str) -> None:
    """Have systemd move the process: a user may not move a process out of a cgroup that is not delegated to them."""
    from ocipy.host import systemd

    cgroup = Cgroup.from_state(run.state.cgroup or {})
    systemd.attach(cgroup, run.pid, path.removeprefix(cgroup.path_of("")))


def _cgroup_of_init(pid: int) -> str:
    """Return the v2 cgroup of the container's process, "" if it cannot be determined."""
    try:
        return probe().directory("", parse_own(read(f"/proc/{pid}/cgroup"))[""])
    except (OSError, KeyError):
        return ""


@carries_out(InitialAffinity)
def initial_affinity(run: HostRun, step: InitialAffinity) -> None:
    """Run on these CPUs from here on: the cloned process inherits them (sched_setaffinity(2))."""
    _set_affinity(0, step.cpus)


@carries_out(FinalAffinity)
def final_affinity(run: HostRun, step: FinalAffinity) -> None:
    """Set the CPUs of the process, now that it is in its cgroup."""
    _set_affinity(run.pid, step.cpus)


def _set_affinity(pid: int, cpus: Sequence[int]) -> None:
    hint = {errno.EINVAL: "none of them is online and in the cgroup's cpuset (linux.resources.cpu.cpus)"}
    with reported_as(f"cannot run on the CPUs {','.join(map(str, cpus))}", hint=hint):
        posix.sched_setaffinity(pid, cpus)
