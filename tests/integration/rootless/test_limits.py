"""Settings that a user may not change: cgroups, limits, the OOM score, the host's clocks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, cgroups_of
from tests.harness.user import UserRuntime
from tests.integration.conftest import CGROUP_PARENT

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]

pytestmark = pytest.mark.unprivileged

TOP = Path("/sys/fs/cgroup")


@pytest.mark.smoke
def test_without_a_cgroup(container: MakeContainer, bundle: Bundle) -> None:
    """Without privileges and without cgroupsPath the container stays in the caller's cgroup, which is not an error."""
    one = container(bundle.args("sleep", "1000"))
    assert one.cgroups() == cgroups_of(os.getpid())
    assert one.created is not None
    assert one.created.stderr == ""


@pytest.mark.parametrize(
    ("resources", "pointer"),
    [
        ({"pids": {"limit": 10}}, "/linux/resources/pids/limit"),
        ({"memory": {"limit": 50_000_000}}, "/linux/resources/memory/limit"),
        ({"cpu": {"shares": 100}}, "/linux/resources/cpu/shares"),
    ],
)
def test_limits_that_cannot_be_set(
    runtime: UserRuntime, bundle: Bundle, new_id: NewId, resources: dict[str, object], pointer: str
) -> None:
    """A requested limit cannot be set: the error names it and its requirements."""
    bundle.linux["resources"] = resources
    runtime.create(bundle.args("true"), new_id()).fails("cgroup", *([pointer] if runtime.is_ocipy else []))
    assert runtime.ids() == []


@pytest.mark.parametrize("path", ["/ocipy-test-of-nobody", f"/{CGROUP_PARENT}/one"])
def test_cgroups_path(runtime: UserRuntime, bundle: Bundle, new_id: NewId, path: str) -> None:
    bundle.linux["cgroupsPath"] = path
    words = ["/linux/cgroupsPath", "permission denied", "delegated"] if runtime.is_ocipy else ["permission denied"]
    runtime.create(bundle.args("true"), new_id()).fails(*words)
    assert runtime.ids() == []


def test_device_rules_are_left_out(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """They need privileges on the host. The container can open the same devices as the user."""
    bundle.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    assert runtime.run(bundle.sh("cat /dev/null && echo open"), new_id()).ok().stdout == "open\n"


@pytest.fixture
def delegated(runtime: UserRuntime) -> Iterator[str]:
    """A cgroup in every hierarchy that the user owns, with the runtime's caller in it."""
    if os.geteuid() != 0:
        pytest.skip("only root can delegate a cgroup")
    name = CGROUP_PARENT + "/delegated"
    places = [path / name for path in TOP.iterdir() if (path / "cgroup.procs").exists()]
    for place in places:
        place.mkdir(parents=True)
        if place.is_relative_to(TOP / "cpuset"):
            for directory in (place.parent, place):
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (directory / file).write_text((TOP / "cpuset" / file).read_text())
        for path in [place, *place.iterdir()]:
            os.chown(path, runtime.uid, runtime.gid)
    enter = "".join(f"echo 0 > {place}/cgroup.procs; " for place in places)
    runtime.user = ["sh", "-c", enter + 'exec "$@"', "sh", *runtime.user]
    yield "/" + name
    for place in places:
        place.rmdir()


@pytest.mark.needs_cgroup_v1
def test_limits_in_a_delegated_cgroup(container: MakeContainer, bundle: Bundle, delegated: str) -> None:
    bundle.linux["resources"] = {"pids": {"limit": 20}, "memory": {"limit": 64 << 20}, "cpu": {"shares": 512}}
    one = container(bundle.args("sleep", "1000"))
    own = f"{delegated}/{one.id}"
    assert {name: path for name, path in one.cgroups().items() if name in ("pids", "memory", "cpu")} == {
        "pids": own, "memory": own, "cpu": own,
    }  # fmt: skip
    found = [("pids", "pids.max"), ("memory", "memory.limit_in_bytes"), ("cpu", "cpu.shares")]
    values = [(TOP / name / own.lstrip("/") / file).read_text().strip() for name, file in found]
    assert values == ["20", str(64 << 20), "512"]
    one.start()
    one.end()
    assert not (TOP / "pids" / own.lstrip("/")).exists()


@pytest.mark.differs_from_runc("runc fails")
def test_oom_score_that_cannot_be_lowered(container: MakeContainer, bundle: Bundle) -> None:
    """Engines pass their own default, so this is only a warning, and the score stays."""
    before = int(Path("/proc/self/oom_score_adj").read_text())
    if os.geteuid() == 0 and before <= -900:
        pytest.skip("nothing is lower")
    bundle.process["oomScoreAdj"] = before - 100
    one = container(bundle.args("sleep", "1000"))
    assert int(one.proc("oom_score_adj").read_text()) == before
    assert one.created is not None
    assert "/process/oomScoreAdj" in one.created.stderr


def test_oom_score_that_is_raised(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["oomScoreAdj"] = 321
    one = container(bundle.args("sleep", "1000"))
    assert one.proc("oom_score_adj").read_text() == "321\n"


def test_rlimit_above_the_users(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """root in a user namespace cannot raise a hard limit."""
    if os.geteuid() == 0:
        runtime.user = ["prlimit", "--nofile=500:1000", *runtime.user]
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1 << 20, "hard": 1 << 20}]
    words = ["/process/rlimits/0", "CAP_SYS_RESOURCE"] if runtime.is_ocipy else ["operation not permitted"]
    runtime.create(bundle.args("true"), new_id()).fails(*words)
    assert runtime.ids() == []


def test_clocks(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 7000}, "boottime": {"secs": 9000}}
    before = float(Path("/proc/uptime").read_text().split()[0])
    seen = float(runtime.run(bundle.sh("cut -d' ' -f1 /proc/uptime"), new_id()).ok().stdout)
    assert 9000 <= seen - before < 9100


@pytest.mark.ocipy_only("the words are ocipy's")
def test_neither_cgroup_nor_pid_namespace(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """Nothing can find processes that the container leaves behind, so the warning comes in advance."""
    bundle.without_namespace("pid")
    entry = next(mount for mount in bundle.config["mounts"] if mount["destination"] == "/proc")
    entry.update(type="bind", source="/proc", options=["rbind"])
    assert "neither its own cgroup nor its own pid namespace" in runtime.run(bundle.args("true"), new_id()).ok().stderr
