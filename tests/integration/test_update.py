"""update: new limits for a running container, by flags and by a document, on cgroup v1 and v2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Host, Runtime, cgroup_value

MakeContainer = Callable[..., Container]

MEGABYTE = 1 << 20

# Flags, the same as a document, and for v1 and v2: controller, file, content.
CHANGES: list[tuple[list[str], dict[str, Any], tuple[str, str, str], tuple[str, str, str]]] = [
    (
        ["--memory", "100M"],
        {"memory": {"limit": 100 * MEGABYTE}},
        ("memory", "memory.limit_in_bytes", str(100 * MEGABYTE)),
        ("memory", "memory.max", str(100 * MEGABYTE)),
    ),
    (
        ["--memory=-1"],
        {"memory": {"limit": -1}},
        ("memory", "memory.limit_in_bytes", "9223372036854771712"),
        ("memory", "memory.max", "max"),
    ),
    (
        ["--memory-reservation", "50m"],
        {"memory": {"reservation": 50 * MEGABYTE}},
        ("memory", "memory.soft_limit_in_bytes", str(50 * MEGABYTE)),
        ("memory", "memory.low", str(50 * MEGABYTE)),
    ),
    (
        ["--memory", "100M", "--memory-swap", "150M"],
        {"memory": {"limit": 100 * MEGABYTE, "swap": 150 * MEGABYTE}},
        ("memory", "memory.memsw.limit_in_bytes", str(150 * MEGABYTE)),
        ("memory", "memory.max", str(100 * MEGABYTE)),
    ),
    (["--cpu-share", "512"], {"cpu": {"shares": 512}}, ("cpu", "cpu.shares", "512"), ("cpu", "cpu.weight", "59")),
    (
        ["--cpu-quota", "20000"],
        {"cpu": {"quota": 20000}},
        ("cpu", "cpu.cfs_quota_us", "20000"),
        ("cpu", "cpu.max", "20000 100000"),
    ),
    (
        ["--cpu-period=50000", "--cpu-quota=20000"],
        {"cpu": {"period": 50000, "quota": 20000}},
        ("cpu", "cpu.cfs_period_us", "50000"),
        ("cpu", "cpu.max", "20000 50000"),
    ),
    (
        ["--cpu-quota=20000", "--cpu-burst=1000"],
        {"cpu": {"quota": 20000, "burst": 1000}},
        ("cpu", "cpu.cfs_burst_us", "1000"),
        ("cpu", "cpu.max.burst", "1000"),
    ),
    (["--cpu-idle", "1"], {"cpu": {"idle": 1}}, ("cpu", "cpu.idle", "1"), ("cpu", "cpu.idle", "1")),
    (
        ["--cpuset-cpus", "0"],
        {"cpu": {"cpus": "0"}},
        ("cpuset", "cpuset.cpus", "0"),
        ("cpuset", "cpuset.cpus", "0"),
    ),
    (
        ["--cpuset-mems", "0"],
        {"cpu": {"mems": "0"}},
        ("cpuset", "cpuset.mems", "0"),
        ("cpuset", "cpuset.mems", "0"),
    ),
    (["--pids-limit", "17"], {"pids": {"limit": 17}}, ("pids", "pids.max", "17"), ("pids", "pids.max", "17")),
    (["--pids-limit", "-1"], {"pids": {"limit": -1}}, ("pids", "pids.max", "max"), ("pids", "pids.max", "max")),
]
IDS = [" ".join(change[0]) for change in CHANGES]


def value(one: Container, host: Host, v1: tuple[str, str], v2: tuple[str, str]) -> str:
    """The content of the file for this host's cgroup version: (controller, file)."""
    return cgroup_value(one.pid, *(v2 if host.cgroup == "v2" else v1))


def memory_limit(one: Container, host: Host) -> str:
    return value(one, host, ("memory", "memory.limit_in_bytes"), ("memory", "memory.max"))


def pids_limit(one: Container) -> str:
    return cgroup_value(one.pid, "pids", "pids.max")


def update(one: Container, *flags: str, document: Any = None) -> Any:
    """Call update; a document goes to --resources - on standard input."""
    if document is None:
        return one.runtime.call("update", *flags, one.id)
    return one.runtime.call("update", "--resources", "-", *flags, one.id, stdin=json.dumps(document).encode())


