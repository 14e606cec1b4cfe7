"""container checkpoint and restore, which the runtime does with criu."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.podman.conftest import Podman
from tests.harness import wait_until
from tests.harness.criu import has_feature, reason_against

Inspect = Callable[[str, str], str]

COUNT = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"


@pytest.fixture(scope="module", autouse=True)
def criu() -> None:
    """Skips the tests if criu does not work."""
    reason = reason_against()
    if reason:
        pytest.skip(f"{reason}: use tests/vm/run --engines, or set OCIPY_TEST_CRIU to another criu")


@pytest.fixture
def counting(podman: Podman, name: str) -> Callable[..., str]:
    """counting(*flags): the name of a counting container."""

    def start(*flags: str) -> str:
        podman("run", "-d", "--name", name, *(flags or ["--network=none"]), "alpine", "sh", "-c", COUNT).ok()
        wait_until(lambda: "3\n" in podman("logs", name).stdout)
        return name

    return start


def goes_on(podman: Podman, name: str, before: list[str]) -> None:
    """Assert that it continues to count from its last number."""
    wait_until(lambda: len(podman("logs", name).stdout.split()) > len(before))
    numbers = [int(word) for word in podman("logs", name).stdout.split()]
    assert numbers == list(range(1, len(numbers) + 1)), "it continued where it was"


@pytest.mark.smoke
@pytest.mark.feature("container checkpoint, restore")
def test_checkpoint(podman: Podman, counting: Callable[..., str], inspect: Inspect) -> None:
    one = counting()
    podman("container", "checkpoint", one).ok()
    assert inspect(one, "{{.State.Status}}") == "exited"
    before = podman("logs", one).stdout.split()
    podman("container", "restore", one).ok()
    goes_on(podman, one, before)


@pytest.mark.feature("container checkpoint --leave-running")
def test_leave_running(podman: Podman, counting: Callable[..., str], inspect: Inspect) -> None:
    one = counting()
    podman("container", "checkpoint", "--leave-running", one).ok()
    assert inspect(one, "{{.State.Status}}") == "running"
    goes_on(podman, one, podman("logs", one).stdout.split())


@pytest.mark.feature("container checkpoint --export, restore --import, --name")
def test_another_container(podman: Podman, counting: Callable[..., str], inspect: Inspect, tmp_path: Path) -> None:
    """The archive includes the container's changed files and its log."""
    one, archive = counting(), tmp_path / "checkpoint.tar.gz"
    podman("exec", one, "sh", "-c", "echo text > /written").ok()
    podman("container", "checkpoint", "--export", str(archive), one).ok()
    before = podman("logs", one).stdout.split()
    podman("rm", one).ok()
    podman("container", "restore", "--import", str(archive), "--name", f"{one}-2").ok()
    goes_on(podman, f"{one}-2", before)
    assert podman("exec", f"{one}-2", "cat", "/written").text == "text"


@pytest.mark.feature("container checkpoint on a network")
def test_network(podman: Podman, counting: Callable[..., str], inspect: Inspect) -> None:
    """podman creates a new network, and the container joins it."""
    one = counting("--network=podman")
    podman("container", "checkpoint", one).ok()
    before = podman("logs", one).stdout.split()
    podman("container", "restore", one).ok()
    goes_on(podman, one, before)
    assert "eth0" in podman("exec", one, "ls", "/sys/class/net").lines


@pytest.mark.feature("container checkpoint --pre-checkpoint, --with-previous")
def test_pre_checkpoint(podman: Podman, counting: Callable[..., str], inspect: Inspect, tmp_path: Path) -> None:
    if not has_feature("mem_dirty_track"):
        pytest.skip("needs a kernel that tracks changes of memory, CONFIG_MEM_SOFT_DIRTY (criu check: mem_dirty_track)")
    one, first, second = counting(), tmp_path / "first.tar.gz", tmp_path / "second.tar.gz"
    podman("container", "checkpoint", "--pre-checkpoint", "--export", str(first), one).ok()
    assert inspect(one, "{{.State.Status}}") == "running"
    podman("container", "checkpoint", "--with-previous", "--export", str(second), one).ok()
    before = podman("logs", one).stdout.split()
    podman("rm", one).ok()
    podman("container", "restore", "--import-previous", str(first), "--import", str(second)).ok()
    goes_on(podman, one, before)
