"""linux.sysctl, hostname and domainname: applied inside, refused if they would affect the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime

NewId = Callable[[], str]
RunScript = Callable[..., Result]


def test_hostname_and_domainname(sh: RunScript, bundle: Bundle) -> None:
    bundle.config["hostname"] = "a-name"
    bundle.config["domainname"] = "a.domain"
    result = sh("hostname; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname", bundle).ok()
    assert result.lines == ["a-name", "a-name", "a.domain"]
    assert os.uname().nodename != "a-name"


def test_without_hostname_the_hosts_is_kept(sh: RunScript, bundle: Bundle) -> None:
    del bundle.config["hostname"]
    assert sh("hostname", bundle).ok().stdout.strip() == os.uname().nodename


@pytest.mark.parametrize(("member", "value"), [("hostname", "x"), ("domainname", "x.y")])
def test_name_without_uts_namespace(runtime: Runtime, bundle: Bundle, new_id: NewId, member: str, value: str) -> None:
    before = os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()
    bundle.without_namespace("uts")
    del bundle.config["hostname"]
    bundle.config[member] = value
    runtime.create(bundle.args("true"), new_id()).fails(f"{member}")
    assert (os.uname().nodename, Path("/proc/sys/kernel/domainname").read_text()) == before
    assert runtime.ids() == []


def test_hostname_that_is_too_long(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.config["hostname"] = "x" * 65
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net.ipv4.ip_forward", "1"),
        ("net/ipv4/ip_unprivileged_port_start", "80"),
        ("kernel.shmmax", "1000000"),
        ("kernel.msgmax", "4096"),
        ("kernel.sem", "32000\t1024000000\t500\t4000"),
        ("fs.mqueue.msg_max", "20"),
        ("kernel.domainname", "by.sysctl"),
    ],
)
def test_applied_inside_only(sh: RunScript, bundle: Bundle, key: str, value: str) -> None:
    path = "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))
    before = Path(path).read_text()
    bundle.linux["sysctl"] = {key: value}
    assert sh(f"cat {path}", bundle).ok().stdout.strip() == value
    assert Path(path).read_text() == before


def test_interface_name_with_a_dot(sh: RunScript, bundle: Bundle) -> None:
    """The first separator decides: in "net/ipv4/conf/eth0.1/…", eth0.1 is one component."""
    bundle.linux["sysctl"] = {"net/ipv4/conf/lo/forwarding": "1"}
    assert sh("cat /proc/sys/net/ipv4/conf/lo/forwarding", bundle).ok().stdout == "1\n"


@pytest.mark.parametrize(
    ("key", "missing"), [("net.ipv4.ip_forward", "network"), ("kernel.shmmax", "ipc"), ("fs.mqueue.msg_max", "ipc")]
)
def test_refused_if_the_namespace_is_the_hosts(
    runtime: Runtime, bundle: Bundle, new_id: NewId, key: str, missing: str
) -> None:
    path = Path("/proc/sys/" + key.replace(".", "/"))
    before = path.read_text()
    bundle.without_namespace(missing)
    bundle.without_mount("/sys", "/sys/fs/cgroup")
    bundle.linux["sysctl"] = {key: before.strip()}
    result = runtime.create(bundle.args("true"), new_id()).fails(key)
    assert runtime.ids() == [], repr(result)
    assert path.read_text() == before


def test_refused_if_the_joined_network_namespace_is_the_hosts(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.without_namespace("network").without_mount("/sys", "/sys/fs/cgroup")
    bundle.linux["namespaces"].append({"type": "network", "path": f"/proc/{os.getpid()}/ns/net"})
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()}
    runtime.create(bundle.args("true"), new_id()).fails("net.ipv4.ip_forward")
    assert runtime.ids() == []


@pytest.mark.parametrize(
    "key", ["kernel.hostname", "vm.swappiness", "kernel.core_pattern", "fs.file-max", "kernel.panic"]
)
def test_parameters_of_the_whole_host_are_refused(runtime: Runtime, bundle: Bundle, new_id: NewId, key: str) -> None:
    path = Path("/proc/sys/" + key.replace(".", "/"))
    before = path.read_text()
    bundle.linux["sysctl"] = {key: before.strip()}
    runtime.create(bundle.args("true"), new_id()).fails(key)
    assert runtime.ids() == []
    assert path.read_text() == before


@pytest.mark.parametrize(
    "key", ["net.no_such_key", "net.ipv4.../../kernel.core_pattern", "net/../kernel/core_pattern", "net", ""]
)
def test_keys_that_lead_elsewhere(runtime: Runtime, bundle: Bundle, new_id: NewId, key: str) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    bundle.linux["sysctl"] = {key: "|/bin/false"}
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_value_that_the_kernel_refuses(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "99999999"}
    runtime.create(bundle.args("true"), new_id()).fails("net.ipv4.ip_unprivileged_port_start", "invalid argument")
    assert runtime.ids() == []


def test_proc_sys_is_read_only_afterwards(container: Callable[..., Container], bundle: Bundle) -> None:
    """The runtime writes sysctls before it makes /proc/sys read-only; later no process can."""
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    one = container(bundle, sh="cat /proc/sys/net/ipv4/ip_forward; exec sleep 1000").start()
    one.wait_output("1\n")
    assert "ro" in one.mount_at("/proc/sys").options
