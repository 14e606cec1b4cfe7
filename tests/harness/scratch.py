"""Executes only the steps for the root filesystem, mounts, devices and masks, in the namespaces of a forked child.

Other tests run the whole runtime. Here a test can try a step with a config of two lines, and a function that looks at
the result from inside.
"""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ocipy.errors import Error, refused
from ocipy.host.context import ACTIONS as HOST_ACTIONS
from ocipy.init.context import ACTIONS, Descriptors, Init
from ocipy.init.lane import load_modules
from ocipy.linux import _kernel, procfs
from ocipy.linux import constants as c
from ocipy.plan import devices as plan_devices
from ocipy.plan import masks as plan_masks
from ocipy.plan import mounts as plan_mounts
from ocipy.plan import rootfs as plan_rootfs
from ocipy.plan.lane import PrivateProcfs
from ocipy.plan.model import Host, Options, Plan, Planner
from ocipy.plan.process import StdioNull
from tests.harness.look import Mount, proc_mounts
from tests.unit.fake_init import Messages

NAMESPACES = {"mount": c.CLONE_NEWNS, "pid": c.CLONE_NEWPID, "network": c.CLONE_NEWNET, "ipc": c.CLONE_NEWIPC}
FIRST_ID = 100000


class Scratch:
    """A bundle directory with an empty root filesystem, and a config of mounts, devices and paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "rootfs"
        self.root.mkdir(parents=True)
        self.config: dict[str, Any] = {"root": {"path": "rootfs"}, "mounts": [], "linux": {}}
        self.namespaces("mount", "pid", "network", "ipc")
        self.no_pivot = False
        self.host = Host()
        self.only_mounts = True  # no default devices, so no /dev/null for the streams

    @property
    def linux(self) -> dict[str, Any]:
        """config.linux"""
        linux: dict[str, Any] = self.config["linux"]
        return linux

    def namespaces(self, *kinds: str) -> Scratch:
        """Set the new namespaces."""
        self.linux["namespaces"] = [{"type": kind} for kind in kinds]
        return self

    def user_namespace(self) -> Scratch:
        """Add a user namespace whose root owns the root filesystem."""
        self.linux["namespaces"].append({"type": "user"})
        for member in ("uidMappings", "gidMappings"):
            self.linux[member] = [{"containerID": 0, "hostID": FIRST_ID, "size": 65536}]
        for path in [self.root, *self.root.rglob("*")]:
            os.chown(path, FIRST_ID, FIRST_ID, follow_symlinks=False)
        return self

    def mount(self, destination: str, *options: str, type: str = "tmpfs", source: str = "scratch") -> Scratch:
        """Append a mount."""
        self.config["mounts"].append(
            {"destination": destination, "type": type, "source": source, "options": list(options)}
        )
        return self

    def bind(self, source: Path | str, destination: str, *options: str, **members: Any) -> Scratch:
        """Append a bind mount; adds `bind` unless the options have one."""
        if not {"bind", "rbind"} & set(options):
            options = ("bind", *options)
        self.config["mounts"].append(
            {"destination": destination, "source": str(source), "options": list(options), **members}
        )
        return self

    def plan(self) -> Plan:
        """The steps, in the order of the runtime's plan."""
        options = Options(container_id="scratch", bundle=str(self.path), no_pivot=self.no_pivot)
        config: Any = self.config
        planner = Planner(config, self.host, options)
        plan_rootfs.plan_root_source(planner)
        plan_mounts.plan_sources(planner)
        plan_rootfs.plan_rootfs(planner)
        plan_mounts.plan_mounts(planner)
        if not self.only_mounts:
            plan_devices.plan_devices(planner)
        plan_masks.plan_null(planner)
        plan_rootfs.plan_pivot(planner)
        plan_mounts.plan_readonly(planner)
        plan_rootfs.plan_root_readonly(planner)
        plan_masks.plan_readonly_paths(planner)
        plan_masks.plan_masked_paths(planner)
        if self.only_mounts:
            planner.plan.init = [step for step in planner.plan.init if not isinstance(step, StdioNull)]
        load_modules(planner.plan.host, "ocipy.host", HOST_ACTIONS)
        load_modules(planner.plan.init, "ocipy.init", ACTIONS)
        return planner.plan

    def run(self, look: Callable[[Init], Any] = lambda init: None, before: Callable[[], None] = lambda: None) -> Any:
        """Execute the plan in a child, and return the result of `look` there. Raises a step's Error.

        before: called in the child's new namespaces, before the first step.
        """
        plan = self.plan()
        host: Any = SimpleNamespace(
            fds=Descriptors(),
            id_maps={},
            device_directory=-1,
            device_maps=None,
            state=SimpleNamespace(directory=str(self.path)),
        )
        if not any(isinstance(step, PrivateProcfs) for step in plan.host):
            host.fds.procfs = procfs.open_private(subset_pid=True)
        try:
            for step in plan.host:
                try:
                    HOST_ACTIONS[type(step)](host, step)
                except Error as error:
                    error.pointer = error.pointer or step.pointer
                    raise
            return self._in_child(plan, host.fds, look, before)
        finally:
            for fd in [*host.fds.all(), *host.id_maps.values()]:
                if fd >= 0:
                    os.close(fd)

    def _in_child(self, plan: Plan, fds: Descriptors, look: Callable[[Init], Any], before: Callable[[], None]) -> Any:
        kinds = [entry["type"] for entry in self.linux["namespaces"]]
        flags = sum(NAMESPACES[kind] for kind in kinds if kind in NAMESPACES)
        answers, answer = os.pipe()
        maps, mapped = os.pipe()
        pid, pidfd = _kernel.clone3(flags | c.CLONE_PIDFD | (c.CLONE_NEWUSER if "user" in kinds else 0), c.SIGCHLD, -1)
        if pid == 0:
            os.close(mapped)
            os.read(maps, 1)
            _child(plan, fds, answer, look, before)
        if "user" in kinds:
            for kind in ("uid_map", "gid_map"):
                Path(f"/proc/{pid}/{kind}").write_text(f"0 {FIRST_ID} 65536\n")
        for fd in (answer, maps, mapped, pidfd):
            os.close(fd)
        with os.fdopen(answers, "rb") as stream:
            data = stream.read()
        os.waitpid(pid, 0)
        assert data, "the child ended without an answer"
        result = pickle.loads(data)
        if isinstance(result, dict) and "error" in result:
            raise Error.from_message(result["error"])
        if isinstance(result, dict) and "traceback" in result:
            raise AssertionError(result["traceback"])
        return result


