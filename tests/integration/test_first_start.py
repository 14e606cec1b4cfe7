"""The snapshot that the first start of an installation makes (launcher/renew.c), `ocipy setup`, and a Python that is
gone or closed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from ocipy.linux.text import lines_of
from tests.harness import Bundle, wait_until
from tests.integration.installation import NONE_YET, Installation, is_made, makers, stopped_maker
from tests.unit.launcher.test_hot_modules import BUILD

pytestmark = [
    pytest.mark.ocipy_only(reason="its own installation"),
    pytest.mark.skipif(not (BUILD / "_snapshot.bin").exists(), reason="this Python can have no snapshot"),
]


def test_the_first_start_makes_a_snapshot(fresh: Installation) -> None:
    assert fresh.start() == NONE_YET
    is_made(fresh)


@pytest.mark.parametrize("command", ["state", "run"])
def test_a_failing_or_sealed_command_makes_one_too(fresh: Installation, bundle: Bundle, command: str) -> None:
    bundle.write()
    words = ["run", "--bundle", str(bundle.path), f"first-{os.getpid()}"] if command == "run" else ["state", "x"]
    fresh.call("--root", str(bundle.path / "state"), *words)
    is_made(fresh)


def test_the_maker_delays_nobody_who_waits_for_the_command(fresh: Installation, tmp_path: Path) -> None:
    """It keeps none of the caller's pipes, session, directory and cgroup."""
    read, write = os.pipe()
    fresh.call("state", "nobody", pass_fds=(write,), cwd=str(tmp_path))  # ends at the end of file of two more pipes
    os.close(write)
    pid = stopped_maker(fresh)
    try:
        os.set_blocking(read, False)
        assert os.read(read, 1) == b"", "end of file, though it lives"
        assert os.getsid(pid) == pid
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        held = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
        assert held - {str(fresh.new), str(fresh.launcher / "_frozen.bin")} == {"/dev/null"}
        assert os.sched_getscheduler(pid) == os.SCHED_IDLE
        assert Path(f"/proc/{pid}/environ").read_bytes() == b""
        cgroups = [line.split(b":", 2)[2] for line in lines_of(Path(f"/proc/{pid}/cgroup").read_bytes())]
        if os.geteuid() == 0 and Path("/proc/1/cgroup").read_bytes().count(b":/\n"):
            assert set(cgroups) == {b"/"}
    finally:
        os.kill(pid, signal.SIGCONT)
        os.close(read)
    is_made(fresh)


@pytest.mark.needs_program("strace")
def test_an_executable_that_an_upgrade_replaces_meanwhile_is_executed(fresh: Installation, tmp_path: Path) -> None:
    """The running one does not continue in the code of the new one (replace.c)."""
    fresh.call("setup")
    build_id = fresh.snapshot.read_bytes()[8:28]
    ours = fresh.python.read_bytes()
    assert ours.count(build_id) == 1
    calls, other, kept = tmp_path / "calls", fresh.python.with_name("other"), fresh.python.with_name("kept")
    other.write_bytes(ours.replace(build_id, bytes(20)))
    other.chmod(0o755)
    os.link(fresh.python, kept)
    slow = ["-e", "trace=execve,execveat,fsopen", "-e", "inject=fsopen:delay_enter=1000000"]
    command = ["strace", "-qq", "-o", str(calls), *slow, str(fresh.executable), "create", "--bundle", "/nowhere", "one"]
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, env={}) as process:
            wait_until(lambda: calls.exists() and "fsopen" in calls.read_text(), "the overlay")
            other.replace(fresh.python)
            assert b"/nowhere" in process.communicate()[1]
        assert calls.read_text().count("exec") == 2 + (fresh.python != fresh.executable)
    finally:
        kept.replace(fresh.python)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_another_user_makes_no_snapshot(fresh: Installation) -> None:
    slow = "slow (there is no snapshot yet; only the owner of the installation can make one)"
    assert fresh.start(user=1234, group=1234, extra_groups=[]) == slow
    assert makers(fresh) == []
    refused = fresh.call("setup", user=1234, group=1234, extra_groups=[])
    assert refused.returncode == 1
    assert "only the owner of the installation can make one" in refused.stderr
    assert fresh.snapshot.stat().st_size == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_without_an_overlay_it_says_which_commands_are_slow(fresh: Installation) -> None:
    fresh.call("setup")
    script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" --version'
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", script, str(fresh.executable)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    why = "no overlay can be mounted: Operation not permitted"
    assert said.stdout.splitlines()[-1] == f"start: snapshot; create, run, exec, restore: slow ({why})"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_a_user_starts_from_the_snapshot_as_well(fresh: Installation) -> None:
    fresh.call("setup")
    assert fresh.start(user=1234, group=1234, extra_groups=[]) == "snapshot"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_a_read_only_installation_says_so(fresh: Installation) -> None:
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && "$0/bin/ocipy" --version'
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, str(fresh.prefix)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "start: slow (there is no snapshot yet; the installation is read-only)"


