"""What the lanes report if the kernel refuses a step, and that init and the stage are undumpable in time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.host import lane as host_lane
from ocipy.host.context import ACTIONS as HOST_ACTIONS
from ocipy.host.context import HostRun
from ocipy.init import capabilities, exec, identity, lane, namespaces, stage
from ocipy.init.context import ACTIONS, Descriptors, Init
from ocipy.linux import _kernel, channel
from ocipy.linux.constants import PR_GET_DUMPABLE, PR_SET_DUMPABLE
from ocipy.plan.capabilities import Capabilities
from ocipy.plan.identity import BecomeRoot
from ocipy.plan.lane import Undumpable
from ocipy.plan.model import HostStep, InitStep, Options, Plan
from ocipy.plan.process import Execute, Session, Umask
from ocipy.state.state import State
from tests.unit.kinds import kinds


def refuse(*_arguments: Any, **_keywords: Any) -> None:
    raise OSError(errno.EMFILE, "x")


def nothing(*_arguments: Any, **_keywords: Any) -> None:
    pass


def assert_complete(error: Error, action: str, pointer: str) -> None:
    """The error has the action, the field, the kernel's answer, and the likely cause."""
    told = f"the kernel refused the step {action}: Too many open files"
    assert error.line == (f"{pointer}: {told}" if pointer else told)
    assert "RLIMIT_NOFILE" in error.hint


def reported(child: Callable[[Init], None], started: bool = False) -> Error:
    """Return the Error that a process of the init lane reports, to create or to start."""
    ours, theirs = channel.pair()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        init = Init(channel=theirs, state={})
        init.fds.report = writer
        if started:
            init.report_fd = writer
        child(init)
        os._exit(9)
    os.close(theirs.fd)
    os.close(writer)
    kind, body, _ = ("error", _kernel.json_loads(os.read(reader, 65536)), []) if started else ours.receive()
    os.close(ours.fd)
    os.close(reader)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert kind == "error"
    return Error.from_message(body)


@pytest.mark.parametrize("pointer", ["", "/mounts/3"])
@pytest.mark.parametrize("kind", kinds(HostStep))
def test_a_step_that_the_kernel_refuses_on_the_host(
    monkeypatch: pytest.MonkeyPatch, kind: type[HostStep], pointer: str
) -> None:
    more: Any = {"path": "/data"} if pointer else {}
    monkeypatch.setattr(host_lane, "load_modules", nothing)
    monkeypatch.setitem(HOST_ACTIONS, kind, refuse)
    plan = Plan()
    plan.host.append(kind(pointer, **more))
    config: Any = {}
    run = HostRun(config, Options(container_id="c", bundle="/b"), plan, State("/nowhere/c", "c", "/b"))
    with pytest.raises(Error) as caught:
        host_lane.carry_out(run)
    assert_complete(caught.value, kind.action + (" /data" if pointer else ""), pointer)


@pytest.mark.parametrize("pointer", ["", "/mounts/3"])
@pytest.mark.parametrize("kind", kinds(InitStep))
def test_a_step_that_the_kernel_refuses_inside(
    monkeypatch: pytest.MonkeyPatch, kind: type[InitStep], pointer: str
) -> None:
    monkeypatch.setitem(ACTIONS, kind, refuse)
    plan = Plan()
    plan.init.append(kind(pointer))
    assert_complete(reported(lambda init: lane.become_init(plan, init)), kind.action, pointer)


def test_a_step_that_the_kernel_refuses_after_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTIONS, Execute, refuse)
    plan = Plan()
    plan.init.append(Execute("/process/args", arguments=("sh",)))
    error = reported(lambda init: lane.become_init(plan, init), started=True)
    assert_complete(error, "execute", "/process/args")


def test_an_internal_error_is_reported_with_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_init: Init, _step: Umask) -> None:
        raise ValueError("oh")

    monkeypatch.setitem(ACTIONS, Umask, fail)
    plan = Plan()
    plan.init.append(Umask("/process/user/umask", mask=0))
    error = reported(lambda init: lane.become_init(plan, init))
    assert error.line == "/process/user/umask: internal error: umask: ValueError: oh"


