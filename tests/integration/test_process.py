"""A process's properties other than ids and capabilities: no_new_privs, OOM score, scheduling, keys, signals, CPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, parse_status, proc_status

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
RunScript = Callable[..., Result]


@pytest.mark.parametrize("wanted", [True, False, None])
def test_no_new_privileges(container: MakeContainer, bundle: Bundle, wanted: bool | None) -> None:
    bundle.process["noNewPrivileges"] = wanted
    one = container(bundle.args("sleep", "1000")).start()
    assert proc_status(one.pid)["NoNewPrivs"] == str(int(bool(wanted)))


@pytest.mark.parametrize("score", [1000, 1, 500])
def test_oom_score_is_set(container: MakeContainer, bundle: Bundle, score: int) -> None:
    bundle.process["oomScoreAdj"] = score
    one = container(bundle.args("sleep", "1000"))
    path = Path(f"/proc/{one.pid}/oom_score_adj")
    assert path.read_text() == f"{score}\n"
    one.start()
    assert path.read_text() == f"{score}\n"
    assert Path("/proc/self/oom_score_adj").read_text() != f"{score}\n"


def test_oom_score_in_a_user_namespace(container: MakeContainer, bundle: Bundle) -> None:
    bundle.user_namespace()
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["oomScoreAdj"] = 77
    one = container(bundle.args("sleep", "1000")).start()
    assert Path(f"/proc/{one.pid}/oom_score_adj").read_text() == "77\n"


def test_oom_score_absent_is_the_callers(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """MUST NOT be changed."""
    bundle.process.pop("oomScoreAdj", None)
    prefix = ["sh", "-c", 'echo 33 > /proc/self/oom_score_adj; exec "$@"', "sh"]
    bundle.args("cat", "/proc/self/oom_score_adj").write()
    assert runtime.call("run", "--bundle", bundle.path, new_id(), prefix=prefix).ok().stdout == "33\n"


def test_oom_score_of_zero_is_a_score(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """Docker always sets it. If lowering it is not permitted, the error says so."""
    bundle.process["oomScoreAdj"] = 0
    assert runtime.run(bundle.args("cat", "/proc/self/oom_score_adj"), new_id()).ok().stdout == "0\n"


@pytest.mark.ocipy_only("runc does not name the cause")
def test_oom_score_that_may_not_be_lowered(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    if int(proc_status("self")["CapEff"], 16) >> 24 & 1:
        pytest.skip("this host grants CAP_SYS_RESOURCE, with which it may be lowered")
    bundle.process["oomScoreAdj"] = -999
    runtime.create(bundle.args("true"), new_id()).fails("/process/oomScoreAdj", "CAP_SYS_RESOURCE")
    assert runtime.ids() == []


@pytest.mark.parametrize("blocked", [False, True])
def test_caller_that_ignores_the_end_of_its_children(
    runtime: Runtime, container: MakeContainer, bundle: Bundle, new_id: NewId, blocked: bool
) -> None:
    """The children's statuses would be lost (wait(2)): the disposition is inherited across execve(2)."""

    def ignore() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        if blocked:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})

    bundle.sh("exit 7").write()
    assert runtime.call("run", "--bundle", bundle.path, new_id(), preexec_fn=ignore).status == 7
    one = container().start()
    assert runtime.call("exec", one.id, "sh", "-c", "exit 9", preexec_fn=ignore).status == 9
    runtime.call("delete", "--force", one.id, preexec_fn=ignore).ok()


