"""Running a hook: its input, its limits, and its result. Without root and without a container."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import prctl
import pytest

from ocipy.errors import Error
from ocipy.host.hooks import run_hooks
from ocipy.init.hooks import KEPT_OUTPUT, run_hook

STATE = {"ociVersion": "1.3.0", "id": "c", "status": "created", "pid": 1, "bundle": "/b", "annotations": {"a": "ü"}}


@pytest.fixture(autouse=True)
def descriptors() -> Any:
    """Check that no descriptor and no child is left. Integration tests in the same session adopt orphans: not here."""
    adopts = prctl.get_child_subreaper()
    prctl.set_child_subreaper(False)
    before = os.listdir("/proc/self/fd")
    yield
    prctl.set_child_subreaper(adopts)
    assert os.listdir("/proc/self/fd") == before, "a descriptor is left open"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def shell(text: str, *, timeout: int | None = None, env: list[str] | None = None, **rest: Any) -> None:
    options = {"directory": "/", "default_env": {}, **rest}
    run_hook("prestart", 2, "/bin/sh", ["sh", "-c", text], env, timeout, STATE, **options)


def failure(text: str, **rest: Any) -> Error:
    with pytest.raises(Error) as caught:
        shell(text, **rest)
    return caught.value


def test_the_state_is_on_standard_input(tmp_path: Path) -> None:
    shell(f"cat > {tmp_path}/state")
    assert json.loads((tmp_path / "state").read_text()) == STATE


def test_a_hook_that_opens_dev_stdin(tmp_path: Path) -> None:
    shell(f"cat /dev/stdin > {tmp_path}/state")
    assert json.loads((tmp_path / "state").read_text()) == STATE


@pytest.mark.parametrize("text", ["exit 0", "exec 0<&-", "exec 0<&- 1<&- 2<&-", "head -c 1 > /dev/null"])
def test_a_hook_that_does_not_read_the_state(text: str) -> None:
    shell(text)


def test_a_state_larger_than_a_pipe(tmp_path: Path) -> None:
    state = {**STATE, "annotations": {"a": "x" * 300_000}}
    run_hook("prestart", 0, "/bin/true", None, None, None, state, directory="/", default_env={})
    run_hook(
        "prestart", 0, "/bin/sh", ["sh", "-c", f"cat > {tmp_path}/state"], None, None, state,
        directory="/", default_env={},
    )  # fmt: skip
    assert json.loads((tmp_path / "state").read_text()) == state


def test_environment(tmp_path: Path) -> None:
    default = {b"FROM": b"default"}
    shell(f"/usr/bin/env -u PWD > {tmp_path}/none", default_env=default)
    shell(f"/usr/bin/env -u PWD > {tmp_path}/given", env=["A=1", "A=2", "B=x=y", "C="], default_env=default)
    shell(f"/usr/bin/env -u PWD > {tmp_path}/empty", env=[], default_env=default)

    def found(name: str) -> set[str]:
        return {line for line in (tmp_path / name).read_text().splitlines() if line[:2] not in ("_=", "SH", "OL")}

    assert found("none") == {"FROM=default"}
    assert found("given") == {"A=2", "B=x=y", "C="}
    assert found("empty") == set()


def test_arguments(tmp_path: Path) -> None:
    copy = f"cat /proc/$$/cmdline > {tmp_path}/args"
    run_hook("prestart", 0, "/bin/sh", ["name", "-c", copy, "ü"], None, None, STATE, directory="/", default_env={})
    assert (tmp_path / "args").read_text().split("\0")[:-1] == ["name", "-c", copy, "ü"]


def test_without_arguments_the_path_is_the_name(tmp_path: Path) -> None:
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\necho $0 $# > {tmp_path}/out\n")
    script.chmod(0o755)
    run_hook("prestart", 0, str(script), None, None, None, STATE, directory="/", default_env={})
    assert (tmp_path / "out").read_text() == f"{script} 0\n"


def test_directory(tmp_path: Path) -> None:
    shell("pwd > out", directory=str(tmp_path))
    assert (tmp_path / "out").read_text() == f"{tmp_path}\n"
    fd = os.open(tmp_path, os.O_PATH)
    shell("pwd > out2", directory=fd)
    os.close(fd)
    assert (tmp_path / "out2").read_text() == f"{tmp_path}\n"
    error = failure("true", directory=str(tmp_path / "missing"))
    assert "working directory" in error.what
    assert error.errno == 2


def test_a_hook_inherits_nothing(tmp_path: Path) -> None:
    leak = os.open("/", os.O_RDONLY)
    os.set_inheritable(leak, True)
    handler = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    try:
        shell(f"ls -l /proc/self/fd > {tmp_path}/fds; cat /proc/self/status /proc/self/stat > {tmp_path}/status")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
        signal.signal(signal.SIGUSR1, handler)
        os.close(leak)
    lines = (tmp_path / "fds").read_text().splitlines()[1:]
    assert [line.split()[8] for line in lines] == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
    status = (tmp_path / "status").read_text().splitlines()
    for name in ("SigBlk", "SigIgn"):
        assert f"{name}:\t0000000000000000" in status
    session, group = int(status[-1].split()[5]), int(status[-1].split()[4])
    assert session == group != os.getsid(0)


def test_a_hook_does_not_inherit_the_umask_of_the_setup(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        shell(f"touch {tmp_path}/a")
        os.umask(0o077)
        shell(f"touch {tmp_path}/b")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600


def test_failure_has_pointer_status_and_output() -> None:
    error = failure("echo on standard output; echo on standard error >&2; exit 3")
    assert error.pointer == "/hooks/prestart/2"
    assert error.what == "the prestart hook /bin/sh failed with exit status 3"
    assert error.hint == "it said: on standard output\non standard error"


def test_only_the_end_of_much_output_is_shown() -> None:
    error = failure("seq 100000; exit 1")
    assert error.hint.endswith("\n99999\n100000")
    assert len(error.hint) < 4200


def test_a_signal_that_kills_it_is_named() -> None:
    assert failure("kill -SEGV $$").what == "the prestart hook /bin/sh was killed by signal 11"


def test_output_does_not_grow_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT_OUTPUT >= 1024 * 1024
    monkeypatch.setattr("ocipy.init.hooks.KEPT_OUTPUT", 50_000)
    monkeypatch.setattr("ocipy.init.hooks.HOOK_GLANCE_MS", 10)
    # The hook waits until most of it is gone (blocks of 512 bytes). How much stays depends on when we look.
    wait = "until [ $(stat -L -c %b /proc/$$/fd/1) -le 97 ]; do sleep 0.01; done"
    error = failure(f"seq 30000; {wait}; seq 30001 30010; exit 1", timeout=60)
    assert error.what.endswith("failed with exit status 1")
    assert error.hint.endswith("\n".join(str(number) for number in range(30001, 30011)))


@pytest.mark.parametrize(
    ("make", "number"),
    [("missing", 2), ("not executable", 13), ("directory", 13), ("no format", 8), ("no interpreter", 2)],
)
def test_a_hook_that_cannot_be_run(tmp_path: Path, make: str, number: int) -> None:
    path = tmp_path / "hook"
    if make == "directory":
        path.mkdir()
    elif make == "no interpreter":
        path.write_text("#!/no/such/interpreter\n")
        path.chmod(0o755)
    elif make != "missing":
        path.write_text("echo\n")
        path.chmod(0o755 if make == "no format" else 0o644)
    with pytest.raises(Error) as caught:
        run_hook("createRuntime", 0, str(path), None, None, None, STATE, directory="/", default_env={})
    assert caught.value.pointer == "/hooks/createRuntime/0"
    assert caught.value.what == f"cannot run the createRuntime hook {path}"
    assert caught.value.errno == number
    assert caught.value.hint, "no word of the likely cause"


def processes(mark: str) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and int(pid) != os.getpid():
                found.append(int(pid))
        except OSError:
            continue
    return found


def test_a_timeout_kills_the_hook_and_its_children() -> None:
    started = time.monotonic()
    mark = f"60.{os.getpid()}1"
    error = failure(f"echo waiting; sleep {mark} & sleep {mark}", timeout=1)
    assert 0.9 < time.monotonic() - started < 5
    assert error.what == "the prestart hook /bin/sh was killed: it took longer than its timeout of 1 s"
    assert error.hint == "it said: waiting"
    deadline = time.monotonic() + 5
    while processes(mark) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes(mark) == []


def test_a_timeout_kills_a_hook_that_ignores_signals() -> None:
    started = time.monotonic()
    failure("trap '' TERM INT HUP; while :; do sleep 0.1; done", timeout=1)
    assert time.monotonic() - started < 5


def test_a_hook_that_exits_in_time_succeeds() -> None:
    shell("sleep 0.2", timeout=5)


def test_a_child_that_a_hook_leaves_behind_delays_nobody(tmp_path: Path) -> None:
    """The child survives, and holds standard input and output open."""
    started = time.monotonic()
    mark = f"60.{os.getpid()}2"
    shell(f"sleep {mark} & echo $! > {tmp_path}/pid", timeout=2)
    assert time.monotonic() - started < 2
    pid = int((tmp_path / "pid").read_text())
    time.sleep(0.2)
    assert processes(mark) == [pid]
    os.kill(pid, signal.SIGKILL)


def test_poststart_and_poststop(tmp_path: Path) -> None:
    def kept(text: str) -> dict[str, Any]:
        return {"path": "/bin/sh", "args": ["sh", "-c", text], "env": None, "timeout": None}

    hooks = {
        "poststart": [kept(f"echo 1 >> {tmp_path}/start"), kept("exit 1"), kept(f"echo 3 >> {tmp_path}/start")],
        "poststop": [kept(f"pwd >> {tmp_path}/stop"), kept("exit 1"), kept(f"echo 3 >> {tmp_path}/stop")],
    }
    errors = run_hooks(hooks, "poststart", STATE, directory=str(tmp_path))
    assert [error.pointer for error in errors] == ["/hooks/poststart/1"]
    assert (tmp_path / "start").read_text() == "1\n"
    errors = run_hooks(hooks, "poststop", STATE, directory=str(tmp_path / "gone"), keep_going=True)
    assert [error.pointer for error in errors] == ["/hooks/poststop/1"]
    assert (tmp_path / "stop").read_text() == "/\n3\n"
    assert run_hooks({}, "poststop", STATE, directory="/") == []


def test_hooks_on_the_host_get_the_runtimes_environment_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import posix

    monkeypatch.setitem(posix.environ, b"OF_THE_RUNTIME", b"yes")
    hooks = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo $OF_THE_RUNTIME > {tmp_path}/out"],
                           "env": None, "timeout": None}]}  # fmt: skip
    assert run_hooks(hooks, "poststop", STATE, directory="/") == []
    assert (tmp_path / "out").read_text() == "yes\n"
