"""An init that waits for start holds almost no memory, and the steps after the wait work without what it freed."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Runtime, arguments_of

MakeContainer = Callable[..., Container]
#: kB of memory that no other process shares.
MOST = 100

pytestmark = pytest.mark.ocipy_only("its own init")


def private_memory(pid: int) -> int:
    """In kB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^(?:Private_Dirty|Private_Clean): +(\d+) kB", rollup, re.MULTILINE))


def filtered(bundle: Bundle, *rules: dict[str, Any]) -> Bundle:
    bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules)}
    return bundle


def munmap(action: str, **rest: Any) -> dict[str, Any]:
    return {"names": ["munmap"], "action": f"SCMP_ACT_{action}", **rest}


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("with_filter", [True, False])
def test_it_frees_its_memory(
    container: MakeContainer, bundle: Bundle, no_new_privileges: bool, with_filter: bool
) -> None:
    """With no_new_privs the filter is loaded at the end. Without it, the filter is in force while init waits."""
    bundle.process["noNewPrivileges"] = no_new_privileges
    if with_filter:
        filtered(bundle, {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"})
    one = container(bundle.args("sleep", "1000"))
    assert private_memory(one.pid) < MOST
    one.start()
    one.end()


# Bit 12 of munmap's second argument, the size: it is set for some of what init frees, and clear for the rest.
ODD = [{"index": 1, "value": 0x1000, "valueTwo": 0x1000, "op": "SCMP_CMP_MASKED_EQ"}]


@pytest.mark.parametrize(
    "rule",
    [munmap("KILL_PROCESS"), munmap("ERRNO"), munmap("KILL_PROCESS", args=ODD), munmap("TRAP")],
    ids=["kill", "errno", "kill-some", "trap"],
)
def test_a_filter_that_forbids_munmap(container: MakeContainer, bundle: Bundle, rule: dict[str, Any]) -> None:
    """Init interprets the filter itself first, and frees only what it permits."""
    bundle.process["noNewPrivileges"] = False
    one = container(filtered(bundle, rule).args("sleep", "1000"))
    one.start()
    assert arguments_of(one.pid) == ["sleep", "1000"]
    one.end()


@pytest.mark.parametrize("action", ["KILL_PROCESS", "ERRNO"])
def test_a_filter_that_forbids_mmap(container: MakeContainer, bundle: Bundle, action: str) -> None:
    bundle.process["noNewPrivileges"] = False
    rule = {"names": ["mmap"], "action": f"SCMP_ACT_{action}"}
    one = container(filtered(bundle, rule).args("sleep", "1000"))
    assert one.status == "created"
    one.start()
    one.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_signals_still_end_it(container: MakeContainer, runtime: Runtime, number: signal.Signals) -> None:
    one = container()
    runtime.call("kill", one.id, str(int(number))).ok()
    one.wait_dead(5)
    runtime.delete(one.id).ok()
    one.reap()


def test_arguments_environment_and_limits_reach_the_process(container: MakeContainer, bundle: Bundle) -> None:
    arguments = ["sleep", "1000", "", "0" * 5000]
    bundle.process["env"] = ["PATH=/bin", "EMPTY=", "LONG=" + "1" * 9000]
    bundle.process["rlimits"] = [{"type": "RLIMIT_AS", "soft": 1 << 30, "hard": 1 << 30}]
    bundle.process["args"] = ["sh", "-c", "sleep 1000; :", *arguments]
    one = container(bundle)
    one.start()
    process = Path(f"/proc/{one.pid}")
    assert (process / "cmdline").read_bytes().decode().split("\0") == ["sh", "-c", "sleep 1000; :", *arguments, ""]
    environment = (process / "environ").read_bytes().decode().split("\0")
    assert set(bundle.process["env"]) <= set(environment)
    assert re.search(r"Max address space +1073741824 +1073741824", (process / "limits").read_text())
    one.end()