@pytest.mark.differs_from_runc("an ignored SIGRTMIN stays ignored: Go leaves it to libc")
def test_signals_are_as_the_kernel_starts_a_process(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """conmon ignores SIGPIPE, other callers block signals; none of that reaches the container."""

    def hostile() -> None:
        for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGQUIT, signal.SIGRTMIN):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD})

    bundle.args("cat", "/proc/self/status").write()
    result = runtime.call("run", "--bundle", bundle.path, new_id(), preexec_fn=hostile).ok()
    status = parse_status(result.stdout)
    assert {status[name].strip("0") for name in ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd")} == {""}


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_callers_cpus_do_not_narrow_the_containers(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.args("cat", "/proc/self/status").write()
    one_cpu = {min(os.sched_getaffinity(0))}
    result = runtime.call(
        "run", "--bundle", bundle.path, new_id(), preexec_fn=lambda: os.sched_setaffinity(0, one_cpu)
    ).ok()
    assert parse_status(result.stdout)["Cpus_allowed"] == proc_status("self")["Cpus_allowed"]


def test_session_is_its_own(container: MakeContainer) -> None:
    one = container().start()
    assert os.getsid(one.pid) == os.getpgid(one.pid) == one.pid


# libc has no add_key(2) and keyctl(2). Makes a session keyring with a key that only its possessors can see (otherwise
# root would see it everywhere), then executes the other words.
SESSION = """
import ctypes, os, sys
add_key, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
syscall = ctypes.CDLL(None).syscall
assert syscall(keyctl, 1, None) > 0
key = syscall(add_key, b"user", b"tester-secret", b"x", 1, -3)
assert syscall(keyctl, 5, key, 0x3f000000) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/keys").exists(), reason="needs a kernel with keyrings")
@pytest.mark.parametrize("flags", [[], ["--no-new-keyring"]])
def test_keys_of_the_callers_session(runtime: Runtime, bundle: Bundle, new_id: NewId, flags: list[str]) -> None:
    """The container finds a key of the caller's session only if it keeps the session keyring."""
    bundle.linux["maskedPaths"] = []
    bundle.args("cat", "/proc/keys").write()
    id = new_id()
    prefix = [sys.executable, "-c", SESSION]
    result = runtime.call("run", *flags, "--bundle", bundle.path, id, prefix=prefix).ok()
    assert ("tester-secret" in result.stdout) == bool(flags)
    assert (f"_ses.{id}" in result.stdout) == (not flags)


def test_scheduler(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
    one = container(bundle.args("sleep", "1000")).start()
    assert os.sched_getscheduler(one.pid) == os.SCHED_BATCH
    assert os.getpriority(os.PRIO_PROCESS, one.pid) == 7


def test_scheduler_idle(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["scheduler"] = {"policy": "SCHED_IDLE"}
    one = container(bundle.args("sleep", "1000"))
    assert os.sched_getscheduler(one.pid) == os.SCHED_IDLE
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_scheduler_that_is_refused(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    for scheduler in ({"policy": "SCHED_OTHER", "priority": 3}, {"policy": "SCHED_FIFO", "runtime": 1, "priority": 1}):
        bundle.process["scheduler"] = scheduler
        runtime.create(bundle.args("true"), new_id()).fails()
        assert runtime.ids() == []


def test_io_priority(sh: RunScript, bundle: Bundle) -> None:
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    assert sh("ionice; sh -c ionice", bundle).ok().lines == ["best-effort: prio 6", "best-effort: prio 6"]
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    assert sh("ionice", bundle).ok().lines[0].startswith("idle")


def test_personality(sh: RunScript, bundle: Bundle) -> None:
    machine = os.uname().machine
    bundle.linux["personality"] = {"domain": "LINUX"}
    assert sh("uname -m; cat /proc/self/personality", bundle).ok().lines == [machine, "00000000"]
    bundle.linux["personality"] = {"domain": "LINUX32"}
    assert sh("cat /proc/self/personality", bundle).ok().lines == ["00000008"]


def test_personality_of_the_caller(sh: RunScript, bundle: Bundle) -> None:
    """Without the field it is inherited; with it, it is what the field says."""
    bundle.linux["personality"] = {"domain": "LINUX"}
    result = sh("cat /proc/self/personality", bundle, prefix=["setarch", "--addr-no-randomize"])
    assert result.ok().lines == ["00000000"]


@pytest.mark.skipif(not Path("/proc/self/numa_maps").exists(), reason="needs a kernel with NUMA")
@pytest.mark.ocipy_only("Debian's and older runtimes do not know the field")
@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "interleave=static:0"),
        ({"mode": "MPOL_DEFAULT"}, "default"),
        ({"mode": "MPOL_LOCAL"}, "local"),
    ],
)
def test_memory_policy(sh: RunScript, bundle: Bundle, policy: dict[str, object], seen: str) -> None:
    bundle.linux["memoryPolicy"] = policy
    assert seen in sh("cat /proc/self/numa_maps", bundle).ok().stdout.split()


@pytest.mark.ocipy_only("Debian's and older runtimes do not know the field")
def test_memory_policy_of_a_node_that_is_not_there(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "999"}
    runtime.create(bundle.args("true"), new_id()).fails("/linux/memoryPolicy")
    assert runtime.ids() == []


@pytest.mark.parametrize("member", ["apparmorProfile", "selinuxLabel"])
def test_labels_are_refused_without_the_module(runtime: Runtime, bundle: Bundle, new_id: NewId, member: str) -> None:
    module = {"apparmorProfile": "/sys/module/apparmor/parameters/enabled", "selinuxLabel": "/sys/fs/selinux/class"}
    if Path(module[member]).exists():
        pytest.skip("this host has the module")
    bundle.process[member] = "acme_secure_profile"
    runtime.create(bundle.args("true"), new_id()).fails("apparmor" if "armor" in member else "selinux")
    assert runtime.ids() == []


@pytest.mark.needs_apparmor
def test_apparmor_unconfined(sh: RunScript, bundle: Bundle) -> None:
    bundle.process["apparmorProfile"] = "unconfined"
    assert sh("cat /proc/self/attr/current", bundle).ok().stdout.strip("\0\n") == "unconfined"


@pytest.mark.needs_apparmor
def test_apparmor_profile_that_is_not_loaded(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.process["apparmorProfile"] = "no-such-profile"
    runtime.create(bundle.args("true"), new_id()).fails("no-such-profile")
    assert runtime.ids() == []


PROFILE = """
profile ocipy-test flags=(attach_disconnected,mediate_deleted) {
  file, capability, mount, signal, network, umount, ptrace,
  deny /etc/passwd r,
}
"""


@pytest.mark.needs_apparmor
@pytest.mark.needs_program("apparmor_parser")
@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_apparmor_profile(sh: RunScript, bundle: Bundle, work: Path, no_new_privileges: bool) -> None:
    source = work / "profile"
    source.write_text(PROFILE)
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache", source], check=True, timeout=120)
    bundle.process["noNewPrivileges"] = no_new_privileges
    bundle.process["apparmorProfile"] = "ocipy-test"
    result = sh("cat /proc/self/attr/current; cat /etc/passwd || echo denied", bundle)
    subprocess.run(["apparmor_parser", "--remove", source], check=True, timeout=120)
    assert result.stdout.replace("\0", "").splitlines() == ["ocipy-test (enforce)", "denied"]
