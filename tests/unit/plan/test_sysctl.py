"""linux.sysctl, hostname and domainname: the container's are set, the host's are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.config.semantic_linux import sysctl_path
from ocipy.plan import loopback, sysctl, uts
from ocipy.plan.loopback import Loopback
from ocipy.plan.model import Host, Options, Plan, Planner
from ocipy.plan.shared_namespace import NotOurNamespace
from ocipy.plan.sysctl import Sysctl, SysctlDone
from ocipy.plan.uts import Domainname, Hostname
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="c", bundle="/b")


def config(values: dict[str, str] | None = None, *kinds: str, joined: str = "", **members: Any) -> Any:
    namespaces: list[dict[str, str]] = [{"type": kind} for kind in kinds]
    if joined:
        namespaces.append({"type": joined, "path": "/proc/1/ns/x"})
    return {"linux": {"sysctl": values, "namespaces": namespaces}, **members}


def plan_of(document: Any) -> Plan:
    planner = Planner(document, Host(), OPTIONS)
    plan = planner.plan
    for part in (sysctl.plan_check, uts.plan_check, loopback.plan_loopback, uts.plan_names, sysctl.plan_sysctl):
        part(planner)
    return plan


def pointer_of(document: Any) -> str:
    """Of what config/ refuses; a new user namespace without maps is not what is looked at."""
    (pointer,) = (pointer for pointer in refused_at(document) if pointer != "/linux/uidMappings")
    return pointer


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("kernel", "kernel"),
    ],
)
def test_both_forms_of_a_name(name: str, path: str) -> None:
    assert sysctl_path(name) == path


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        ".",
        "net//a",
        "net..a",
        "/net/a",
        "net/a/",
        "net/../kernel/core_pattern",
        "net/./a",
        "net/a\0b",
        "net.//.a",
    ],
)
def test_invalid_names(name: str) -> None:
    pointer = "/linux/sysctl/" + name.replace("/", "~1")
    assert pointer_of(config({name: "1"}, "network")) == pointer


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("kernel.shmmax", "ipc"),
        ("kernel/msgmnb", "ipc"),
        ("fs.mqueue.msg_max", "ipc"),
        ("net.core.somaxconn", "network"),
        ("kernel.domainname", "uts"),
        ("user.max_net_namespaces", "user"),
    ],
)
def test_each_belongs_to_a_namespace(name: str, kind: str) -> None:
    plan = plan_of(config({name: "7"}, kind))
    pointer = "/linux/sysctl/" + name.replace("/", "~1")
    steps = [step for step in plan.init if step.action.startswith("sysctl")]
    assert steps == [
        Sysctl(pointer, path=name.replace(".", "/"), value="7"),
        SysctlDone("/linux/sysctl"),
    ]
    others = {"ipc", "network", "uts", "user", "pid", "mount"} - {kind}
    assert pointer_of(config({name: "7"}, *sorted(others))) == pointer


@pytest.mark.parametrize(
    "name", ["kernel.core_pattern", "vm.swappiness", "kernel.hostname", "fs.file-max", "networks.a"]
)
def test_what_is_the_hosts_is_refused(name: str) -> None:
    assert pointer_of(config({name: "1"}, "ipc", "network", "uts", "user")) == "/linux/sysctl/" + name


@pytest.mark.parametrize("name", ["kernel.domainname", "kernel/domainname"])
def test_a_domainname_beside_another_one_is_refused(name: str) -> None:
    """Otherwise the last one would silently win."""
    both = config({name: "a.example"}, "uts", domainname="b.example")
    assert pointer_of(both) == "/linux/sysctl/" + name.replace("/", "~1")
    plan_of(config({name: "a.example"}, "uts", domainname="a.example"))
    plan_of(config({name: "a.example"}, "uts", domainname=""))


def test_a_joined_namespace_is_looked_at_before_anything_is_set() -> None:
    plan = plan_of(config({"net.core.somaxconn": "1", "net.ipv4.ip_forward": "1"}, joined="network"))
    assert plan.host == [NotOurNamespace("/linux/sysctl/net.core.somaxconn", kind="network")]
    plan = plan_of(config(None, joined="uts", hostname="a", domainname="b"))
    assert [(step.action, step.pointer) for step in plan.host] == [
        ("not_our_namespace", "/hostname"),
        ("not_our_namespace", "/domainname"),
    ]


def test_where_others_may_look_at_init_the_host_sets_them() -> None:
    """In a pid namespace that is joined; init waits for it (host/sysctl.py)."""
    document = config({"net.ipv4.ip_forward": "1"}, "network", "user", joined="pid")
    plan = plan_of(document)
    (step,) = (step for step in plan.host if step.action == "host_sysctl")
    assert vars(step) == {"kinds": ("user", "network"), "path": "net/ipv4/ip_forward", "value": "1"}
    assert [(step.action, vars(step)["barrier"]) for step in plan.init if "barrier" in vars(step)] == [
        ("tell", "sysctl"),
        ("wait", "written"),
    ]
    assert not any("sysctl" in step.action for step in plan.init)


def test_names_of_the_machine() -> None:
    plan = plan_of(config(None, "uts", hostname="web", domainname="example.org"))
    assert plan.init == [
        Hostname("/hostname", name="web"),
        Domainname("/domainname", name="example.org"),
    ]
    assert plan_of(config(None, hostname="", domainname=None)).init == []


@pytest.mark.parametrize("member", ["hostname", "domainname"])
@pytest.mark.parametrize(("kinds", "name"), [((), "web"), (("uts",), "x" * 65), (("uts",), "a\0b")])
def test_names_that_cannot_be_set(member: str, kinds: tuple[str, ...], name: str) -> None:
    assert pointer_of(config(None, *kinds, **{member: name})) == "/" + member


def test_loopback_only_in_a_new_network_namespace() -> None:
    assert plan_of(config(None, "network")).init == [Loopback("/linux/namespaces")]
    assert plan_of(config(None, joined="network")).init == []
    assert plan_of(config()).init == []
