"""What a container's process must not inherit from the runtime or its caller."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, open_files, parse_status, wait_until

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
RunScript = Callable[..., Result]


def _ignore_and_block() -> None:
    """Do as conmon and Python do: ignore SIGPIPE and others, and block some."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR2, signal.SIGWINCH})


@pytest.mark.smoke
def test_signals_are_reset(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    result = runtime.run(bundle.args("cat", "/proc/self/status"), new_id()).ok()
    status = parse_status(result.stdout)
    assert {name: int(status[name], 16) for name in ("SigIgn", "SigBlk", "SigPnd", "ShdPnd", "SigCgt")} == {
        "SigIgn": 0, "SigBlk": 0, "SigPnd": 0, "ShdPnd": 0, "SigCgt": 0,
    }  # fmt: skip


@pytest.mark.differs_from_runc("runc passes the caller's ignored and blocked signals on")
def test_signals_of_the_caller_are_reset(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    bundle.args("cat", "/proc/self/status").write()
    running = runtime.begin("create", "--bundle", bundle.path, id, preexec_fn=_ignore_and_block)
    created = running.wait().ok()
    runtime.start(id).ok()
    wait_until(lambda: "SigCgt" in created.stdout_path.read_text())
    runtime.delete(id, force=True).ok()
    status = parse_status(created.stdout_path.read_text())
    assert int(status["SigIgn"], 16) == 0
    assert int(status["SigBlk"], 16) == 0


def test_umask(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """022 unless configured; the caller's affects neither the process nor the runtime's files."""
    result = runtime.run(bundle.sh("umask; stat -c %a /dev/null /dev/pts"), new_id(), umask=0o777).ok()
    assert result.lines[:2] == ["0022", "666"]
    bundle.process["user"]["umask"] = 0o27
    assert runtime.run(bundle.sh("umask"), new_id(), umask=0o777).ok().stdout == "0027\n"


def test_state_directory_is_private_whatever_the_umask(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    runtime.create(bundle.args("true"), id, umask=0).ok()
    assert (runtime.root / id).stat().st_mode & 0o022 == 0
    assert runtime.root.stat().st_mode & 0o077 == 0
    runtime.delete(id, force=True).ok()


def test_oom_score_is_inherited_if_not_configured(container: MakeContainer, bundle: Bundle) -> None:
    before = Path("/proc/self/oom_score_adj").read_text()
    Path("/proc/self/oom_score_adj").write_text("300")
    try:
        one = container(bundle.args("sleep", "1000"))
        assert one.proc("oom_score_adj").read_text() == "300\n"
    finally:
        Path("/proc/self/oom_score_adj").write_text(before)


def test_oom_score_configured(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["oomScoreAdj"] = 500
    one = container(bundle.args("sleep", "1000")).start()
    assert one.proc("oom_score_adj").read_text() == "500\n"
    assert Path("/proc/self/oom_score_adj").read_text() != "500\n"


def test_parent_death_signal_is_not_passed_on(container: MakeContainer, runtime: Runtime, bundle: Bundle) -> None:
    """Engines start the runtime with PDEATHSIG=KILL; the container must outlive that caller."""
    one = container(bundle.args("sleep", "1000"), prefix=["setpriv", "--pdeathsig", "KILL"]).start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    assert one.status == "running"


def test_session_and_process_group_are_its_own(container: MakeContainer) -> None:
    one = container().start()
    fields = one.proc("stat").read_text().rpartition(")")[2].split()
    assert (int(fields[2]), int(fields[3])) == (one.pid, one.pid)
    assert fields[4] == "0"  # no controlling terminal


def test_session_keyring_is_new(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """A session keyring named after the container, which gives no access to the host's keys: keyrings(7)."""
    bundle.linux["maskedPaths"] = []
    id = new_id()
    assert id in runtime.run(bundle.sh("cat /proc/keys"), id).ok().stdout
    other = new_id()  # the kernel collects the first one's keyring later
    assert other not in runtime.run(bundle, other, "--no-new-keyring").ok().stdout


def test_affinity_is_not_the_callers(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """A caller pinned to one CPU must not pin its containers."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("needs two CPUs")
    result = runtime.run(bundle.args("cat", "/proc/self/status"), new_id(), prefix=["taskset", "-c", "0"]).ok()
    assert (
        parse_status(result.stdout)["Cpus_allowed"]
        == parse_status(Path("/proc/self/status").read_text())["Cpus_allowed"]
    )


def test_groups_are_not_the_callers(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    caller = ["setpriv", "--groups", "4,27,1000"]
    result = runtime.run(bundle.args("cat", "/proc/self/status"), new_id(), prefix=caller).ok()
    assert parse_status(result.stdout)["Groups"] == ""


@pytest.mark.ocipy_only("runc's waiting init keeps descriptors of Go's own")
def test_a_created_container_holds_only_the_fifo(container: MakeContainer) -> None:
    one = container()
    left = [path for fd, path in open_files(one.pid).items() if fd > 2]
    assert [path for path in left if not path.endswith(("exec.fifo", "exec.report"))] == []


def test_working_directory_of_a_created_container_is_inside(container: MakeContainer) -> None:
    one = container()
    assert one.proc("cwd").readlink() == Path("/")
    assert os.stat(one.proc("cwd")).st_ino == os.stat(one.root("/")).st_ino


def test_host_mounts_are_gone(container: MakeContainer) -> None:
    one = container()
    host = {mount.point for mount in one.mounts() if mount.fstype in ("ext4", "xfs", "btrfs", "overlay", "9p")}
    assert host <= {"/"}, host
    assert not any("put_old" in mount.point or "oldroot" in mount.point for mount in one.mounts())


def test_init_is_undumpable_until_the_payload_runs(container: MakeContainer) -> None:
    """/proc/PID belongs to root, not to the user, while the runtime's code runs as the user: prctl(2)."""
    one = container()
    assert os.stat(f"/proc/{one.pid}/mem").st_uid == 0
    one.start()


def test_init_of_another_user_is_undumpable_while_it_waits(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(bundle.args("sleep", "1000"))
    assert one.proc_status()["Uid"].split()[0] == "1000"
    assert os.stat(f"/proc/{one.pid}/environ").st_uid == 0
    one.start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    assert os.stat(f"/proc/{one.pid}/environ").st_uid == 1000
