"""Numbers of the kernel's interfaces outside constants.py, compared with the headers of this machine."""

from __future__ import annotations

import importlib
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from ocipy.linux import signals
from tests.unit.headers import values

TOP = Path(__file__).resolve().parents[3]
# A comment that names a kernel header as the source of numbers.
HEADER = re.compile(r"#.*\b(?:asm|linux)/\w+\.h\b")
# constants.py, which has another test, and modules with numbers that no header for programs has.
ELSEWHERE = {
    "ocipy.linux.constants", "ocipy.box.explain", "ocipy.host.report", "ocipy.init.cgroup_mount",
    "ocipy.linux.namespaces", "ocipy.operations.start",
}  # fmt: skip


def same(names: str) -> dict[str, str]:
    """Numbers that have the header's names."""
    return {name: name for name in names.split()}


class Numbers(NamedTuple):
    """A module's numbers: the C expression of each name. A Struct stands for its size."""

    module: str
    headers: str
    expressions: Mapping[str, str]


TABLE = [
    Numbers(
        "ocipy.linux.netlink",
        "linux/netlink.h linux/rtnetlink.h",
        same(
            "NLM_F_REQUEST NLM_F_ACK NLM_F_DUMP NLM_F_EXCL NLM_F_CREATE NLMSG_ERROR NLMSG_DONE "
            "RTM_NEWADDR RTM_GETADDR RTM_NEWROUTE RTM_GETROUTE RTA_OIF RTA_GATEWAY RTN_UNICAST"
        )
        | {
            "HEADER": "sizeof(struct nlmsghdr)",
            "ATTRIBUTE": "sizeof(struct rtattr)",
            "ADDRESS": "sizeof(struct ifaddrmsg)",
            "ROUTE": "sizeof(struct rtmsg)",
        },
    ),
    Numbers("ocipy.host.rtnetlink", "linux/rtnetlink.h", same("RTA_VIA RTPROT_KERNEL RTPROT_RA RTM_F_CLONED")),
    Numbers(
        "ocipy.host.network_devices",
        "linux/if.h linux/if_addr.h linux/rtnetlink.h",
        same("IFF_UP IFF_LOOPBACK IFA_F_PERMANENT RT_SCOPE_UNIVERSE")
        | {
            "IFA_F_ASKED": "IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | "
            "IFA_F_MCAUTOJOIN"
        },
    ),
    Numbers(
        "ocipy.box.network.links",
        "linux/if.h linux/if_addr.h linux/if_link.h linux/rtnetlink.h linux/veth.h",
        same(
            "RTM_NEWLINK RTM_DELLINK RTM_GETLINK IFLA_ADDRESS IFLA_IFNAME IFLA_MASTER IFLA_LINKINFO IFLA_GROUP "
            "IFLA_NET_NS_FD IFLA_INFO_KIND IFLA_INFO_DATA VETH_INFO_PEER IFA_ADDRESS IFA_LOCAL IFA_F_NODAD RTA_DST "
            "RT_TABLE_MAIN RTPROT_STATIC IFF_UP"
        )
        | {"LINK": "sizeof(struct ifinfomsg)"},
    ),
    Numbers(
        "ocipy.box.network.nft",
        "limits.h linux/netfilter_ipv4.h",
        {
            "RAW": "NF_IP_PRI_RAW",
            "DSTNAT": "NF_IP_PRI_NAT_DST",
            "FILTER": "NF_IP_PRI_FILTER",
            "SRCNAT": "NF_IP_PRI_NAT_SRC",
        },
    ),
    Numbers(
        "ocipy.host.libseccomp",
        "linux/audit.h linux/seccomp.h",
        {
            name: f"SECCOMP_RET_{name}"
            for name in ("KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "LOG", "ALLOW")
        }
        | {"NOTIFY": "SECCOMP_RET_USER_NOTIF"}
        | {name: f"AUDIT_ARCH_{name}" for name in ("X86_64", "S390", "S390X")},
    ),
    Numbers(
        "ocipy.host.seccomp_compile",
        "asm/unistd.h linux/filter.h linux/seccomp.h",
        {
            "LOAD": "BPF_LD | BPF_W | BPF_ABS",
            "JUMP": "BPF_JMP | BPF_JA",
            "JUMP_EQUAL": "BPF_JMP | BPF_JEQ | BPF_K",
            "JUMP_GREATER": "BPF_JMP | BPF_JGT | BPF_K",
            "JUMP_SET": "BPF_JMP | BPF_JSET | BPF_K",
            "RETURN": "BPF_RET | BPF_K",
            "X32_BIT": "__X32_SYSCALL_BIT",
            "NUMBER_OFFSET": "offsetof(struct seccomp_data, nr)",
            "ARCH_OFFSET": "offsetof(struct seccomp_data, arch)",
        },
    ),
    Numbers("ocipy.plan.seccomp", "linux/filter.h", {"INSTRUCTION": "sizeof(struct sock_filter)"}),
    # Newer than Debian 12's headers, so only the encoding of ioctl(2) numbers is checked.
    Numbers("ocipy.library.ended", "linux/ioctl.h", {"PIDFD_GET_INFO": "_IOWR(0xFF, 11, char[64])", "INFO": "64"}),
]
# Defined on some machines only, or newer than Linux 6.1.
MAY_LACK = {"X32_BIT"}


@pytest.mark.parametrize("numbers", TABLE, ids=lambda numbers: numbers.module)
def test_numbers_are_those_of_the_headers(numbers: Numbers, tmp_path: Path) -> None:
    found = values(tmp_path, numbers.headers.split(), numbers.expressions)
    assert set(numbers.expressions) - set(found) <= MAY_LACK
    module = importlib.import_module(numbers.module)
    ours = {name: getattr(module, name) for name in found}
    assert {name: n.size if isinstance(n, struct.Struct) else n for name, n in ours.items()} == found


def test_signals_are_those_of_libc(tmp_path: Path) -> None:
    expressions = {name: f"SIG{name}" for name in signals.NUMBERS} | {"LAST": "_NSIG - 1"}
    found = values(tmp_path, ["signal.h"], expressions)
    assert set(expressions) - set(found) <= {"STKFLT", "PWR"}, "these two are missing on some machines"
    assert {name: ({**signals.NUMBERS, "LAST": signals.LAST})[name] for name in found} == found


def test_each_module_with_numbers_from_a_header_is_in_the_table() -> None:
    modules = {
        ".".join(path.relative_to(TOP).with_suffix("").parts)
        for path in (TOP / "ocipy").rglob("*.py")
        if HEADER.search(path.read_text())
    }
    assert modules - ELSEWHERE == {numbers.module for numbers in TABLE}
