"""A container's life for an unprivileged user: every command, the state, signals, the terminal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, namespaces, open_files, proc_status, process_state, wait_until
from tests.harness.terminal import Console, UserTerminal, read_until
from tests.harness.user import UserRuntime

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]

pytestmark = pytest.mark.unprivileged


@pytest.fixture
def console(runtime: UserRuntime, work: Path) -> Console:
    one = Console(work / "console")
    runtime.give(work)
    return one


@pytest.mark.smoke
def test_run(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    bundle.sh("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; hostname; echo $$; echo x > /dev/null; exit 7")
    result = runtime.run(bundle, new_id())
    assert result.status == 7, repr(result)
    own = [["0", str(runtime.uid), "1"], ["0", str(runtime.gid), "1"]]
    assert result.lines[:2] == ["0", "0"]
    assert [line.split() for line in result.lines[2:4]] == own
    assert result.lines[4:] == [bundle.config["hostname"], "1"]
    assert (runtime.ids(), result.stderr) == ([], "")


def test_the_process_as_seen_from_outside(container: MakeContainer, runtime: UserRuntime, bundle: Bundle) -> None:
    """The process belongs to the user, without host privileges, in new namespaces."""
    one = container(bundle, args=["sleep", "1000"]).start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    status = proc_status(one.pid)
    assert set(status["Uid"].split()) == {str(runtime.uid)}
    assert set(status["Gid"].split()) == {str(runtime.gid)}
    assert status["NoNewPrivs"] == "1"
    ours, theirs = namespaces(os.getpid()), namespaces(one.pid)
    kinds = [entry["type"].replace("network", "net").replace("mount", "mnt") for entry in bundle.linux["namespaces"]]
    assert {kind for kind in theirs if theirs[kind] != ours[kind]} >= set(kinds)
    assert open_files(one.pid).keys() == {0, 1, 2}


def test_every_command(container: MakeContainer, runtime: UserRuntime, bundle: Bundle) -> None:
    one = container(bundle, sh="trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    assert one.status == "created"
    runtime.delete(one.id).fails("that is not stopped") if runtime.is_ocipy else None
    one.start()
    assert one.status == "running"
    (listed,) = runtime.containers()
    assert (listed["id"], listed["status"], listed["pid"]) == (one.id, "running", one.pid)
    runtime.create(bundle, one.id).fails("already exists")
    one.wait_output("ready")
    one.kill("TERM")
    assert one.reap() == 9
    assert one.status == "stopped"
    runtime.kill(one.id, "TERM").fails("container not running")
    runtime.delete(one.id).ok()
    assert runtime.containers() == []
    assert runtime.ids() == []


def test_force(container: MakeContainer, runtime: UserRuntime, bundle: Bundle) -> None:
    one = container(bundle, sh="sleep 1000 & sleep 1000 & wait").start()
    runtime.delete(one.id, force=True).ok()
    assert process_state(one.pid) in ("Z", "X", "")
    assert runtime.ids() == []


def test_kill_all(container: MakeContainer, runtime: UserRuntime, bundle: Bundle) -> None:
    one = container(bundle, args=["sleep", "1000"]).start()
    runtime.kill(one.id, "KILL", "--all").ok()
    one.reap()


def test_only_the_user_can_read_the_state(container: MakeContainer, runtime: UserRuntime, bundle: Bundle) -> None:
    one = container(bundle)
    assert runtime.root.stat().st_mode & 0o777 == 0o700
    assert runtime.root.stat().st_uid == runtime.uid
    assert one.state()["status"] == "created"


@pytest.mark.parametrize("value", [None, ""])
def test_state_without_a_runtime_directory(
    runtime: UserRuntime, bundle: Bundle, new_id: NewId, value: str | None
) -> None:
    bundle.args("true").write()
    env = {} if value is None else {"XDG_RUNTIME_DIR": value}
    words = ["run", "--bundle", str(bundle.path), new_id()]
    result = runtime.spawn([*runtime.user, runtime.path, *words], env=env, cwd=runtime.home).wait()
    result.fails("permission denied", *(["XDG_RUNTIME_DIR", "--root"] if runtime.is_ocipy else []))


def test_state_below_the_runtime_directory(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """The directory may be missing. It is sticky, which protects it from clean-up programs."""
    id = new_id()
    place = runtime.home / "missing/xdg"
    bundle.args("true").write()

    def call(*words: str | Path) -> list[str]:
        argv = [*runtime.user, runtime.path, *map(str, words)]
        return runtime.spawn(argv, env={"XDG_RUNTIME_DIR": str(place)}, cwd=runtime.home).wait().ok().lines

    call("create", "--bundle", bundle.path, id)
    root = place / ("ocipy" if runtime.is_ocipy else runtime.kind)
    assert (root / id).is_dir()
    assert root.stat().st_mode & 0o7777 == 0o1700
    assert any(id in line for line in call("list"))
    call("delete", "--force", id)
    assert not (root / id).exists()


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["no-such-command"], 'exec: "no-such-command": executable file not found in $PATH'),
        (["/no/such"], "no such file or directory"),
        (["/etc/passwd"], "permission denied"),
    ],
)
def test_create_fails(runtime: UserRuntime, bundle: Bundle, new_id: NewId, args: list[str], word: str) -> None:
    runtime.create(bundle.args(*args), new_id()).fails(word)
    assert runtime.ids() == []


def test_without_a_user_namespace(runtime: UserRuntime, without_user_namespace: Bundle, new_id: NewId) -> None:
    """It is refused, with the reason: an unprivileged user cannot do without a user namespace."""
    runtime.create(without_user_namespace.args("true"), new_id()).fails("user namespace")
    assert runtime.ids() == []


def test_hooks_are_run_by_the_user(runtime: UserRuntime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    out = work / "hooks"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"id -u >> {out}"]}
    bundle.config["hooks"] = {"createRuntime": [hook], "poststart": [hook], "poststop": [hook]}
    runtime.run(bundle.args("true"), new_id()).ok()
    assert out.read_text().split() == [str(runtime.uid)] * 3
    assert out.stat().st_uid == runtime.uid


def test_files_are_the_users(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.sh("echo made > /home/file; stat -c %u /home/file")
    assert runtime.run(bundle, new_id()).ok().stdout == "0\n"
    assert (bundle.rootfs / "home/file").stat().st_uid == runtime.uid


def test_terminal(container: MakeContainer, bundle: Bundle, console: Console) -> None:
    bundle.process["terminal"] = True
    script = "tty; stat -c '%u %F' /dev/pts/0 /dev/console; echo end; exec sleep 1000"
    one = container(bundle, "--console-socket", console.path, sh=script).start()
    text = read_until(console.accept(), "end\n")
    assert text == "/dev/pts/0\n0 character special file\n0 character special file\nend\n"
    one.end()
    console.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="a terminal is passed on to another user")
def test_foreground_terminal(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    bundle.process["terminal"] = True
    bundle.sh('tty; stty size; echo ready; read line; echo "got $line"; exit 6').write()
    user = UserTerminal(runtime, "run", "--bundle", bundle.path, new_id())
    assert read_until(user.master, "ready\n").splitlines()[:2] == ["/dev/pts/0", "33 99"]
    os.write(user.master, b"typed\n")
    read_until(user.master, "got typed\n")
    assert user.running.wait().status == 6
    user.close()


def test_seccomp_filter(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """With no_new_privs, and without, where the user namespace's CAP_SYS_ADMIN permits the load."""
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    bundle.sh("mkdir /dev/shm/new; grep Seccomp: /proc/self/status")
    for flag in (True, False):
        bundle.process["noNewPrivileges"] = flag
        result = runtime.run(bundle, new_id()).ok()
        assert "Function not implemented" in result.stderr
        assert result.lines == ["Seccomp:\t2"]


def test_session_keyring_is_the_containers(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """A keyring with the container's name: the user's keys stay outside."""
    bundle.linux["maskedPaths"] = []
    id = new_id()
    assert f"_ses.{id}" in runtime.run(bundle.sh("cat /proc/keys"), id).ok().stdout
    id = new_id()
    assert f"_ses.{id}" not in runtime.run(bundle, id, "--no-new-keyring").ok().stdout