def test_undumpable_is_undumpable_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is before anything of the container exists: the capability sets change much later."""

    def look(_init: Init, _step: Session) -> None:
        raise Error(f"dumpable: {_kernel.prctl(PR_GET_DUMPABLE)}")

    monkeypatch.setitem(ACTIONS, Session, look)
    plan = Plan()
    plan.init.append(Session())
    assert reported(lambda init: lane.become_init(plan, init)).what == "dumpable: 1"
    plan.init.insert(0, Undumpable())
    assert reported(lambda init: lane.become_init(plan, init)).what == "dumpable: 0"


@pytest.mark.parametrize("action", ["become_root", "capabilities"])
def test_new_ids_do_not_make_it_dumpable_again(monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    """prctl(2): when ids or capabilities change, the kernel resets the attribute to fs.suid_dumpable."""
    done: list[tuple[Any, ...]] = []

    def prctl(option: int, *values: int) -> int:
        done.append((option, *values))
        return 0

    def change(*_ids: int) -> None:
        done.append(("change",))

    for name in ("posix.setresuid", "posix.setresgid"):
        monkeypatch.setattr(name, change)
    monkeypatch.setattr(_kernel, "capset", change)
    monkeypatch.setattr(_kernel, "prctl", prctl)
    init: Any = None
    if action == "become_root":
        identity.become_root(init, BecomeRoot(uid=0, gid=0, drop_groups=False))
    else:
        capabilities.capabilities(init, Capabilities(effective=0, permitted=0, inheritable=0, ambient=0))
    last_change = max(number for number, what in enumerate(done) if what == ("change",))
    assert (PR_SET_DUMPABLE, 0) in done[last_change:]


def test_the_process_before_init(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage of create, and the joiner of exec."""
    monkeypatch.setattr(stage, "close_others", refuse)
    error = reported(lambda init: stage.run_stage(Plan(), init, (), False, False, (), False, False))
    assert_complete(error, "clone_stage", "/linux/namespaces")
    monkeypatch.setattr(exec, "close_others", refuse)
    error = reported(lambda init: exec.run_joining(Plan(), init, (), False, False, 1))
    assert_complete(error, "clone_joining", "/linux/namespaces")


def test_the_runtimes_own_user_namespace_cannot_be_joined() -> None:
    with open("/proc/self/ns/user") as file, pytest.raises(Error) as caught:
        namespaces.join([("user", "/linux/namespaces/6", file.fileno())])
    assert caught.value.line == "/linux/namespaces/6: cannot join the user namespace: Invalid argument"
    assert caught.value.hint == "it is the runtime's own user namespace: omit it"


@pytest.mark.parametrize("kind", ["user", "pid", "network"])
def test_the_stage_is_undumpable_before_it_joins(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Otherwise a process with privileges in the user namespace could trace it while it has the host's ids."""

    def join(_namespaces: Any) -> None:
        raise Error("traceable" if _kernel.prctl(PR_GET_DUMPABLE) else "closed")

    monkeypatch.setattr(stage, "join", join)
    monkeypatch.setattr(stage, "wait_for_host", nothing)

    def child(init: Init) -> None:
        init.fds.namespaces[kind] = 0
        stage.run_stage(Plan(), init, ((kind, "/linux/namespaces/0"),), False, False, (), False, False)

    assert reported(child).what == "closed"


def test_a_child_that_others_may_inspect_gets_no_procfs_and_no_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the private procfs nor the one with the host's kernel parameters."""

    def fork() -> None:
        raise Error(str([left.procfs, left.sysctl, left.namespaces, left.fifo >= 0]))

    left = Descriptors()
    monkeypatch.setattr(stage, "join", nothing)
    monkeypatch.setattr(stage, "wait_for_host", nothing)
    monkeypatch.setattr(_kernel, "clone_successor", fork)

    def child(init: Init) -> None:
        nonlocal left
        left = init.fds
        left.procfs, left.sysctl, left.namespaces["pid"], left.fifo = (os.open("/proc", os.O_PATH) for _ in range(4))
        stage.run_stage(Plan(), init, (("pid", "/linux/namespaces/0"),), False, False, (), True, True)

    assert reported(child).what == "[-1, -1, {}, True]"


@pytest.mark.parametrize("kinds", [("user",), ("time", "ipc"), ("cgroup",)])
def test_namespaces_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...]) -> None:
    def unshare(_flags: int) -> None:
        raise OSError(errno.ENOSPC, "x")

    monkeypatch.setattr(_kernel, "unshare", unshare)
    with pytest.raises(Error) as caught:
        stage.unshare(kinds)
    assert caught.value.line == f"cannot make the namespaces ({' '.join(kinds)}): No space left on device"
    assert "/proc/sys/user" in caught.value.hint