@pytest.mark.parametrize(("flags", "document", "v1", "v2"), CHANGES, ids=IDS)
def test_each_flag(
    container: MakeContainer,
    host: Host,
    flags: list[str],
    document: dict[str, Any],
    v1: tuple[str, str, str],
    v2: tuple[str, str, str],
) -> None:
    """Without output: podman's user would see it."""
    one = container().start()
    result = update(one, *flags).ok()
    assert (result.stdout, result.stderr) == ("", "")
    assert value(one, host, v1[:2], v2[:2]) == (v2 if host.cgroup == "v2" else v1)[2]


@pytest.mark.parametrize(("flags", "document", "v1", "v2"), CHANGES, ids=IDS)
def test_each_field(
    container: MakeContainer,
    host: Host,
    flags: list[str],
    document: dict[str, Any],
    v1: tuple[str, str, str],
    v2: tuple[str, str, str],
) -> None:
    one = container()
    update(one, document=document).ok()
    assert value(one, host, v1[:2], v2[:2]) == (v2 if host.cgroup == "v2" else v1)[2]


@pytest.mark.parametrize(
    "spelling",
    [
        "--resources=FILE",
        "--resources FILE",
        "--resources=-",
        pytest.param("--resources -", marks=pytest.mark.smoke),
        "-r -",
    ],
)
def test_every_spelling_of_resources(container: MakeContainer, work: Path, spelling: str) -> None:
    """podman names a file; containerd uses "--resources -" or "--resources=-", depending on the version."""
    one = container()
    document = json.dumps({"pids": {"limit": 23}})
    file = work / "resources.json"
    file.write_text(document)
    words = spelling.replace("FILE", str(file)).split()
    one.runtime.call("update", *words, one.id, stdin=document.encode()).ok()
    assert pids_limit(one) == "23"


def test_pids_limit_of_zero(container: MakeContainer) -> None:
    """The flag counts as given: runc sets a limit of 1."""
    one = container()
    update(one, "--pids-limit", "0").ok()
    assert pids_limit(one) in ("0", "1")


def test_nothing_to_do(container: MakeContainer, host: Host) -> None:
    one = container()
    before = (memory_limit(one, host), pids_limit(one))
    update(one).ok()
    update(one, document={}).ok()
    update(one, document={"memory": {"limit": 0}, "cpu": {"shares": 0, "cpus": ""}, "blockIO": {"weight": 0}}).ok()
    update(one, document={"linux": 1, "unknown": {"a": None}}).ok()
    assert (memory_limit(one, host), pids_limit(one)) == before


@pytest.mark.ocipy_only("runc 1.5.2 crashes")
def test_null_is_not_set(container: MakeContainer) -> None:
    update(container(), document={"memory": None, "cpu": None, "pids": None, "devices": None, "unified": None}).ok()


def test_one_change_leaves_the_others(container: MakeContainer, bundle: Bundle, host: Host) -> None:
    bundle.linux["resources"]["pids"] = {"limit": 50}
    one = container(bundle.args("sleep", "1000"))
    update(one, "--memory", "100M").ok()
    update(one, "--cpuset-cpus", "0").ok()
    assert pids_limit(one) == "50"
    assert memory_limit(one, host) == str(100 * MEGABYTE)


def test_quota_and_period_by_turns(container: MakeContainer, bundle: Bundle, host: Host) -> None:
    """On v2 they share a file: each keeps the other's value from create or an earlier update."""
    bundle.linux["resources"]["cpu"] = {"quota": 20000}
    one = container(bundle.args("sleep", "1000"))

    def now() -> list[str]:
        if host.cgroup == "v2":
            return cgroup_value(one.pid, "cpu", "cpu.max").split()
        return [cgroup_value(one.pid, "cpu", f"cpu.cfs_{name}_us") for name in ("quota", "period")]

    update(one, "--cpu-period", "50000").ok()
    assert now() == ["20000", "50000"]
    update(one, "--cpu-quota", "30000").ok()
    assert now() == ["30000", "50000"]
    update(one, "--cpu-quota", "-1").ok()
    assert now()[0] in ("-1", "max")


def test_memory_and_swap_in_either_order(container: MakeContainer, host: Host) -> None:
    """The kernel refuses a memory limit above that of memory and swap, at every moment."""
    one = container()
    for limit, swap in ((100, 150), (300, 400), (50, 60), (200, 200)):
        update(one, "--memory", f"{limit}M", "--memory-swap", f"{swap}M").ok()
        assert memory_limit(one, host) == str(limit * MEGABYTE)
        if host.cgroup != "v2":
            assert cgroup_value(one.pid, "memory", "memory.memsw.limit_in_bytes") == str(swap * MEGABYTE)
        else:
            assert cgroup_value(one.pid, "memory", "memory.swap.max") == str((swap - limit) * MEGABYTE)


