"""checkpoint: have criu write the images of a container's processes (criu(8), dump). Cold."""

from __future__ import annotations

import fcntl
import os
import posix
from typing import Any

from ocipy.cgroups import freezer
from ocipy.cgroups.layout import probe
from ocipy.children.interrupts import catch
from ocipy.criu import client, messages
from ocipy.criu.client import Criu, CriuSession
from ocipy.criu.directory import DESCRIPTORS, open_directory
from ocipy.errors import Error, reported_as
from ocipy.host.machine import describe_host
from ocipy.init.paths import is_directory, open_below
from ocipy.linux import _kernel
from ocipy.linux.files import read_file, write_file
from ocipy.operations.delete import end
from ocipy.plan import build
from ocipy.plan import checkpoint as plan
from ocipy.plan.checkpoint import CriuFlags, DumpFacts
from ocipy.plan.model import Options, Plan
from ocipy.state.directory import lock
from ocipy.state.state import CONFIG_FILE, State, load

# An exit status above this means that a signal came.
SIGNALLED = 128
FAILED = "criu cannot dump the container"
# criu's configuration files: ours, and one that an administrator may have written for runc.
CONFIG_FILES = ("/etc/criu/ocipy.conf", "/etc/criu/runc.conf")

# The container's standard streams, in the directory of criu's images, under runc's name.


def checkpoint(root: str, container_id: str, flags: CriuFlags, criu_path: str) -> None:
    """Write the images, and destroy the container unless a flag keeps it running.

    criu_path: --criu. After a signal (children/interrupts.py), criu gets time to finish by itself: an aborted dump may
    leave processes broken. Raises Error; the container then continues as before.
    """
    state = load(root, container_id)
    check_status(state)
    plan.check_flags(flags)
    _check_status_fd(flags)
    path = client.find(criu_path)
    interrupts = catch()
    program = client.start(path)  # it gets ready while we do
    try:
        _checkpoint(state, root, flags, program, interrupts)
    finally:
        program.session.end()


def _checkpoint(state: State, root: str, flags: CriuFlags, program: Criu, interrupts: int) -> None:
    lock_fd = lock(state.directory)
    try:
        state = load(root, state.container_id)
        status = check_status(state)
        try:
            _dump(state, flags, program, interrupts)
        except Error:
            # criu thaws the processes that it froze, unless it was killed.
            program.session.end()
            if status == "running" and state.cgroup is not None:
                freezer.thaw(state.cgroup["paths"])
            raise
        if not (flags.leave_running or flags.pre_dump):
            end(state)
        program.session.finish()
    finally:
        posix.close(lock_fd)


def check_status(state: State) -> str:
    """The status. Raises Error for a container whose process has not started or has ended."""
    status = state.status()
    if status not in ("running", "paused"):
        hint = "it has not been started" if status == "created" else ""
        raise Error(f"Container cannot be checkpointed in {status} state", hint=hint)
    return status


