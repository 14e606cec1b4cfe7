"""process.capabilities: the five sets in /proc/PID/status, and their effect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.linux.capabilities import NAMES
from tests.harness import Bundle, Container, Result, Runtime, proc_status

MakeContainer = Callable[..., Container]
RunScript = Callable[..., Result]
NewId = Callable[[], str]

CHOWN, DAC_OVERRIDE, KILL, SETGID, NET_BIND_SERVICE = (1 << number for number in (0, 1, 5, 6, 10))
SETS = {
    "bounding": "CapBnd",
    "effective": "CapEff",
    "permitted": "CapPrm",
    "inheritable": "CapInh",
    "ambient": "CapAmb",
}


def sets(status: dict[str, str]) -> dict[str, int]:
    return {name: int(status[field], 16) for name, field in SETS.items()}


def held(container: Container) -> dict[str, int]:
    """The command's sets after the exec: root gets its bounding set, other users their ambient set."""
    return sets(proc_status(container.pid))


@pytest.mark.smoke
def test_none(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["capabilities"] = {}
    one = container(bundle.args("sleep", "1000")).start()
    assert held(one) == dict.fromkeys(SETS, 0)


@pytest.mark.ocipy_only("the specification leaves it open: crun drops all, runc 1.5 keeps all that it has")
def test_absent(container: MakeContainer, bundle: Bundle) -> None:
    del bundle.process["capabilities"]
    one = container(bundle.args("sleep", "1000")).start()
    assert held(one) == dict.fromkeys(SETS, 0)


def test_each_set_of_the_waiting_process(container: MakeContainer, bundle: Bundle) -> None:
    """Before the exec, which for root mixes them (capabilities(7)), they are exactly as configured."""
    bundle.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_DAC_OVERRIDE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETGID"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL", "CAP_SETGID"],
        "ambient": ["CAP_KILL"],
    }
    one = container(bundle.args("sleep", "1000"))
    assert held(one) == {
        "bounding": CHOWN | KILL | SETGID | DAC_OVERRIDE,
        "permitted": CHOWN | KILL | SETGID,
        "effective": CHOWN,
        "inheritable": KILL | SETGID,
        "ambient": KILL,
    }


def test_a_user_keeps_only_the_ambient_capabilities(container: MakeContainer, bundle: Bundle) -> None:
    names = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"] = {
        "bounding": names,
        "permitted": names,
        "effective": names,
        "inheritable": names,
        "ambient": ["CAP_NET_BIND_SERVICE"],
    }
    one = container(bundle, sh="echo ready; exec sleep 1000").start()
    one.wait_output("ready")
    assert held(one) == {
        "bounding": CHOWN | NET_BIND_SERVICE,
        "permitted": NET_BIND_SERVICE,
        "effective": NET_BIND_SERVICE,
        "inheritable": CHOWN | NET_BIND_SERVICE,
        "ambient": NET_BIND_SERVICE,
    }


def test_a_user_without_ambient_capabilities_has_none(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(bundle, sh="echo ready; exec sleep 1000").start()
    one.wait_output("ready")
    found = held(one)
    assert found["bounding"] != 0
    assert found["effective"] == found["permitted"] == found["inheritable"] == found["ambient"] == 0


@pytest.mark.ocipy_only("runc 1.5 only says it in its log, and other runtimes refuse")
def test_a_capability_that_cannot_be_granted_is_named_in_a_warning(container: MakeContainer, bundle: Bundle) -> None:
    """config.md: MUST be logged as a warning, and SHOULD NOT fail."""
    names = ["CAP_KILL", "CAP_NO_SUCH_THING", "cap_chown"]
    bundle.capabilities(*names)
    one = container(bundle.args("sleep", "1000"))
    assert held(one)["bounding"] == KILL
    assert one.created is not None
    assert "CAP_NO_SUCH_THING" in one.created.stderr
    assert "cap_chown" in one.created.stderr
    assert "CAP_KILL" not in one.created.stderr
    assert one.created.stderr.count("cannot be granted") == 1


@pytest.mark.differs_from_runc("runc fails if a capability cannot be granted, despite the SHOULD NOT", always=False)
def test_a_request_for_all_capabilities_gives_those_of_the_runtime(container: MakeContainer, bundle: Bundle) -> None:
    """podman --privileged asks for all capabilities. On a host that withholds some, it gets the others."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    names = list(NAMES[: last + 1])
    bundle.capabilities(*names)
    one = container(bundle.args("sleep", "1000"))
    ours = int(proc_status("self")["CapPrm"], 16)
    assert held(one)["bounding"] == held(one)["permitted"] == held(one)["effective"] == ours


def test_a_user_namespace_has_all_capabilities(container: MakeContainer, bundle: Bundle) -> None:
    names = ["CAP_SYS_RESOURCE", "CAP_SYS_ADMIN", "CAP_KILL"]
    bundle.user_namespace()
    bundle.capabilities(*names)
    one = container(bundle.args("sleep", "1000")).start()
    assert held(one)["effective"] == held(one)["bounding"] == 1 << 24 | 1 << 21 | KILL


def test_capabilities_have_their_effect(sh: RunScript, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    script = "touch /tmp/f; chown 1:1 /tmp/f 2>/dev/null && echo chown; hostname x 2>/dev/null && echo hostname"
    bundle.capabilities("CAP_CHOWN")
    assert sh(script, bundle).lines == ["chown"]
    bundle.capabilities("CAP_SYS_ADMIN")
    assert sh(script, bundle).ok().lines == ["hostname"]


@pytest.mark.needs_program("setpriv")
def test_ambient_capabilities_of_the_caller_are_not_passed_on(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """An ambient capability stays while it is permitted and inheritable, and survives setuid (CVE-2016-8867)."""
    bundle.process["capabilities"] = {name: ["CAP_CHOWN"] for name in SETS if name != "ambient"}
    raised = ["setpriv", "--inh-caps", "+chown", "--ambient-caps", "+chown"]
    told = runtime.run(bundle.args("cat", "/proc/self/status"), new_id(), prefix=raised).ok().stdout
    assert "CapAmb:\t0000000000000000\n" in told
    assert "CapInh:\t0000000000000001\n" in told
