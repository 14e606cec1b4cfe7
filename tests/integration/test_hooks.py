"""hooks: when and where they run, their input, and the effect of a failure (config.md, runtime.md)."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Runtime, descendants, namespace, wait_until
from tests.harness.hooks import KINDS, hooks, shell
from tests.harness.look import cgroup_hierarchies
from tests.harness.text import read

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
# runc up to 1.5: at the end of create, before the process exists.
POSTSTART = pytest.mark.differs_from_runc("runc 1.5 runs the poststart hooks in create")
ON_HOST = ("prestart", "createRuntime", "poststart", "poststop")


@pytest.fixture
def shared(bundle: Bundle, work: Path) -> Path:
    """A directory with the same path on the host and in the container, for hooks."""
    directory = work / "shared"
    directory.mkdir()
    directory.chmod(0o777)
    bundle.mount(str(directory), str(directory))
    return directory


def whole_life(container: MakeContainer, bundle: Bundle) -> Container:
    one = container(bundle, args=["sleep", "1000"])
    one.start()
    one.end()
    return one


@POSTSTART
@pytest.mark.smoke
def test_order_of_the_kinds_and_within_each(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    hooks(bundle, **{kind: [shell(f"echo {kind} {n} >> {shared}/log") for n in (1, 2)] for kind in KINDS})
    log = shared / "log"

    def seen() -> list[str]:
        return log.read_text().splitlines()

    expected = [f"{kind} {n}" for kind in KINDS for n in (1, 2)]
    one = container(bundle, args=["sleep", "1000"])
    assert seen() == expected[:6]
    one.start()
    assert seen() == expected[:10]
    one.kill("KILL").reap()
    assert seen() == expected[:10]
    one.runtime.delete(one.id).ok()
    assert seen() == expected


def test_start_container_comes_before_the_program(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    log = shared / "log"
    hooks(bundle, startContainer=[shell(f"sleep 0.2; echo hook {n} >> {log}") for n in (1, 2)])
    one = container(bundle, sh=f"echo program >> {log}; exec sleep 1000")
    assert not log.exists()
    one.start()
    wait_until(lambda: "program" in log.read_text())
    assert log.read_text().splitlines() == ["hook 1", "hook 2", "program"]


def test_poststop_comes_when_the_container_is_gone(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    """config.md: after the container is deleted, and before the delete operation returns."""
    hook = shared / "hook"
    hooks(bundle, poststop=[{"path": str(hook)}])
    one = container(bundle, args=["sleep", "1000"]).start()
    places = sorted({str(top / path.lstrip("/")) for name, path in one.cgroups().items()
                     if (top := cgroup_hierarchies().get(name)) and bundle.linux["cgroupsPath"] in path})  # fmt: skip
    assert places
    one.kill("KILL").reap()
    look = " ".join([f"{one.runtime.root}/{one.id}", *places])
    hook.write_text(f"#!/bin/sh\nsleep 0.2\nls -d {look} > {shared}/left 2>/dev/null\n")
    hook.chmod(0o755)
    one.runtime.delete(one.id).ok()
    assert (shared / "left").read_text() == ""


@POSTSTART
def test_the_state_on_standard_input(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    bundle.config["annotations"] = {"org.example.key": "ü\n"}
    hooks(bundle, **{kind: [shell(f"cat > {shared}/{kind}")] for kind in KINDS})
    one = whole_life(container, bundle)
    states = {kind: json.loads((shared / kind).read_text()) for kind in KINDS}
    for state in states.values():
        assert state["ociVersion"].startswith("1.")
        assert state["id"] == one.id
        assert state["bundle"] == str(bundle.path)
        assert state["annotations"] == bundle.config["annotations"]
    for kind in ("prestart", "createRuntime", "poststart"):
        assert states[kind]["pid"] == one.pid, kind
    for kind in ("createContainer", "startContainer"):
        assert states[kind]["pid"] == 1, kind
    assert states["startContainer"]["status"] == "created"
    assert states["poststart"]["status"] == "running"
    assert states["poststop"]["status"] == "stopped"
    assert not states["poststop"].get("pid")


@pytest.mark.differs_from_runc(
    "runc says creating, but these hooks are steps 3 to 5, and a container is created after step 2"
)
def test_the_status_of_the_hooks_of_create(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    kinds = ("prestart", "createRuntime", "createContainer")
    hooks(bundle, **{kind: [shell(f"cat > {shared}/{kind}")] for kind in kinds})
    container(bundle)
    assert [json.loads((shared / kind).read_text())["status"] for kind in kinds] == ["created"] * 3


def test_namespaces(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    names = ("mnt", "pid", "net", "ipc", "uts")
    look = f"for name in {' '.join(names)}; do readlink /proc/self/ns/$name; done"
    kinds = [
        kind for kind in KINDS if kind != "createContainer"
    ]  # its /proc is the host's, which does not show its pid
    hooks(bundle, **{kind: [shell(f"{look} > {shared}/{kind}")] for kind in kinds})
    one = container(bundle, args=["sleep", "1000"])
    own = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    inside = [os.readlink(f"/proc/{one.pid}/ns/{name}") for name in names]
    one.start()
    one.end()
    for kind in kinds:
        assert (shared / kind).read_text().split() == (own if kind in ON_HOST else inside), kind


def test_create_container_is_in_all_namespaces_of_the_container(
    runtime: Runtime, bundle: Bundle, new_id: NewId, shared: Path
) -> None:
    """Seen from outside: its /proc is the host's, and lacks its pid."""
    names = ("mnt", "pid", "net", "ipc", "uts", "cgroup")
    marker, go = shared / "marker", shared / "go"
    hooks(bundle, createContainer=[shell(f"touch {marker}; while [ ! -e {go} ]; do sleep 0.02; done")])
    bundle.args("sleep", "1000").write()
    id, before = new_id(), descendants()
    create = runtime.begin("create", "--bundle", bundle.path, id)
    wait_until(marker.exists, "the hook")
    pid = runtime.state(id)["pid"]
    [hook] = [each for each in descendants() - before if str(marker) in read(f"/proc/{each}/cmdline")]
    try:
        for name in names:
            assert namespace(hook, name) == namespace(pid, name) != namespace("self", name), name
    finally:
        go.touch()
        create.wait().ok()
        runtime.delete(id, force=True).ok()


