"""Namespaces: every kind, new or joined by path, in any order; refusals; user namespaces and their maps."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, namespace, parse_status, wait_until
from tests.harness.host import private_network

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]

# The specification's names and the kernel's (/proc/PID/ns).
KINDS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt", "cgroup": "cgroup"}


def inside(result: Result) -> dict[str, str]:
    """The output of a shell loop over /proc/self/ns as a dictionary."""
    return dict(line.split(" ", 1) for line in result.ok().lines if " " in line)


LIST = "for n in /proc/self/ns/*; do echo ${n##*/} $(readlink $n); done"


@pytest.mark.smoke
def test_all_kinds_new(container: MakeContainer) -> None:
    one = container()
    for kind, name in KINDS.items():
        assert one.namespace(name) != namespace("self", name), kind
    assert one.namespace("user") == namespace("self", "user")
    before = {name: one.namespace(name) for name in KINDS.values()}
    one.start()
    assert before == {name: one.namespace(name) for name in KINDS.values()}


def test_inside_and_outside_agree(container: MakeContainer) -> None:
    one = container(sh=LIST + "; echo end; exec sleep 1000").start()
    lines = one.wait_output("end").splitlines()
    seen = dict(line.split(" ", 1) for line in lines if " " in line)
    for name in KINDS.values():
        assert seen[name] == one.namespace(name)


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_a_missing_kind_is_the_callers(container: MakeContainer, bundle: Bundle, kind: str) -> None:
    bundle.without_namespace(kind)
    if kind == "uts":
        del bundle.config["hostname"]
    if kind == "network":
        bundle.without_mount("/sys", "/sys/fs/cgroup")
    one = container(bundle.args("sleep", "1000"))
    for name in (KINDS[kind], "time", "user"):
        assert one.namespace(name) == namespace("self", name), name


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "cgroup"])
def test_kind_joined_by_path(container: MakeContainer, make_bundle: Callable[..., Bundle], kind: str) -> None:
    first = container().start()
    bundle = make_bundle()
    for entry in bundle.linux["namespaces"]:
        if entry["type"] == kind:
            entry["path"] = f"/proc/{first.pid}/ns/{KINDS[kind]}"
    second = container(bundle.args("sleep", "1000")).start()
    for each, name in KINDS.items():
        shared = second.namespace(name) == first.namespace(name)
        assert shared == (each == kind), each
    second.end()
    assert first.status == "running"
    first.end()


def test_pid_namespace_joined(container: MakeContainer, make_bundle: Callable[..., Bundle]) -> None:
    """The second container sees the first as pid 1, and ends with it."""
    first = container().start()
    bundle = make_bundle()
    bundle.linux["namespaces"][0]["path"] = f"/proc/{first.pid}/ns/pid"
    second = container(bundle, sh="cat /proc/1/comm; echo $$; exec sleep 1000").start()
    second.wait_output("\n")
    assert second.stdout.startswith("sleep\n")
    assert second.proc_status()["NSpid"].split()[-1] != "1"
    first.kill()
    # The first process can end only when all others of its pid namespace have been reaped.
    second.wait_dead()
    assert second.status == "stopped"
    assert second.reap() == 128 + 9
    assert first.reap() == 128 + 9
    for one in (second, first):
        one.runtime.delete(one.id).ok()


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_joined_in_any_order(container: MakeContainer, make_bundle: Callable[..., Bundle], order: int) -> None:
    """The order of the list must not matter, even with a user namespace that owns the others."""
    owner = make_bundle().user_namespace()
    first = container(owner.args("sleep", "1000")).start()
    kinds = ["user", "network", "ipc", "uts", "pid"]
    rotated = list(itertools.islice(itertools.cycle(kinds), order, order + len(kinds)))
    bundle = make_bundle().searchable()
    bundle.linux["namespaces"] = [
        {"type": kind, "path": f"/proc/{first.pid}/ns/{KINDS.get(kind, kind)}"} for kind in rotated
    ] + [{"type": "mount"}]
    second = container(bundle, sh="id -u; exec sleep 1000").start()
    second.wait_output("0\n")
    for kind in kinds:
        name = KINDS.get(kind, kind)
        assert second.namespace(name) == first.namespace(name)
    assert second.proc("uid_map").read_text().split() == ["0", "100000", "65536"]
    second.end()
    first.end()


def test_host_namespace_joined_with_a_new_user_namespace(container: MakeContainer, bundle: Bundle) -> None:
    """A namespace that the new user namespace does not own can only be joined before it."""
    bundle.user_namespace()
    bundle.without_mount(
        "/sys", "/sys/fs/cgroup"
    )  # sysfs cannot be mounted in a network namespace of another user namespace
    for entry in bundle.linux["namespaces"]:
        if entry["type"] == "network":
            entry["path"] = f"/proc/{os.getpid()}/ns/net"
    one = container(bundle.args("sleep", "1000"))
    assert one.namespace("net") == namespace("self", "net")
    assert one.namespace("user") != namespace("self", "user")


@pytest.mark.parametrize(
    ("kind", "given"), [("network", "ipc"), ("ipc", "net"), ("uts", "net"), ("pid", "uts"), ("user", "net")]
)
def test_path_of_the_wrong_kind(runtime: Runtime, bundle: Bundle, new_id: NewId, kind: str, given: str) -> None:
    bundle.without_namespace(kind)
    bundle.linux["namespaces"].append({"type": kind, "path": f"/proc/self/ns/{given}"})
    result = runtime.create(bundle.args("true"), new_id()).fails()
    if runtime.is_ocipy:
        assert f"/linux/namespaces/{len(bundle.linux['namespaces']) - 1}" in result.stderr
    assert runtime.ids() == []


@pytest.mark.parametrize("path", ["/no/such/ns", "/dev/null", "/etc", "relative/ns"])
def test_a_path_that_is_not_a_namespace(runtime: Runtime, bundle: Bundle, new_id: NewId, path: str) -> None:
    bundle.linux["namespaces"] = [{"type": "mount"}, {"type": "network", "path": path}]
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []


def test_path_that_is_a_fifo_does_not_hang(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    os.mkfifo(work / "fifo")
    bundle.linux["namespaces"] = [{"type": "mount"}, {"type": "network", "path": str(work / "fifo")}]
    runtime.create(bundle.args("true"), new_id(), timeout=10).fails()


def test_kind_given_twice(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["namespaces"].append({"type": "network"})
    runtime.create(bundle.args("true"), new_id()).fails("network")
    assert runtime.ids() == []


@pytest.mark.ocipy_only("runc ignores mappings if there is no user namespace")
@pytest.mark.ocipy_only("runc says nothing")
def test_mappings_without_user_namespace(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1}]
    assert "warning: /linux/uidMappings: has no effect" in runtime.run(bundle.args("true"), new_id()).ok().stderr


def test_user_namespace_without_mappings(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    runtime.create(bundle.args("true").searchable(), new_id()).fails("mapping")


@pytest.mark.parametrize(
    "maps",
    [
        [{"containerID": 0, "hostID": 100000, "size": 0}],
        [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 5, "hostID": 200000, "size": 10}],
    ],
)
def test_mappings_that_the_kernel_refuses(
    runtime: Runtime, bundle: Bundle, new_id: NewId, maps: list[dict[str, int]]
) -> None:
    bundle.user_namespace()
    bundle.linux["uidMappings"] = maps
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []


@pytest.mark.smoke
def test_user_namespace(container: MakeContainer, bundle: Bundle) -> None:
    """Root inside, 100000 outside, with capabilities inside its user namespace."""
    bundle.user_namespace()
    bundle.config["root"]["readonly"] = False
    os.chown(bundle.rootfs, 100000, 100000)
    one = container(bundle, sh="id -u; id -g; touch /made; echo end; exec sleep 1000").start()
    assert one.wait_output("end").split() == ["0", "0", "end"]
    status = one.proc_status()
    assert status["Uid"].split() == ["100000"] * 4
    assert status["Gid"].split() == ["100000"] * 4
    assert (bundle.rootfs / "made").stat().st_uid == 100000
    assert one.proc("uid_map").read_text().split() == ["0", "100000", "65536"]
    assert one.proc("gid_map").read_text().split() == ["0", "100000", "65536"]
    assert one.namespace("user") != namespace("self", "user")


def test_user_namespace_with_several_mappings(container: MakeContainer, bundle: Bundle) -> None:
    bundle.user_namespace()
    bundle.linux["uidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 1000},
        {"containerID": 1000, "hostID": 300000, "size": 1},
        {"containerID": 1001, "hostID": 101001, "size": 500},
    ]
    bundle.process["user"] = {"uid": 1000, "gid": 3}
    one = container(bundle, sh="id -u; id -g; exec sleep 1000").start()
    one.wait_output("1000\n3\n")
    assert one.proc_status()["Uid"].split()[0] == "300000"
    assert one.proc_status()["Gid"].split()[0] == "100003"
    lines = one.proc("uid_map").read_text().splitlines()
    assert [line.split() for line in lines] == [
        ["0", "100000", "1000"],
        ["1000", "300000", "1"],
        ["1001", "101001", "500"],
    ]


def test_user_namespace_where_root_is_not_mapped(sh: Callable[..., Result], bundle: Bundle) -> None:
    """Whether or not 0 is mapped: with only uid 1000 mapped, the setup still needs a root."""
    bundle.user_namespace()
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 2000}]
    assert sh("id -u", bundle).ok().stdout == "1000\n"


def test_user_namespace_keeps_the_host_out(sh: Callable[..., Result], bundle: Bundle) -> None:
    """A file of host root belongs to nobody inside, and no capability of the container makes it writable."""
    bundle.user_namespace()
    bundle.config["root"]["readonly"] = False
    bundle.process["capabilities"]["effective"] = bundle.process["capabilities"]["permitted"] = ["CAP_DAC_OVERRIDE"]
    bundle.process["capabilities"]["bounding"] = ["CAP_DAC_OVERRIDE"]
    secret = bundle.file("/etc/secret", "secret\n", 0o600)
    result = sh("stat -c %u /etc/secret; echo x >> /etc/secret || echo refused", bundle).ok()
    assert result.lines == ["65534", "refused"]
    assert secret.read_text() == "secret\n"


@pytest.mark.parametrize("joined", [False, True])
def test_user_namespace_leaves_the_owners_of_the_root(
    container: MakeContainer, make_bundle: Callable[..., Bundle], joined: bool
) -> None:
    """config-linux.md: the runtime SHOULD NOT modify the ownership of the filesystems to realize the mapping."""
    bundle = make_bundle(hardlinks=False).user_namespace()
    source = bundle.path / "source"
    (source / "below").mkdir(parents=True)
    os.chown(source / "below", 1234, 5678)
    (bundle.rootfs / "mnt").mkdir()
    bundle.config["mounts"].append({"destination": "/mnt", "source": str(source), "options": ["rbind"]})

    def owners() -> dict[str, tuple[int, int]]:
        found = [bundle.rootfs, *bundle.rootfs.rglob("*"), source, *source.rglob("*")]
        return {str(path): (path.lstat().st_uid, path.lstat().st_gid) for path in found}

    if joined:
        first = container(make_bundle().user_namespace().args("sleep", "1000")).start()
        bundle.searchable()
        bundle.linux["namespaces"] = [space for space in bundle.linux["namespaces"] if space["type"] != "user"]
        bundle.linux["namespaces"].append({"type": "user", "path": f"/proc/{first.pid}/ns/user"})
        del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
    before = owners()
    container(bundle, sh="true")
    after = owners()
    assert {path: after[path] for path in before} == before


def test_user_namespace_devices_and_proc_work(sh: Callable[..., Result], bundle: Bundle) -> None:
    bundle.user_namespace()
    result = sh(
        "echo x > /dev/null && head -c 4 /dev/zero | wc -c && ls /dev/pts/ptmx && test -r /proc/self/status && "
        "ls -l /dev/null | cut -c1",
        bundle,
    )
    assert result.ok().lines == ["4", "/dev/pts/ptmx", "c"]


def test_user_namespace_joined(container: MakeContainer, make_bundle: Callable[..., Bundle]) -> None:
    first = container(make_bundle().user_namespace().args("sleep", "1000")).start()
    bundle = make_bundle().searchable()
    bundle.linux["namespaces"].append({"type": "user", "path": f"/proc/{first.pid}/ns/user"})
    second = container(bundle, sh="id -u; exec sleep 1000").start()
    second.wait_output("0\n")
    assert second.namespace("user") == first.namespace("user")
    assert second.namespace("net") != first.namespace("net")
    second.end()
    first.end()


def test_nested_user_namespaces_are_not_needed_for_pid_one(sh: Callable[..., Result], bundle: Bundle) -> None:
    bundle.user_namespace()
    status = parse_status(sh("cat /proc/1/status", bundle).ok().stdout)
    assert status["Pid"] == "1"
    assert status["NSpid"] == "1"


@pytest.mark.parametrize("joined", [False, True])
def test_time_namespace(container: MakeContainer, make_bundle: Callable[..., Bundle], joined: bool) -> None:
    bundle = make_bundle()
    bundle.linux["namespaces"].append({"type": "time"})
    one = container(bundle.args("sleep", "1000")).start()
    assert one.namespace("time") != namespace("self", "time")
    if joined:
        bundle = make_bundle()
        bundle.linux["namespaces"].append({"type": "time", "path": f"/proc/{one.pid}/ns/time"})
        second = container(bundle.args("sleep", "1000")).start()
        assert second.namespace("time") == one.namespace("time")
        second.end()
    one.end()


def test_time_offsets(sh: Callable[..., Result], bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 172800, "nanosecs": 0}, "boottime": {"secs": 604800}}
    result = sh("cat /proc/self/timens_offsets; cat /proc/uptime", bundle).ok()
    assert [line.split()[:2] for line in result.lines[:2]] == [["monotonic", "172800"], ["boottime", "604800"]]
    host = float(Path("/proc/uptime").read_text().split()[0])
    assert 604800 - 5 < float(result.lines[2].split()[0]) - host < 604800 + 5


def test_time_offsets_without_time_namespace(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 604800}}
    runtime.create(bundle.args("true"), new_id()).fails("time")
    assert runtime.ids() == []


@pytest.mark.parametrize("symlink", [False, True])
def test_a_mount_of_its_network_namespace_is_not_the_hosts(
    container: MakeContainer, bundle: Bundle, work: Path, symlink: bool
) -> None:
    """With CAP_SYS_ADMIN, setns(2) would lead out through the host's."""
    source = "/proc/self/ns/net"
    if symlink:
        (work / "link").symlink_to(source)
        source = str(work / "link")
    bundle.config["mounts"].insert(1, {"destination": "/net", "source": source, "options": ["bind"]})
    one = container(bundle, sh="stat -L -c %i /net /proc/self/ns/net; echo end; exec sleep 1000").start()
    mounted, current = one.wait_output("end").split()[:2]
    assert mounted == current