def test_lifting_the_memory_limit_lifts_the_swap_limit(container: MakeContainer, host: Host) -> None:
    one = container()
    update(one, "--memory", "100M", "--memory-swap", "150M").ok()
    update(one, "--memory", "-1").ok()
    if host.cgroup != "v2":
        assert cgroup_value(one.pid, "memory", "memory.memsw.limit_in_bytes") == "9223372036854771712"
    else:
        assert cgroup_value(one.pid, "memory", "memory.swap.max") == "max"


def test_a_swap_limit_below_the_memory_limit(container: MakeContainer, host: Host) -> None:
    one = container()
    update(one, "--memory", "100M", "--memory-swap", "150M").ok()
    update(one, "--memory", "200M").fails()
    update(one, "--memory-swap", "50M").fails()
    assert memory_limit(one, host) == str(100 * MEGABYTE)


@pytest.mark.needs_cgroup_v2
def test_check_before_update(container: MakeContainer, host: Host) -> None:
    """With a limit below the current usage the kernel would kill processes."""
    one = container(sh="dd if=/dev/zero of=/dev/shm/file bs=1M count=20 2>/dev/null; echo written; exec sleep 1000")
    one.start()
    one.wait_output("written")
    update(one, document={"memory": {"limit": 5 * MEGABYTE, "checkBeforeUpdate": True}}).fails()
    assert memory_limit(one, host) == "max"
    assert one.status == "running"


@pytest.mark.needs_cgroup_v1
def test_a_limit_below_the_current_usage(container: MakeContainer, bundle: Bundle, host: Host) -> None:
    """On v1 the kernel refuses a limit if it cannot reclaim enough."""
    script = "dd if=/dev/zero of=/dev/shm/file bs=1M count=20 2>/dev/null; echo written; exec sleep 1000"
    one = container(bundle, sh=script).start()
    one.wait_output("written")
    update(one, "--memory", "5M", "--memory-swap", "5M").fails("memory", "peak")
    assert one.status == "running"
    assert memory_limit(one, host) == "9223372036854771712"


@pytest.mark.ocipy_only("runc leaves what was written before the write that failed, and ignores some of these")
def test_all_or_nothing(container: MakeContainer, host: Host) -> None:
    """The last write fails, because the device does not exist: the earlier writes are reverted."""
    one = container()
    update(one, "--memory", "100M", "--memory-swap", "150M", "--pids-limit", "20").ok()
    document = {
        "memory": {"limit": 200 * MEGABYTE, "swap": 300 * MEGABYTE},
        "pids": {"limit": 30},
        "blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 250, "rate": 1000}]},
    }
    update(one, document=document).fails("/linux/resources/blockIO/throttleReadBpsDevice/0")
    assert memory_limit(one, host) == str(100 * MEGABYTE)
    assert pids_limit(one) == "20"
    update(one, "--memory", "120M").ok()
    assert memory_limit(one, host) == str(120 * MEGABYTE)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--memory", "lots"], ["invalid value for memory", "invalid size: 'lots'"]),
        (["--memory", "-5"], ["invalid value for memory"]),
        (["--cpu-share", "x"], ["invalid value for cpu-share"]),
        (["--cpuset-cpus", "4095"], ["cpuset.cpus"]),
        (["--l3-cache-schema", "L3:0=f"], ["Intel RDT/CAT: l3 cache schema is not enabled"]),
        (["--mem-bw-schema", "MB:0=20"], ["Intel RDT/MBA: memory bandwidth schema is not enabled"]),
        (["--no-such-flag", "1"], ["no-such-flag"]),
        (["--resources", "/no/such/file"], ["no such file"]),
    ],
)
def test_what_is_refused(container: MakeContainer, flags: list[str], words: list[str]) -> None:
    one = container()
    update(one, *flags).fails(*words)


@pytest.mark.needs_cgroup_v1
def test_shares_that_the_kernel_would_change(container: MakeContainer) -> None:
    """On v2 any value becomes a weight."""
    for shares in ("1", "262145"):
        update(container(), "--cpu-share", shares).fails("shares")


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', '{"cpu": {"quota": "x"}}', '{"pids": []}'])
def test_an_invalid_document(container: MakeContainer, text: str) -> None:
    one = container()
    one.runtime.call("update", "-r", "-", one.id, stdin=text.encode()).fails()


