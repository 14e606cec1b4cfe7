"""linux.netDevices: moved with name, addresses and attributes, and moved back if create fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Runtime, process_state, wait_until
from tests.harness.host import private_network

pytestmark = pytest.mark.needs_program("ip")

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
Check = Callable[[], None]


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20).stdout


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """A pair of network devices in a test network namespace: tests must not touch the host's."""
    with private_network():
        ip("link", "add", "left", "type", "veth", "peer", "name", "right")
        ip("link", "set", "lo", "up")
        yield "left", "right"


@pytest.fixture
def dressed(pair: tuple[str, str]) -> tuple[str, str]:
    """The pair with everything that a device can lose in a move, and a third device, which is down."""
    left, right = pair
    ip("link", "add", "bridge", "type", "bridge")
    ip("link", "set", "bridge", "up")
    ip("link", "set", right, "master", "bridge", "alias", "the right one", "up")
    ip("link", "add", "idle", "type", "veth", "peer", "name", "peer")
    ip("addr", "add", "192.0.2.77/32", "dev", "idle")
    ip("link", "property", "add", "dev", left, "altname", "left-and-more")
    Path(f"/proc/sys/net/ipv4/conf/{left}/arp_announce").write_text("2")
    Path(f"/proc/sys/net/ipv6/conf/{left}/accept_ra").write_text("0")
    ip("link", "set", left, "mtu", "1400", "up")
    ip("addr", "add", "192.0.2.7/24", "brd", "+", "dev", left, "label", left + ":1")
    ip("addr", "add", "192.0.2.9/24", "valid_lft", "1000", "preferred_lft", "900", "dev", left)
    ip("addr", "add", "198.51.100.1", "peer", "198.51.100.2/32", "dev", left)
    ip("addr", "add", "2001:db8::7/64", "nodad", "noprefixroute", "dev", left)
    ip("route", "add", "203.0.113.0/24", "via", "192.0.2.1", "metric", "7", "src", "192.0.2.7")
    ip("route", "add", "default", "via", "192.0.2.1", "table", "100", "mtu", "1300")
    ip("route", "add", "2001:db8:1::/48", "via", "2001:db8::1", "dev", left, "onlink")
    return pair


def network() -> dict[str, Any]:
    """ip(8)'s facts about the devices of this network namespace, except counters and transient ones."""
    passing = ("valid_life_time", "preferred_life_time", "linkmode", "operstate", "tentative", "flags")

    def lasting(found: Any) -> Any:
        if isinstance(found, dict):
            return {name: lasting(value) for name, value in found.items() if name not in passing}
        return [lasting(value) for value in found] if isinstance(found, list) else found

    devices = json.loads(ip("-j", "addr"))
    return {
        "devices": {device["ifname"]: lasting(device) for device in devices},
        "up": {device["ifname"]: "UP" in device["flags"] for device in devices},
        "routes": [sorted(ip(kind, "route", "show", "table", "all").splitlines()) for kind in ("-4", "-6")],
        "sysctls": {
            str(path): path.read_text()
            for device in ("left", "right")
            for kind, name in (("ipv4", "arp_announce"), ("ipv6", "accept_ra"))
            for path in [Path(f"/proc/sys/net/{kind}/conf/{device}/{name}")]
            if path.exists()
        },
    }


def settled() -> dict[str, Any]:
    """Return the network once IPv6 has come up: a link-local address and its routes appear by themselves."""
    wait_until(lambda: "tentative" not in ip("-6", "addr") and "fe80" in ip("-6", "addr", "show", "dev", "left"))
    return network()


def devices_of(one: Container) -> dict[str, Any]:
    argv = ["nsenter", "-t", str(one.pid), "-n", "ip", "-j", "addr"]
    answer = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20)
    return {entry["ifname"]: entry for entry in json.loads(answer.stdout)}


