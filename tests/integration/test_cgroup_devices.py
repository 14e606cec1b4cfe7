"""The allowed device list: the devices that a process in the cgroup can really open and create."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ocipy.cgroups.device_filter import set_v2
from ocipy.cgroups.devices import ALL, ANY, DEFAULT_RULES, DENY_ALL, MKNOD, READ, WRITE
from ocipy.linux import _kernel
from ocipy.linux.constants import BPF_CGROUP_DEVICE
from tests.harness import Bundle, Container, Host, Result, cgroup_value
from tests.harness.look import cgroup_hierarchies
from tests.integration.conftest import TOKEN

if TYPE_CHECKING:
    from ocipy.cgroups.devices import Rule

MakeContainer = Callable[..., Container]
RunScript = Callable[..., Result]

ROOT_CAPABILITIES = ["CAP_MKNOD", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"]


def with_mknod(bundle: Bundle, *rules: dict[str, Any]) -> Bundle:
    """A container that can create and use nodes as far as the cgroup allows: /tmp is on a disk without nodev."""
    bundle.capabilities(*ROOT_CAPABILITIES)
    bundle.linux["resources"]["devices"] = list(rules)
    bundle.config["root"]["readonly"] = False
    return bundle


PROBE = """
try() { ( "$@" ) >/dev/null 2>&1 && echo yes || echo no; }
mknod /tmp/sda b 8 0 && mknod /tmp/mem c 1 1 && mknod /tmp/kmsg c 1 11 && echo made
echo null $(try sh -c 'echo x > /dev/null') zero $(try head -c 1 /dev/zero) mem $(try sh -c ': < /tmp/mem') \
 kmsg-r $(try sh -c ': < /tmp/kmsg') kmsg-w $(try sh -c ': > /tmp/kmsg')