@pytest.mark.ocipy_only("runc ignores them")
@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"unified": {"no.such": "1"}}, "/linux/resources/unified/no.such"),
        ({"network": {"classID": 5}}, "/linux/resources/network/classID"),
        ({"memory": {"swappiness": 101}}, "/linux/resources/memory/swappiness"),
    ],
)
def test_changes_that_would_have_no_effect(container: MakeContainer, host: Host, document: Any, pointer: str) -> None:
    one = container()
    update(one, document=document).fails(pointer)


@pytest.mark.ocipy_only("runc has no cpu.idle to remember")
def test_shares_of_an_idle_container(container: MakeContainer, host: Host) -> None:
    """The kernel refuses a weight while the container is idle, and has forgotten it afterwards."""
    one = container()
    update(one, "--cpu-share", "512").ok()
    update(one, "--cpu-idle", "1").ok()
    update(one, "--cpu-share", "256").fails("an idle container has no CPU shares")
    update(one, "--cpu-idle", "0").ok()
    assert value(one, host, ("cpu", "cpu.shares"), ("cpu", "cpu.weight")) == ("59" if host.cgroup == "v2" else "512")


@pytest.mark.ocipy_only("runc says nothing")
def test_device_rules_stay(container: MakeContainer, bundle: Bundle) -> None:
    """Engines pass all resources: identical rules are not a change, and different ones are refused."""
    one = container()
    same = update(one, document={"devices": bundle.linux["resources"].get("devices"), "pids": {"limit": 9}}).ok()
    assert same.stderr == ""
    other = update(one, document={"devices": [{"allow": True, "access": "rwm"}], "pids": {"limit": 8}}).ok()
    assert "/linux/resources/devices: update does not change the device rules" in other.stderr
    assert pids_limit(one) == "8"


@pytest.mark.ocipy_only("runc 1.5 sets a limit of 1 for podman")
def test_no_pids_limit_by_podman(container: MakeContainer, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"io.container.manager": "libpod"}
    one = container(bundle.args("sleep", "1000"))
    update(one, document={"pids": {"limit": 0}, "cpu": {"cpus": "0"}}).ok()
    assert pids_limit(one) == "max"


@pytest.mark.ocipy_only("runc 1.5 sets a limit of 1 for podman")
def test_zero_pids_by_podman_lift_the_limit_as_in_create(container: MakeContainer, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"io.container.manager": "libpod"}
    bundle.linux["resources"]["pids"] = {"limit": 20}
    one = container(bundle.args("sleep", "1000"))
    update(one, document={"pids": {"limit": 0}}).ok()
    assert pids_limit(one) == "max"
    # Without a limit no controller is needed.
    update(one, document={"pids": {"limit": 0}}).ok()
    assert pids_limit(one) == "max"


@pytest.mark.ocipy_only("runc 1.5 sets a limit of 1")
def test_zero_pids_are_a_limit_for_create_and_update(
    container: MakeContainer, make_bundle: Callable[[], Bundle]
) -> None:
    limits = []
    for begin, change in ((0, None), (5, 0)):
        bundle = make_bundle()
        bundle.linux["resources"]["pids"] = {"limit": begin}
        one = container(bundle.args("sleep", "1000"))
        if change is not None:
            update(one, document={"pids": {"limit": change}}).ok()
        limits.append(pids_limit(one))
    assert limits == ["0", "0"]


@pytest.mark.parametrize("status", ["created", "running", "paused"])
def test_in_every_state_that_has_a_process(container: MakeContainer, status: str) -> None:
    one = container()
    if status != "created":
        one.start()
    if status == "paused":
        one.runtime.call("pause", one.id).ok()
    update(one, "--pids-limit", "21").ok()
    assert (pids_limit(one), one.status) == ("21", status)


def test_for_a_stopped_container(container: MakeContainer) -> None:
    one = container().start().kill().wait_dead()
    update(one, "--memory", "100M").fails("container not running")


def test_for_a_missing_container(runtime: Runtime, new_id: Callable[[], str]) -> None:
    runtime.call("update", "--memory", "100M", new_id()).fails("container does not exist")
    runtime.call("update").fails()


@pytest.mark.needs_cgroup_v2
def test_unified(container: MakeContainer) -> None:
    one = container()
    update(one, document={"unified": {"memory.high": "50000000", "pids.max": "33"}}).ok()
    assert cgroup_value(one.pid, "memory", "memory.high") == "49999872"
    assert pids_limit(one) == "33"