def script_hook(bundle: Bundle, kind: str, script: str) -> None:
    bundle.config["hooks"] = {kind: [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}


@pytest.mark.differs_from_runc("runc 1.5 loses the IPv6 addresses of a device that is up")
def test_moved_with_its_addresses(container: MakeContainer, bundle: Bundle, pair: tuple[str, str]) -> None:
    ip("addr", "add", "192.0.2.7/24", "brd", "+", "dev", pair[0])
    ip("addr", "add", "2001:db8::7/64", "nodad", "dev", pair[0])
    ip("addr", "add", "192.0.2.9/24", "valid_lft", "1000", "preferred_lft", "1000", "dev", pair[0])
    ip("link", "set", pair[0], "mtu", "1400", "up")
    bundle.linux["netDevices"] = {pair[0]: {"name": "inside0"}}
    devices = devices_of(container(bundle, args=["sleep", "1000"]))
    assert set(devices) == {"lo", "inside0"}
    device = devices["inside0"]
    assert "UP" in device["flags"]
    assert device["mtu"] == 1400
    found = [entry for entry in device["addr_info"] if entry["scope"] == "global"]
    addresses = {(entry["local"], entry["prefixlen"]) for entry in found}
    # The third has a limited lifetime, so it is not moved.
    assert addresses == {("192.0.2.7", 24), ("2001:db8::7", 64)}


@pytest.mark.parametrize(
    "given",
    [
        {},
        pytest.param(
            {"name": "fresh%d"},
            marks=pytest.mark.differs_from_runc("runc 1.5 does not find it by the name that the kernel chose"),
        ),
    ],
)
def test_names(container: MakeContainer, bundle: Bundle, pair: tuple[str, str], given: dict[str, str]) -> None:
    bundle.linux["netDevices"] = {pair[0]: given}
    devices = devices_of(container(bundle, args=["sleep", "1000"]))
    assert set(devices) == {"lo", "fresh0" if given else pair[0]}


def test_a_device_is_not_moved_back_at_the_end(
    container: MakeContainer, make_bundle: Callable[..., Bundle], pair: tuple[str, str]
) -> None:
    """config-linux.md: it lives as long as the namespace, and the runtime MUST NOT move it out before deletion."""
    keeper = container(make_bundle(), args=["sleep", "1000"])
    bundle = make_bundle()
    for space in bundle.linux["namespaces"]:
        if space["type"] == "network":
            space["path"] = f"/proc/{keeper.pid}/ns/net"
    bundle.linux["netDevices"] = {pair[0]: {"name": "inside0"}}
    one = container(bundle, args=["sleep", "1000"]).start()
    subprocess.run(["nsenter", "-t", str(one.pid), "-n", "ip", "link", "set", "inside0", "down"], check=True)
    before = devices_of(keeper)
    one.kill().wait_dead()
    one.runtime.delete(one.id).ok()
    assert devices_of(keeper) == before
    assert pair[0] not in ip("link")


@pytest.mark.differs_from_runc("runc 1.5 has moved the device by then, and it is lost with the namespace")
def test_a_name_that_is_taken(runtime: Runtime, bundle: Bundle, new_id: NewId, pair: tuple[str, str]) -> None:
    bundle.linux["netDevices"] = {pair[0]: {"name": "lo"}}
    result = runtime.create(bundle, new_id()).fails()
    if runtime.is_ocipy:
        assert f"/linux/netDevices/{pair[0]}/name" in result.stderr
    assert pair[0] in ip("link")
    assert runtime.ids() == []


def test_a_missing_network_device(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["netDevices"] = {"nothere0": {}}
    runtime.create(bundle, new_id()).fails("nothere0")
    assert runtime.ids() == []


@pytest.mark.ocipy_only("runc loses the devices")
class TestAFailedCreate:
    """runtime.md, Errors: as if the operation were never attempted."""

    @pytest.mark.parametrize(
        ("second", "pointer"),
        [
            ({"nothere0": {}}, "/linux/netDevices/nothere0"),
            ({"right": {"name": "lo"}}, "/linux/netDevices/right/name"),
            ({"right": {"name": "left-and-more"}}, "/linux/netDevices/right/name"),
            ({"lo": {"name": "lo2"}}, "/linux/netDevices/lo"),
            ({"left-and-more": {"name": "other"}}, "/linux/netDevices/left-and-more"),
        ],
    )
    def test_everything_is_checked_before_anything_moves(
        self,
        runtime: Runtime,
        bundle: Bundle,
        new_id: NewId,
        dressed: tuple[str, str],
        second: dict[str, Any],
        pointer: str,
    ) -> None:
        before = settled()
        bundle.linux["netDevices"] = {"left": {"name": "first"}, **second}
        monitor = subprocess.Popen(["ip", "monitor", "link"], stdout=subprocess.PIPE, text=True)
        try:
            runtime.create(bundle, new_id()).fails(pointer)
            assert settled() == before
        finally:
            monitor.terminate()
            said, _ = monitor.communicate(timeout=20)
        assert "Deleted" not in said

    @pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
    def test_devices_come_back_after_a_failed_hook(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, dressed: tuple[str, str], kind: str
    ) -> None:
        before = settled()
        bundle.linux["netDevices"] = {"left": {"name": "first"}, "right": {}, "idle": {}}
        script_hook(bundle, kind, "exit 3")
        runtime.create(bundle, new_id()).fails(kind)
        assert settled() == before
        assert runtime.ids() == []

    @pytest.mark.parametrize("command", ["create", "run"])
    def test_devices_come_back_if_the_command_is_missing(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, dressed: tuple[str, str], command: str
    ) -> None:
        before = settled()
        bundle.linux["netDevices"] = {"left": {"name": "in%d"}, "right": {"name": "left"}}
        bundle.args("no-such-command").write()
        runtime.call(command, "--bundle", bundle.path, new_id()).fails(
            "executable file not found in $PATH", status=None
        )
        assert settled() == before

    def test_devices_come_back_from_a_joined_network_namespace(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, dressed: tuple[str, str]
    ) -> None:
        before = settled()
        with subprocess.Popen(["unshare", "-n", "sh", "-c", "echo; read x"], stdin=-1, stdout=-1, text=True) as holder:
            assert holder.stdout is not None and holder.stdin is not None
            holder.stdout.readline()
            bundle.namespaces(pid=None, mount=None, network=f"/proc/{holder.pid}/ns/net")
            bundle.config.pop("hostname")
            bundle.linux["netDevices"] = {"left": {"name": "first"}}
            bundle.args("no-such-command")
            runtime.create(bundle, new_id()).fails("executable file not found")
            assert settled() == before
            # The caller's own namespace: nothing could move.
            bundle.linux["namespaces"][2]["path"] = "/proc/self/ns/net"
            runtime.create(bundle, new_id()).fails("/linux/netDevices", "no device can move there")
            assert settled() == before
            holder.stdin.close()

    def test_devices_come_back_if_one_of_them_cannot_be_set_up(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, dressed: tuple[str, str]
    ) -> None:
        """The first one has moved when the container's namespace refuses the addresses of the second."""
        before = settled()
        words = ["unshare", "-n", "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo; read x"]
        with subprocess.Popen(words, stdin=-1, stdout=-1, text=True) as holder:
            assert holder.stdout is not None and holder.stdin is not None
            holder.stdout.readline()
            bundle.namespaces(pid=None, mount=None, network=f"/proc/{holder.pid}/ns/net")
            bundle.config.pop("hostname")
            bundle.linux["netDevices"] = {"idle": {"name": "first"}, "left": {}}
            runtime.create(bundle, new_id()).fails("/linux/netDevices/left", "cannot move the network device left")
            assert settled() == before
            holder.stdin.close()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    def test_devices_come_back_after_a_signal(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, dressed: tuple[str, str], number: signal.Signals
    ) -> None:
        before = settled()
        marker = bundle.path / "marker"
        bundle.linux["netDevices"] = {"left": {"name": "first"}, "right": {}}
        script_hook(bundle, "createRuntime", f"echo $$ > {marker}; exec sleep 100")
        bundle.args("true").write()
        container_id = new_id()
        running = runtime.begin("create", "--bundle", bundle.path, container_id)
        wait_until(lambda: marker.exists() and marker.read_text().endswith("\n"))
        assert "left" not in network()["devices"]
        running.signal(number)
        running.wait(5)
        if number == signal.SIGKILL:
            os.kill(int(marker.read_text()), signal.SIGKILL)
            # The lock is released once they are back.
            runtime.delete(container_id, force=True).ok()
        assert settled() == before

    def test_devices_come_back_if_init_dies(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, dressed: tuple[str, str]
    ) -> None:
        before = settled()
        bundle.linux["netDevices"] = {"left": {"name": "first"}}
        # A hook gets the state, with the pid of init.
        script_hook(bundle, "createRuntime", "kill -KILL $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')")
        runtime.create(bundle, new_id()).fails("signal 9")
        assert settled() == before

    def test_a_name_that_was_taken_meanwhile(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, pair: tuple[str, str]
    ) -> None:
        bundle.linux["netDevices"] = {"left": {}}
        script_hook(bundle, "createRuntime", "ip link add left type veth peer name other; exit 1")
        bundle.config["hooks"]["createRuntime"][0]["env"] = ["PATH=/usr/sbin:/sbin:/usr/bin:/bin"]
        result = runtime.create(bundle, new_id()).fails("left")
        new = set(network()["devices"]) - {"lo", "left", "other", "right"}
        assert len(new) == 1
        assert f"left is now called {new.pop()}" in result.stderr

    def test_a_device_that_has_gone_meanwhile(
        self, runtime: Runtime, bundle: Bundle, new_id: NewId, dressed: tuple[str, str]
    ) -> None:
        bundle.linux["netDevices"] = {"left": {}}
        script_hook(bundle, "createRuntime", "ip link del right; exit 1")
        bundle.config["hooks"]["createRuntime"][0]["env"] = ["PATH=/usr/sbin:/sbin:/usr/bin:/bin"]
        assert "left" in runtime.create(bundle, new_id()).fails("createRuntime").stderr
        assert set(network()["devices"]) == {"lo", "bridge", "idle", "peer"}


def test_a_created_container_keeps_its_devices(
    container: MakeContainer, bundle: Bundle, dressed: tuple[str, str]
) -> None:
    """They end with the namespace: the runtime must not move them out before that (config-linux.md)."""
    bundle.linux["netDevices"] = {"left": {"name": "first"}}
    one = container(bundle, args=["sleep", "1000"])
    pid = one.pid
    assert set(devices_of(one)) == {"lo", "first"}
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    assert [child for child in children if int(child) != pid and process_state(int(child)) not in ("Z", "")] == []
    one.runtime.delete(one.id, force=True).ok()
    # Only the names: the device's files vanish while its namespace is being removed.
    wait_until(
        lambda: {device["ifname"] for device in json.loads(ip("-j", "addr"))} == {"lo", "bridge", "idle", "peer"}
    )
