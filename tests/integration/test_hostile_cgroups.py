"""Cgroups that a container makes below its own to mislead the runtime, or to be in its way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, cgroups_of, wait_until
from tests.harness.look import cgroup_hierarchies
from tests.integration.conftest import CGROUP_PARENT
from tests.integration.test_cgroup_mount import WRITABLE, options

MakeContainer = Callable[..., Container]


# exec goes where the container's process is, and no further.

# A domain controller for the children, so that the cgroup itself takes no process.
SHUT = """
for controller in memory io hugetlb; do
    grep -qw $controller cgroup.controllers && echo +$controller >cgroup.subtree_control && break
done
echo ready
exec sleep 1000
"""


@pytest.fixture
def unified(bundle: Bundle) -> Bundle:
    """A bundle with the v2 cgroup to write to, which has a domain controller."""
    mount = cgroup_hierarchies().get("")
    if mount is None:
        pytest.skip("this host has no v2 hierarchy")
    known = (mount / "cgroup.controllers").read_text().split()
    if "memory" not in known and "io" not in known:
        # On a hybrid host a controller is enabled only where the config asks for one.
        bundle.linux["resources"]["unified"] = {"hugetlb.2MB.max": "0"}
    return options(bundle, *WRITABLE, type="cgroup2")


@pytest.fixture
def victim() -> Iterator[str]:
    """A cgroup that is not the container's, as /proc/PID/cgroup has it."""
    path = f"/{CGROUP_PARENT}/victim"
    directory = cgroup_hierarchies()[""] / path.lstrip("/")
    directory.mkdir(parents=True)
    yield path
    for pid in (directory / "cgroup.procs").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: not (directory / "cgroup.procs").read_text())
    directory.rmdir()


@pytest.mark.parametrize("octal", ["034", "035", "036", "013", "014", "015", "302\\205", "342\\200\\250"])
def test_exec_believes_no_line_that_is_forged_in_the_name_of_a_cgroup(
    container: MakeContainer, unified: Bundle, victim: str, octal: str
) -> None:
    """What str.splitlines() takes for the end of a line, and then another line of /proc/PID/cgroup."""
    script = rf"""
    cd /sys/fs/cgroup
    forged=$(printf 'x\{octal}0::')
    mkdir -p "$forged{victim}" && echo 1 >"$forged{victim}/cgroup.procs"
    """
    one = container(unified, sh=script + SHUT).start()
    one.wait_output("ready")
    assert "0::" in cgroups_of(one.pid)[""]
    ran = one.sh("cat /proc/self/cgroup; sleep 0.1")
    directory = cgroup_hierarchies()[""] / victim.lstrip("/")
    assert (directory / "cgroup.procs").read_text() == ""
    assert ran.ok().stdout.endswith(f"0::{victim}\n")


@pytest.mark.ocipy_only("runc follows its process anywhere")
def test_exec_follows_the_containers_process_below_its_cgroup_only(
    container: MakeContainer, unified: Bundle, victim: str
) -> None:
    """Neither to another cgroup, nor to one whose name begins alike."""
    one = container(unified, sh="cd /sys/fs/cgroup; mkdir init; echo 1 >init/cgroup.procs" + SHUT).start()
    one.wait_output("ready")
    top = cgroup_hierarchies()[""]
    own = unified.linux["cgroupsPath"]
    assert one.exec("cat", "/proc/self/cgroup").ok().stdout.endswith("0::/init\n")
    alike = top / (own + "x").lstrip("/")
    alike.mkdir()
    try:
        for place in (top / victim.lstrip("/"), alike):
            (place / "cgroup.procs").write_text(str(one.pid))
            one.exec("true").fails(f"cannot join the cgroup {top}{own}", status=255)
        (top / own.lstrip("/") / "init/cgroup.procs").write_text(str(one.pid))
        one.exec("true").ok()
    finally:
        (top / own.lstrip("/") / "init/cgroup.procs").write_text(str(one.pid))
        alike.rmdir()