def test_an_executable_that_others_can_write_makes_no_snapshot(fresh: Installation) -> None:
    fresh.executable.chmod(0o757)
    try:
        assert fresh.start() == "slow (there is no snapshot yet; the executable is writable by others)"
        assert makers(fresh) == []
    finally:
        fresh.executable.chmod(0o755)


def test_a_snapshot_that_others_can_write_is_made_again(fresh: Installation) -> None:
    fresh.call("setup")
    fresh.snapshot.chmod(0o646)
    assert fresh.start() == "slow (the snapshot is writable by others; one is made when this command ends)"
    is_made(fresh)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_a_snapshot_that_the_user_cannot_read_is_not_called_missing(fresh: Installation) -> None:
    fresh.call("setup")
    fresh.snapshot.chmod(0o600)
    slow = "slow (the snapshot cannot be read: Permission denied; only the owner of the installation can make one)"
    assert fresh.start(user=1234, group=1234, extra_groups=[]) == slow


def test_a_library_in_the_place_of_the_snapshots_is_named(fresh: Installation, tmp_path: Path) -> None:
    """The snapshot serves other processes, so no other one is made."""
    fresh.call("setup")
    source, library = tmp_path / "greedy.c", tmp_path / "greedy.so"
    source.write_text(
        "#include <pthread.h>\n"
        "__attribute__((constructor)) static void take(void) {\n"
        "    pthread_key_t key;\n"
        "    for (int i = 0; i < 100; i++) pthread_key_create(&key, 0);\n}\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    said = fresh.start(env={"LD_PRELOAD": str(library)})
    taken = "a library loaded into this process conflicts with the snapshot"
    assert said == f"slow ({taken}; other commands have one)"
    assert makers(fresh) == []
    assert fresh.start() == "snapshot"


def test_setup_makes_it_and_makes_it_again(fresh: Installation) -> None:
    for _ in range(2):
        before = fresh.snapshot.stat().st_ino
        said = fresh.call("setup")
        assert said.stdout.startswith(f"made {fresh.snapshot} ("), said.stderr
        assert fresh.start() == "snapshot"
        assert fresh.snapshot.stat().st_ino != before
        assert not fresh.new.exists()


def test_a_moved_installation_makes_a_new_snapshot(fresh: Installation, tmp_path: Path) -> None:
    fresh.call("setup")
    copy = tmp_path / "moved è"
    shutil.copytree(fresh.prefix, copy, symlinks=True)
    moved = Installation(copy)
    assert moved.start() == "slow (the snapshot was made in another directory; one is made when this command ends)"
    is_made(moved)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
@pytest.mark.parametrize("snapshot", [False, True], ids=["slow", "snapshot"])
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["gone", "closed"])
def test_a_missing_or_closed_python_is_reported_in_one_sentence(
    fresh: Installation, bundle: Bundle, snapshot: bool, mode: int
) -> None:
    """The interpreter prints nothing: it would say "Fatal Python error"."""
    if snapshot:
        fresh.call("setup")
    bundle.write()
    stdlib = os.path.dirname(os.__file__)

    def without_python(*words: str) -> subprocess.CompletedProcess[str]:
        script = f'mount -t tmpfs -o mode={mode:o} none "$0" && exec "$@"'
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, stdlib]
        user = ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups"] if mode == 0o700 else []
        return subprocess.run(
            [*command, *user, str(fresh.executable), *words], capture_output=True, text=True, check=False
        )

    fault = "cannot be read: Permission denied" if mode == 0o700 else "is gone"
    sentence = f"built for the Python in {stdlib}, which {fault}"
    if not snapshot:
        slow = f"start: slow (there is no snapshot yet; {sentence})"
        assert without_python("--version").stdout.splitlines()[-1] == slow
    for words in (["validate", str(bundle.path)], ["checkpoint", "x"], ["features"], ["stat"]):
        said = without_python(*words)
        if snapshot and said.returncode == 0:
            continue  # it is in the snapshot
        assert "Fatal" not in said.stderr
        assert "internal error" not in said.stderr
        if not snapshot:
            assert sentence in said.stderr.split("\n")[0]
            assert said.returncode == 1