def test_create_container_has_a_pid_of_the_container(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    hooks(bundle, createContainer=[shell(f"echo $$ > {shared}/pid")])
    container(bundle)
    assert int((shared / "pid").read_text()) < 10


def test_roots(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    """createContainer's program comes from the host's files, startContainer's from the container's."""
    bundle.file("/etc/inside", "")
    hooks(bundle, **{kind: [shell(f"ls -d /etc/inside > {shared}/{kind} 2>&1; true")] for kind in KINDS})
    whole_life(container, bundle)
    for kind in KINDS:
        inside = (shared / kind).read_text() == "/etc/inside\n"
        assert inside == (kind == "startContainer"), kind


def test_create_container_sees_the_mounts(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    hooks(bundle, createContainer=[shell(f"ls -d dev/shm dev/null proc/self > {shared}/seen; pwd >> {shared}/seen")])
    container(bundle)
    seen = (shared / "seen").read_text().split()
    assert {"dev/shm", "dev/null"} <= set(seen)
    assert seen[-1] == str(bundle.rootfs)


@pytest.mark.differs_from_runc("runc runs poststop hooks in the working directory of delete")
def test_working_directory(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    bundle.process["cwd"] = "/tmp"
    hooks(bundle, **{kind: [shell(f"pwd > {shared}/{kind}")] for kind in KINDS})
    whole_life(container, bundle)
    for kind in ON_HOST:
        assert (shared / kind).read_text() == f"{bundle.path}\n", kind
    assert (shared / "startContainer").read_text() == "/tmp\n"


def test_cve_2025_23266_environment(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    """A host hook never gets the image's environment, which may contain LD_PRELOAD (also CVE-2024-0132)."""
    bundle.process["env"] = ["PATH=/bin", "LD_PRELOAD=/evil.so", "OF_THE_IMAGE=1"]
    hooks(bundle, **{kind: [shell(f"env > {shared}/{kind}")] for kind in KINDS})
    whole_life(container, bundle)

    def variables(kind: str) -> set[str]:
        return {line.split("=")[0] for line in (shared / kind).read_text().splitlines()}

    for kind in (*ON_HOST, "createContainer"):
        assert not {"LD_PRELOAD", "OF_THE_IMAGE"} & variables(kind), kind
    assert "OF_THE_IMAGE" in variables("startContainer")


def test_a_configured_environment(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    look = f"echo $A $B > {shared}/"
    hooks(bundle, **{kind: [shell(look + kind, env=["A=1", "B=x=y"])] for kind in KINDS})
    whole_life(container, bundle)
    for kind in KINDS:
        assert (shared / kind).read_text() == "1 x=y\n", kind


def test_start_container_has_the_privileges_of_the_process(
    container: MakeContainer, bundle: Bundle, shared: Path
) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    look = "id -u; grep -e CapEff -e NoNewPrivs /proc/self/status"
    hooks(bundle, startContainer=[shell(f"({look}) > {shared}/id")])
    whole_life(container, bundle)
    seen = (shared / "id").read_text().split()
    assert seen[0] == "1000"
    assert seen[seen.index("NoNewPrivs:") + 1] == "1"


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_start_container_is_under_the_filter(
    container: MakeContainer, bundle: Bundle, shared: Path, no_new_privileges: bool
) -> None:
    """Its program comes from the image; createContainer's comes from the host."""
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["rmdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42}],
    }
    look = f"mkdir {shared}/$0; rmdir {shared}/$0 2> /dev/null && echo removed || echo refused"
    kinds = ("createContainer", "startContainer")
    hooks(
        bundle,
        **{
            kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"({look}) > {shared}/{kind}.said", kind]}]
            for kind in kinds
        },
    )
    whole_life(container, bundle)
    assert [(shared / f"{kind}.said").read_text() for kind in kinds] == ["removed\n", "refused\n"]


def test_start_container_that_the_filter_kills(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}],
    }
    hooks(bundle, startContainer=[{"path": "/bin/mkdir", "args": ["mkdir", f"{shared}/made"]}])
    one = container(bundle, args=["sleep", "1000"])
    if one.runtime.is_ocipy:
        one.runtime.start(one.id).fails("/hooks/startContainer/0", "killed by signal 31")
    assert not (shared / "made").exists()


def test_a_hook_inherits_no_descriptor(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    """No file descriptors of the runtime, its caller, or the payload."""
    hooks(bundle, **{kind: [shell(f"ls /proc/$$/fd > {shared}/{kind}; true")] for kind in KINDS})
    whole_life(container, bundle)
    for kind in KINDS:
        if kind != "createContainer":  # the host's /proc does not show its pid
            assert {int(fd) for fd in (shared / kind).read_text().split()} <= {0, 1, 2, 10, 255}, kind


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_of_create(runtime: Runtime, bundle: Bundle, new_id: NewId, shared: Path, kind: str) -> None:
    failing = [shell("echo its own words; exit 3"), shell(f"touch {shared}/second")]
    hooks(bundle, **{kind: failing, "poststop": [shell(f"cat > {shared}/poststop")]})
    result = runtime.create(bundle, new_id()).fails()
    if runtime.is_ocipy:
        assert f"/hooks/{kind}/0: the {kind} hook /bin/sh failed with exit status 3" in result.stderr
        assert "its own words" in result.stderr
    assert not (shared / "second").exists()
    assert json.loads((shared / "poststop").read_text())["status"] == "stopped"
    assert runtime.ids() == []


@pytest.mark.differs_from_runc("start of runc ends before the startContainer hooks do")
def test_a_failing_start_container_hook(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    hooks(bundle, startContainer=[shell("echo why >&2; exit 1")], poststop=[shell(f"touch {shared}/poststop")])
    one = container(bundle, sh=f"touch {shared}/started")
    result = one.runtime.start(one.id).fails("/hooks/startContainer/0", "why")
    assert "exit status 1" in result.stderr
    one.reap()
    assert not (shared / "started").exists()
    assert (shared / "poststop").exists()
    assert one.runtime.ids() == []


@POSTSTART
def test_a_failing_poststart_hook(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    hooks(bundle, poststart=[shell("exit 1")], poststop=[shell(f"touch {shared}/poststop")])
    one = container(bundle, args=["sleep", "1000"])
    one.runtime.start(one.id).fails()
    one.reap()
    assert (shared / "poststop").exists()
    assert one.runtime.ids() == []


@pytest.mark.differs_from_runc("runc stops at the first failure, and delete fails although everything is gone")
def test_a_failing_poststop_hook_is_a_warning(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    hooks(bundle, poststop=[shell("exit 1"), shell(f"touch {shared}/second")])
    one = container(bundle, args=["true"])
    one.start().reap()
    result = one.runtime.delete(one.id).ok()
    assert "/hooks/poststop/0" in result.stderr
    assert (shared / "second").exists()
    assert one.runtime.ids() == []


@POSTSTART
def test_poststart_comes_after_the_exec(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    pid = "$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')"
    hooks(bundle, poststart=[shell(f"cat /proc/{pid}/cmdline > {shared}/cmdline")])
    one = container(bundle, args=["sleep", "1000"])
    one.start()
    assert (shared / "cmdline").read_text().split("\0") == ["sleep", "1000", ""]


def test_later_changes_of_the_config_do_not_matter(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    hooks(bundle, poststop=[shell(f"touch {shared}/first")])
    one = container(bundle, args=["true"])
    hooks(bundle, poststop=[shell(f"touch {shared}/other")]).write()
    one.start().reap()
    one.runtime.delete(one.id).ok()
    assert sorted(path.name for path in shared.iterdir()) == ["first"]


@pytest.mark.ocipy_only("runc kills only the hook, then waits for the processes that have its output open")
@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_timeout(runtime: Runtime, bundle: Bundle, new_id: NewId, kind: str) -> None:
    hooks(bundle, **{kind: [shell("trap '' TERM; sleep 60; sleep 60", timeout=1)]})
    started = time.monotonic()
    runtime.create(bundle, new_id()).fails()
    assert time.monotonic() - started < 20
    assert runtime.ids() == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("script", ["exec 0<&-", "exec 0<&- 1>&- 2>&-", "exit 0"])
def test_a_hook_that_does_not_read_its_input(container: MakeContainer, bundle: Bundle, kind: str, script: str) -> None:
    bundle.config["annotations"] = {"long": "x" * 200_000}
    hooks(bundle, **{kind: [shell(script, timeout=5)]})
    whole_life(container, bundle)


@pytest.mark.differs_from_runc("runc waits for the processes that have the hook's output open", always=False)
@pytest.mark.parametrize("kind", ON_HOST)
def test_a_hook_that_leaves_a_child_behind(container: MakeContainer, bundle: Bundle, kind: str) -> None:
    hooks(bundle, **{kind: [shell("sleep 3 & exit 0", timeout=1)]})
    started = time.monotonic()
    whole_life(container, bundle)
    assert time.monotonic() - started < 2.5
    time.sleep(3)  # until it has ended: the leak check would find it


@pytest.mark.ocipy_only("the words are ocipy's")
@pytest.mark.parametrize(
    ("hook", "pointer"),
    [
        ({"path": "/no/such/hook"}, "/hooks/createRuntime/0: cannot run the createRuntime hook /no/such/hook: No such"),
        ({"path": "relative"}, "/hooks/createRuntime/0/path"),
        ({"path": "/bin/true", "timeout": 0}, "/hooks/createRuntime/0/timeout"),
        ({"path": "/bin/true", "env": ["NO_VALUE"]}, "/hooks/createRuntime/0/env/0"),
    ],
)
def test_a_hook_that_cannot_be_run(
    runtime: Runtime, bundle: Bundle, new_id: NewId, hook: dict[str, Any], pointer: str
) -> None:
    hooks(bundle, createRuntime=[hook])
    runtime.create(bundle, new_id()).fails(pointer)
    assert runtime.ids() == []


def test_in_a_user_namespace(container: MakeContainer, bundle: Bundle, shared: Path) -> None:
    # The container's root may be unable to make it, since not everybody may write to the directory above.
    (bundle.rootfs / str(shared).lstrip("/")).mkdir(parents=True)
    bundle.user_namespace().searchable()
    shared.parent.chmod(0o755)
    hooks(bundle, **{kind: [shell(f"id -u > {shared}/{kind}")] for kind in ("createRuntime", "startContainer")})
    whole_life(container, bundle)
    assert (shared / "createRuntime").read_text() == "0\n"
    assert (shared / "startContainer").stat().st_uid == 100000
