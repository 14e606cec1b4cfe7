"""process.rlimits: all sixteen names, seen from outside in /proc/PID/limits."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Callable

import pytest

from tests.harness import Bundle, Container, Result, Runtime

MakeContainer = Callable[..., Container]

# Each name with its line in /proc/PID/limits: getrlimit(2), proc_pid_limits(5).
LIMITS = {
    "RLIMIT_AS": "Max address space",
    "RLIMIT_CORE": "Max core file size",
    "RLIMIT_CPU": "Max cpu time",
    "RLIMIT_DATA": "Max data size",
    "RLIMIT_FSIZE": "Max file size",
    "RLIMIT_LOCKS": "Max file locks",
    "RLIMIT_MEMLOCK": "Max locked memory",
    "RLIMIT_MSGQUEUE": "Max msgqueue size",
    "RLIMIT_NICE": "Max nice priority",
    "RLIMIT_NOFILE": "Max open files",
    "RLIMIT_NPROC": "Max processes",
    "RLIMIT_RSS": "Max resident set",
    "RLIMIT_RTPRIO": "Max realtime priority",
    "RLIMIT_RTTIME": "Max realtime timeout",
    "RLIMIT_SIGPENDING": "Max pending signals",
    "RLIMIT_STACK": "Max stack size",
}
# If the host's hard limit is 0, only 0 can be set without CAP_SYS_RESOURCE.
VALUES = {
    "RLIMIT_NICE": (0, 0),
    "RLIMIT_RTPRIO": (0, 0),
    "RLIMIT_AS": (1 << 40, 1 << 41),
    "RLIMIT_DATA": (1 << 40, 1 << 41),
}
# Under these a program may not even load, or may be killed at the next clock tick.
DEADLY = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_STACK")


def limits(pid: int) -> dict[str, tuple[str, str]]:
    """/proc/PID/limits: line name → soft and hard."""
    found = {}
    with open(f"/proc/{pid}/limits") as file:
        for line in file.read().splitlines()[1:]:
            found[line[:26].strip()] = (line[26:47].strip(), line[47:68].strip())
    return found


def test_all_names(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [
        {"type": name, "soft": VALUES.get(name, (60, 70))[0], "hard": VALUES.get(name, (60, 70))[1]}
        for name in LIMITS
        if name not in ("RLIMIT_MEMLOCK", "RLIMIT_STACK", "RLIMIT_FSIZE")
    ] + [
        {"type": "RLIMIT_MEMLOCK", "soft": 4096, "hard": 8192},
        {"type": "RLIMIT_STACK", "soft": 1 << 20, "hard": 1 << 23},
        {"type": "RLIMIT_FSIZE", "soft": 1 << 20, "hard": 1 << 21},
    ]
    one = container(bundle.args("sleep", "1000")).start()
    seen = limits(one.pid)
    for entry in bundle.process["rlimits"]:
        assert seen[LIMITS[entry["type"]]] == (str(entry["soft"]), str(entry["hard"])), entry["type"]


def test_inside(sh: Callable[..., Result], bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
    assert sh("ulimit -Sn; ulimit -Hn", bundle).ok().lines == ["77", "99"]


def test_unlimited(container: MakeContainer, bundle: Bundle) -> None:
    infinity = 2**64 - 1
    bundle.process["rlimits"] = [{"type": "RLIMIT_CPU", "soft": infinity, "hard": infinity}]
    one = container(bundle.args("sleep", "1000"))
    assert limits(one.pid)["Max cpu time"] == ("unlimited", "unlimited")


def test_without_rlimits_the_callers_are_inherited(container: MakeContainer, bundle: Bundle) -> None:
    """The engine's limits; if the runtime raises one for itself, that must not reach the container."""
    del bundle.process["rlimits"]
    one = container(bundle.args("sleep", "1000")).start()
    seen = limits(one.pid)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert seen["Max open files"] == (str(soft), str(hard))
    ours = limits(os.getpid())
    assert seen == {**ours, "Max open files": seen["Max open files"]}


@pytest.mark.differs_from_runc("runc sets up its mounts under the payload's limit on open files")
def test_tight_limits_do_not_hurt_the_runtime(container: MakeContainer, bundle: Bundle) -> None:
    """They apply to the payload: a small NOFILE, FSIZE or AS must not break the setup."""
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 16, "hard": 16},
        {"type": "RLIMIT_FSIZE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NPROC", "soft": 5, "hard": 5},
    ]
    one = container(bundle.args("sleep", "1000")).start()
    assert limits(one.pid)["Max open files"] == ("16", "16")


@pytest.mark.parametrize("name", ["RLIMIT_NO_SUCH", "NOFILE", "", "rlimit_nofile"])
def test_unknown_name(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], name: str) -> None:
    bundle.process["rlimits"] = [{"type": name, "soft": 1, "hard": 1}]
    runtime.create(bundle.args("true"), new_id()).fails("rlimit")
    assert runtime.ids() == []


def test_soft_above_hard(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 50}]
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []


@pytest.mark.ocipy_only("runc takes the last of two; the specification demands an error")
def test_name_given_twice(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    bundle.process["rlimits"] *= 2
    runtime.create(bundle.args("true"), new_id()).fails("/process/rlimits/1")
    assert runtime.ids() == []


@pytest.mark.parametrize("value", [0, 1, 4096, 1 << 16, 1 << 20, 1 << 22])
@pytest.mark.parametrize("name", LIMITS)
def test_low_limits_apply_only_to_the_process(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], name: str, value: int
) -> None:
    """The kernel decides about the program under such a limit: it runs, is killed, or cannot execute, with one clear
    line. The limit does not affect the runtime itself."""
    bundle.process["rlimits"] = [{"type": name, "soft": value, "hard": value}]
    result = runtime.run(bundle.args("true"), new_id())
    if result.status == 1:
        assert re.match(r"ocipy: run \S+: /process/(args|rlimits)", result.stderr) or not runtime.is_ocipy, result
    else:
        deadly = (128 + signal.SIGSEGV, 128 + signal.SIGKILL)
        assert result.status in ((0, 127, *deadly) if name in DEADLY else (0,)), result
        assert "Python" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if not line.startswith("  ")]) <= 1


@pytest.mark.ocipy_only("the field is named")
def test_an_exec_that_a_limit_forbids_is_an_error(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    """128 KiB are always permitted, and more only a quarter of the stack: execve(2)."""
    bundle.process["rlimits"] = [{"type": "RLIMIT_STACK", "soft": 1 << 16, "hard": 1 << 16}]
    bundle.args("true", *["x" * 1000] * 200)
    result = runtime.run(bundle, new_id()).fails("/process/args: exec ", "rgument list too long")
    assert "RLIMIT_STACK" in result.stderr


def test_low_limits_of_a_user_with_a_filter(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    """The limits are set after the change of ids, at a point where the filter permits it."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}]
    bundle.sh("ulimit -Sn; ulimit -Hn")
    for profile in (
        {"defaultAction": "SCMP_ACT_ALLOW"},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]},
    ):
        bundle.linux["seccomp"] = profile
        for no_new_privileges in (True, False):
            bundle.process["noNewPrivileges"] = no_new_privileges
            assert runtime.run(bundle, new_id()).ok().lines == ["5", "6"]


def test_low_limits_of_exec(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}]
    one = container(bundle.args("sleep", "1000")).start()
    assert one.sh("ulimit -Sn; ulimit -Hn").ok().lines == ["5", "6"]
