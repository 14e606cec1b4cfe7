"""linux.timeOffsets and linux.netDevices."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Result, Runtime

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
Shell = Callable[..., Result]


def uptime(text: str) -> float:
    return float(text.split()[0])


@pytest.mark.smoke
@pytest.mark.parametrize("user_namespace", [False, True])
def test_time_offsets(sh: Shell, bundle: Bundle, user_namespace: bool) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 86400, "nanosecs": 500}, "monotonic": {"secs": 3600}}
    if user_namespace:
        bundle.user_namespace()
    before = uptime(Path("/proc/uptime").read_text())
    result = sh("cat /proc/uptime; cat /proc/self/timens_offsets; readlink /proc/self/ns/time", bundle).ok()
    assert 0 <= uptime(result.lines[0]) - before - 86400 < 60
    assert [line.split() for line in result.lines[1:3]] == [["monotonic", "3600", "0"], ["boottime", "86400", "500"]]
    assert result.lines[3] != os.readlink("/proc/self/ns/time")


def test_a_time_namespace_without_offsets(sh: Shell, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    result = sh("cat /proc/self/timens_offsets; readlink /proc/self/ns/time", bundle).ok()
    assert [line.split()[1:] for line in result.lines[:2]] == [["0", "0"]] * 2
    assert result.lines[2] != os.readlink("/proc/self/ns/time")


@pytest.mark.ocipy_only("the words are ocipy's")
def test_a_clock_before_its_beginning(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": -int(time.clock_gettime(time.CLOCK_BOOTTIME)) - 1000}}
    runtime.create(bundle, new_id()).fails("/linux/timeOffsets", "clock")
    assert runtime.ids() == []


@pytest.mark.ocipy_only("the words are ocipy's")
def test_offsets_without_a_time_namespace(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1}}
    runtime.create(bundle, new_id()).fails("/linux/timeOffsets")


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20).stdout


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """A pair of network devices on the host."""
    one, other = f"oc{os.getpid()}a", f"oc{os.getpid()}b"
    ip("link", "add", one, "type", "veth", "peer", "name", other)
    yield one, other
    subprocess.run(["ip", "link", "delete", other], check=False, capture_output=True, timeout=20)


def devices_of(one: Container) -> dict[str, Any]:
    argv = ["nsenter", "-t", str(one.pid), "-n", "ip", "-j", "addr"]
    answer = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20)
    return {entry["ifname"]: entry for entry in json.loads(answer.stdout)}


@pytest.mark.needs_program("ip")
class TestNetDevices:
    """Moved by name, with addresses, renamed, and up."""

    @pytest.mark.differs_from_runc("runc 1.5 loses the IPv6 addresses of a device that is up")
    def test_moved_with_its_addresses(self, container: MakeContainer, bundle: Bundle, pair: tuple[str, str]) -> None:
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
        # The third has a limited life, so it is none that is moved.
        assert addresses == {("192.0.2.7", 24), ("2001:db8::7", 64)}

    @pytest.mark.parametrize(
        "given",
        [
            {},
            pytest.param(
                {"name": "fresh%d"},
                marks=pytest.mark.differs_from_runc("runc 1.5 does not find it by the name that the kernel made up"),
            ),
        ],
    )
    def test_names(
        self, container: MakeContainer, bundle: Bundle, pair: tuple[str, str], given: dict[str, str]
    ) -> None:
        bundle.linux["netDevices"] = {pair[0]: given}
        devices = devices_of(container(bundle, args=["sleep", "1000"]))
        assert set(devices) == {"lo", "fresh0" if given else pair[0]}

    @pytest.mark.differs_from_runc("runc 1.5 has moved the device by then, and it goes with the namespace")
    def test_a_name_that_is_taken(self, runtime: Runtime, bundle: Bundle, new_id: NewId, pair: tuple[str, str]) -> None:
        bundle.linux["netDevices"] = {pair[0]: {"name": "lo"}}
        result = runtime.create(bundle, new_id()).fails()
        if runtime.is_ocipy:
            assert f"/linux/netDevices/{pair[0]}/name" in result.stderr
        assert pair[0] in ip("link")
        assert runtime.ids() == []

    def test_a_device_that_is_not_there(self, runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
        bundle.linux["netDevices"] = {"nothere0": {}}
        runtime.create(bundle, new_id()).fails("nothere0")
        assert runtime.ids() == []
