"""process.rlimits: all sixteen names, looked at from outside by /proc/PID/limits."""

from __future__ import annotations

import os
import resource
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
# Where the host's own hard limit is 0 nothing but 0 can be set without CAP_SYS_RESOURCE.
VALUES = {
    "RLIMIT_NICE": (0, 0),
    "RLIMIT_RTPRIO": (0, 0),
    "RLIMIT_AS": (1 << 40, 1 << 41),
    "RLIMIT_DATA": (1 << 40, 1 << 41),
}


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


def test_none_given_are_inherited(container: MakeContainer, bundle: Bundle) -> None:
    """What the engine itself runs under; the runtime's own raising of a limit must not reach the container."""
    del bundle.process["rlimits"]
    one = container(bundle.args("sleep", "1000")).start()
    seen = limits(one.pid)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert seen["Max open files"] == (str(soft), str(hard))
    ours = limits(os.getpid())
    assert seen == {**ours, "Max open files": seen["Max open files"]}


@pytest.mark.differs_from_runc("runc sets up its mounts under the payload's limit of open files")
def test_tight_limits_do_not_hurt_the_runtime(container: MakeContainer, bundle: Bundle) -> None:
    """They are the payload's: a small NOFILE, FSIZE or AS must not break the set-up."""
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