def test_loopback_is_up_in_a_new_network_namespace(sh: Callable[..., Result]) -> None:
    result = sh("ip -o link; ip -o -4 addr").ok()
    assert len([line for line in result.lines if "link/" in line]) >= 1
    assert "LOOPBACK,UP" in result.stdout
    assert "127.0.0.1/8" in result.stdout


def test_loopback_of_a_joined_network_namespace_is_left_alone(
    sh: Callable[..., Result], container: MakeContainer, make_bundle: Callable[..., Bundle]
) -> None:
    first = container().start()
    first.enter("ip link set lo down").ok()
    bundle = make_bundle()
    for entry in bundle.linux["namespaces"]:
        if entry["type"] == "network":
            entry["path"] = f"/proc/{first.pid}/ns/net"
    assert "LOOPBACK,UP" not in sh("ip -o link", bundle).ok().stdout


@pytest.mark.parametrize("kind", ["cgroup"])
def test_cgroup_namespace_begins_at_the_containers_cgroup(sh: Callable[..., Result], kind: str) -> None:
    paths = {line.split(":", 2)[2] for line in sh("cat /proc/self/cgroup").ok().lines}
    assert paths == {"/"}, kind


def test_init_is_pid_one_and_alone(sh: Callable[..., Result]) -> None:
    assert sh("echo $$; ls -d /proc/[0-9]*").ok().lines == ["1", "/proc/1"]


@pytest.mark.needs_program("ip")
def test_namespaces_end_with_the_container(container: MakeContainer) -> None:
    """A network device whose peer is inside disappears with the namespace: network_namespaces(7)."""
    with private_network():
        subprocess.run(["ip", "link", "add", "outer", "type", "veth", "peer", "name", "inner"], check=True)
        one = container().start()
        subprocess.run(["ip", "link", "set", "inner", "netns", str(one.pid)], check=True)
        devices = Path("/proc/thread-self/net/dev")
        assert "outer:" in devices.read_text()
        one.kill("KILL").reap()
        one.runtime.delete(one.id).ok()
        wait_until(lambda: "outer:" not in devices.read_text(), "the end of the network namespace")


def test_namespaces_that_others_hold_do_not_delay_the_end(container: MakeContainer, runtime: Runtime) -> None:
    one = container().start()
    kept = {kind: os.open(f"/proc/{one.pid}/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts")}
    one.end()
    for descriptor in kept.values():
        os.close(descriptor)
    assert runtime.ids() == []