"""


@pytest.mark.smoke
@pytest.mark.parametrize("rules", [[], [{"allow": False, "access": "rwm"}]], ids=["none", "deny"])
def test_go_2022_0396_only_the_default_devices_are_allowed_by_default(
    sh: RunScript, bundle: Bundle, rules: list[dict[str, Any]]
) -> None:
    """A process can create any node, which is harmless, but open only the default devices."""
    result = sh(PROBE, with_mknod(bundle, *rules)).ok()
    assert result.stdout.split("\n")[:2] == ["made", "null yes zero yes mem no kmsg-r no kmsg-w no"]


def test_block_device_is_refused_by_the_cgroup(sh: RunScript, bundle: Bundle) -> None:
    result = sh("mknod /tmp/sda b 8 0 && dd if=/tmp/sda of=/dev/null count=1", with_mknod(bundle))
    assert result.status != 0
    assert "Operation not permitted" in result.stderr, "ENXIO would be the driver's answer, so the open got through"


def test_rules_in_order(sh: RunScript, bundle: Bundle) -> None:
    with_mknod(
        bundle,
        {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "rwm"},
        {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "w"},
    )
    assert "mem no kmsg-r yes kmsg-w no" in sh(PROBE, bundle).stdout


def test_missing_numbers_mean_any(sh: RunScript, bundle: Bundle) -> None:
    with_mknod(bundle, {"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "access": "r"})
    assert "kmsg-r yes kmsg-w no" in sh(PROBE, bundle).stdout


def test_privileged(sh: RunScript, bundle: Bundle) -> None:
    with_mknod(bundle, {"allow": False, "access": "rwm"}, {"allow": True, "access": "rwm"})
    assert "kmsg-r yes" in sh(PROBE, bundle).stdout


@pytest.mark.needs_cgroup_v1
def test_device_list_on_v1(container: MakeContainer, bundle: Bundle) -> None:
    with_mknod(bundle, {"allow": False, "access": "rwm"}, {"allow": True, "type": "b", "major": 8, "access": "r"})
    one = container(bundle.args("sleep", "1000"))
    assert sorted(cgroup_value(one.pid, "devices", "devices.list").splitlines()) == sorted(
        ["b 8:* r", "c *:* m", "b *:* m", "c 136:* rwm"]
        + [f"c {numbers} rwm" for numbers in ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2", "10:200")]
    )


@pytest.mark.needs_cgroup_v1
@pytest.mark.ocipy_only("another text")
def test_hole_in_a_wildcard_is_refused(runtime: Any, bundle: Bundle, new_id: Callable[[], str]) -> None:
    with_mknod(
        bundle,
        {"allow": True, "type": "c", "major": 1, "access": "rwm"},
        {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "w"},
    )
    runtime.create(bundle.args("true"), new_id()).fails("/linux/resources/devices/1")


def test_a_configured_node_replaces_the_rule_of_the_default_one(sh: RunScript, bundle: Bundle) -> None:
    with_mknod(bundle)
    bundle.linux["devices"] = [{"path": "/dev/full", "type": "c", "major": 1, "minor": 7}]
    result = sh(": < /dev/full && echo opened", bundle)
    assert result.stdout == ""


# The v2 program, if the host has a v2 hierarchy: containers on a hybrid host do not use it.


@pytest.fixture
def unified(host: Host) -> Iterator[Path]:
    """A v2 cgroup."""
    top = cgroup_hierarchies().get("")
    if top is None:
        pytest.skip(f"this host ({host.cgroup}) has no v2 hierarchy")
    path = top / f"{TOKEN}-devices"
    path.mkdir()
    yield path
    path.rmdir()


def attempt(cgroup: Path, work: Path, kind: str, major: int, minor: int, how: int) -> int:
    """The errno of a process in the cgroup that creates (how is -1) or opens a device; 0 on success."""
    node = work / f"{kind}{major}.{minor}"
    mode = (stat.S_IFCHR if kind == "c" else stat.S_IFBLK) | 0o600
    if how >= 0 and not node.exists():
        os.mknod(node, mode, os.makedev(major, minor))
    pid = os.fork()
    if pid == 0:
        try:
            (cgroup / "cgroup.procs").write_text("0")
            if how < 0:
                os.mknod(work / "made", mode, os.makedev(major, minor))
                (work / "made").unlink()
            else:
                os.close(os.open(node, how | os.O_NONBLOCK))
        except OSError as error:
            os._exit(error.errno or 255)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def programs(cgroup: Path) -> list[int]:
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _kernel.bpf_prog_query(fd, BPF_CGROUP_DEVICE)
    finally:
        os.close(fd)


@pytest.mark.ocipy_only("the library's own")
class TestProgram:
    """Loaded and attached for real."""

    @pytest.mark.parametrize(
        ("rules", "verdicts"),
        [
            ([], [0, 0, 0, 0]),
            (list(DEFAULT_RULES), [1, 1, 1, 0]),
            ([DENY_ALL, (True, "c", 1, 3, READ)], [1, 0, 0, 0]),
            ([DENY_ALL, (True, "c", 1, ANY, READ | WRITE), (False, "c", 1, 3, WRITE)], [1, 0, 0, 1]),
            ([(True, "a", ANY, ANY, ALL), (False, "c", 1, 11, WRITE | READ)], [1, 1, 1, 0]),
            ([(True, "a", ANY, 3, ALL), (False, "b", 1, 3, ALL)], [1, 1, 1, 0]),
            ([(True, "c", ANY, ANY, MKNOD)], [0, 0, 1, 0]),
            ([(True, "c", 1, 3, READ), (True, "c", 1, 3, WRITE)], [1, 1, 0, 0]),
        ],
    )
    def test_verdicts(self, unified: Path, work: Path, rules: list[Rule], verdicts: list[int]) -> None:
        """Reading /dev/null, reading and writing it, making it, reading the kernel's log."""
        set_v2(str(unified), rules)
        found = [
            attempt(unified, work, "c", 1, 3, os.O_RDONLY),
            attempt(unified, work, "c", 1, 3, os.O_RDWR),
            attempt(unified, work, "c", 1, 3, -1),
            attempt(unified, work, "c", 1, 11, os.O_RDONLY),
        ]
        assert found == [0 if verdict else errno.EPERM for verdict in verdicts]

    def test_other_cgroups_are_not_affected(self, unified: Path, work: Path) -> None:
        set_v2(str(unified), [])
        Path("/dev/null").write_text("x")

    def test_a_new_program_replaces_the_old_one(self, unified: Path, work: Path) -> None:
        """There is always exactly one program."""
        assert programs(unified) == []
        set_v2(str(unified), [])
        first = programs(unified)
        assert len(first) == 1
        set_v2(str(unified), list(DEFAULT_RULES))
        second = programs(unified)
        assert len(second) == 1 and second != first
        assert attempt(unified, work, "c", 1, 3, os.O_RDWR) == 0

    def test_several_programs_become_one(self, unified: Path, work: Path) -> None:
        from ocipy.cgroups.device_filter import _load
        from ocipy.cgroups.device_program import assemble
        from ocipy.linux.constants import BPF_F_ALLOW_MULTI

        directory = os.open(unified, os.O_RDONLY | os.O_DIRECTORY)
        loaded = [_load(assemble(rules)) for rules in ([], [DENY_ALL, (True, "c", 1, 3, ALL)])]
        for program in loaded:
            _kernel.bpf_prog_attach(directory, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI, -1)
        for fd in (*loaded, directory):
            os.close(fd)
        assert len(programs(unified)) == 2
        set_v2(str(unified), list(DEFAULT_RULES))
        assert len(programs(unified)) == 1
        assert attempt(unified, work, "c", 1, 3, os.O_RDWR) == 0

    def test_the_kernel_accepts_every_shape(self) -> None:
        """Its verifier refuses instructions that are never reached, and jumps to the wrong place."""
        from ocipy.cgroups.device_filter import _load
        from ocipy.cgroups.device_program import assemble

        chance = random.Random(1)  # the same rules each time
        for _ in range(300):
            rules: list[Rule] = [
                (
                    chance.random() < 0.7,
                    chance.choice("abc"),
                    chance.choice((-1, 1, 5)),
                    chance.choice((-1, 0, 3)),
                    bits,
                )
                for bits in chance.choices((READ, WRITE, ALL), k=chance.randrange(9))
            ]
            os.close(_load(assemble(rules)))

    def test_thousands_of_rules(self, unified: Path, work: Path) -> None:
        """More than the verifier keeps branches in mind."""
        set_v2(str(unified), [(True, "c", 1, minor, ALL) for minor in range(9000)])
        assert attempt(unified, work, "c", 1, 3, os.O_RDWR) == 0

    def test_many_rules(self, unified: Path, work: Path) -> None:
        rules: list[Rule] = [(True, "c", 200, minor, READ) for minor in range(300)]
        set_v2(str(unified), [*rules, (True, "c", 1, 3, READ)])
        assert attempt(unified, work, "c", 1, 3, os.O_RDONLY) == 0
        assert attempt(unified, work, "c", 1, 3, os.O_RDWR) == errno.EPERM