def _check_status_fd(flags: CriuFlags) -> None:
    if flags.status_fd < 0:
        return
    with reported_as(f"invalid --status-fd {flags.status_fd}"):
        writable = fcntl.fcntl(flags.status_fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    if not writable:
        raise Error(f"invalid --status-fd {flags.status_fd}: it is not open for writing")


def _dump(state: State, flags: CriuFlags, program: Criu, interrupts: int) -> None:
    config = _kernel.json_loads(read_file(state.directory + "/" + CONFIG_FILE))
    options = Options(
        container_id=state.container_id, bundle=state.bundle, state_directory=state.directory, has_console=True
    )
    made = build.build(config, describe_host(), options)
    plan.refuse(config, made)
    program.learn(interrupts)
    if flags.pre_dump:
        program.check_feature("mem_track", "--pre-dump")
    if flags.lazy_pages:
        program.check_feature("lazy_pages", "--lazy-pages")
    images = open_directory(flags.image_path, "--image-path", make=True)
    work = open_directory(flags.work_path, "--work-path", make=True) if flags.work_path else -1
    _check_parent(flags, images)
    flags = with_config_file(flags, config)
    criu_options = plan.dump_options(config, made, flags, _facts(state, config, made, program))
    criu_options["images_dir_fd"] = images
    if work >= 0:
        criu_options["work_dir_fd"] = work
    if not flags.pre_dump:
        terminal = bool((config.get("process") or {}).get("terminal"))
        streams = ["", "", ""] if terminal else state.streams
        write_file(f"{flags.image_path}/{DESCRIPTORS}", _kernel.json_dumps(streams))
    kind = messages.PRE_DUMP if flags.pre_dump else messages.DUMP
    log = client.log_path(flags, plan.DUMP_LOG)
    program.session.send({"type": kind, "opts": criu_options})
    _serve(program.session, flags, log, interrupts)
    program.session.hang_up()


def with_config_file(flags: CriuFlags, config: Any) -> CriuFlags:
    """The flags, with the configuration file for criu."""
    from dataclasses import replace

    existing = [path for path in CONFIG_FILES if os.path.exists(path)]
    return replace(flags, config_file=plan.config_file(config, existing))


def _check_parent(flags: CriuFlags, images: int) -> None:
    if not flags.parent_path:
        return
    with reported_as("invalid --parent-path", pointer=flags.parent_path, hint="it is relative to --image-path"):
        posix.close(posix.open(flags.parent_path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC, dir_fd=images))


def _facts(state: State, config: Any, made: Plan, program: Criu) -> DumpFacts:
    """The facts about the container and the host that plan/checkpoint.py needs."""
    v1, directory = freezer.find(state.cgroup["paths"]) if state.cgroup is not None else (False, "")
    facts = DumpFacts(version=program.version, pid=state.pid, root=state.rootfs, freezer=directory, unified=not v1)
    for name, path in plan.external_kinds(config).items():
        with reported_as(f"cannot find the {name} namespace {path}"):
            facts.inodes[name] = posix.stat(path).st_ino
    facts.hierarchies = tuple(os.path.basename(point) for point in probe().mounts.values())
    root = posix.open(f"/proc/{state.pid}/root", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        if not state.is_alive():
            raise Error("container not running")
        for destination in plan.destinations(made, facts.hierarchies):
            found = _look_up(root, destination)
            if found is not None:
                facts.mount_points[destination] = found[0]
        masked = (config.get("linux") or {}).get("maskedPaths") or ()
        seen = [found for path in masked if (found := _look_up(root, path)) is not None]
        facts.masked_files = tuple(dict.fromkeys(path for path, directory in seen if not directory))
    finally:
        posix.close(root)
    return facts


def _look_up(root: int, path: str) -> tuple[str, bool] | None:
    """(the target of a path in the container, whether that is a directory), None if it has no target."""
    try:
        fd = open_below(root, path)
    except OSError:
        return None
    try:
        # It is in another mount namespace, so the kernel shows it from that one's root (d_path).
        return posix.readlink(f"/proc/self/fd/{fd}"), is_directory(fd)
    finally:
        posix.close(fd)


def _serve(session: CriuSession, flags: CriuFlags, log: str, interrupts: int) -> None:
    """Answer criu's notifications until the dump is done. Raises Error."""
    images = flags.image_path
    while True:
        try:
            response, _ = session.receive(interrupts)
        except client.NoAnswer as problem:
            raise client.failure(FAILED, {"cr_errmsg": problem.what}, log, images) from None
        except Error as error:
            if error.status > SIGNALLED:
                session.finish(client.GIVE_UP_PATIENCE_MS)
                error.what += ": criu's dump was abandoned"
            raise
        if not response.get("success"):
            raise client.failure(FAILED, response, log, images)
        if response.get("type") != messages.NOTIFY:
            return
        if response.get("notify", {}).get("script") == "status-ready" and flags.status_fd >= 0:
            _tell_ready(flags.status_fd)
        session.send({"type": messages.NOTIFY, "notify_success": True})


def _tell_ready(status_fd: int) -> None:
    """Write a zero byte and close: the server of --lazy-pages listens."""
    try:
        posix.write(status_fd, b"\0")
        posix.close(status_fd)
    except OSError:
        pass  # the reader has gone