def _child(plan: Plan, fds: Descriptors, answer: int, look: Callable[[Init], Any], before: Callable[[], None]) -> None:
    pointer = action = ""
    try:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.umask(0)
        before()
        init = Init(channel=Messages(), fds=fds, state={})
        init.proc = procfs.open_own(fds.procfs)
        fds.procfs = -1
        for step in plan.init:
            pointer, action = step.pointer, step.action
            ACTIONS[type(step)](init, step)
        result = look(init)
    except Error as error:
        error.pointer = error.pointer or pointer
        result = {"error": error.to_message()}
    except OSError as error:
        if pointer and not error.filename:
            result = {"error": refused(error, action, pointer).to_message()}
        else:
            result = {"traceback": traceback.format_exc()}
    except BaseException:
        result = {"traceback": traceback.format_exc()}
    data = pickle.dumps(result)
    while data:
        data = data[os.write(answer, data) :]
    os._exit(0)


def mount_on_host(source: str, target: Path, fstype: str, *words: str) -> None:
    """mount(8), on the host."""
    assert os.spawnlp(os.P_WAIT, "mount", "mount", "-t", fstype, "-o", ",".join(words) or "rw", source, target) == 0


def make_on_host(propagation: str, path: Path) -> None:
    """Change the propagation of a mount on the host."""
    assert os.spawnlp(os.P_WAIT, "mount", "mount", f"--make-{propagation}", str(path)) == 0


def mount_of(point: str) -> Mount:
    """The topmost mount at a mount point, as the caller sees it."""
    return [mount for mount in proc_mounts() if mount.point == point][-1]


def with_proc(scratch: Scratch) -> Scratch:
    """A scratch with a procfs on /proc."""
    return scratch.mount("/proc", type="proc", source="proc")


def fails(scratch: Scratch, *words: str, pointer: str) -> Error:
    """Run the steps, and assert that they fail at this field, with these words."""
    with pytest.raises(Error) as caught:
        scratch.run()
    assert caught.value.pointer == pointer
    for word in words:
        assert word in caught.value.line
    return caught.value
