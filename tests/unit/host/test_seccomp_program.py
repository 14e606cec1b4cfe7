"""The BPF program of a profile, run by an interpreter and compared with the profile."""

from __future__ import annotations

import errno
import platform
import struct
from typing import Any, get_args

import pyseccomp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocipy.config.description.values import SeccompArchitecture
from ocipy.errors import Error
from ocipy.host.seccomp_compile import action_value, alternatives, assemble_stub, compile_profile
from tests.unit import bpf

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are x86_64's")

ENOSYS = bpf.ERRNO | errno.ENOSYS
EPERM = bpf.ERRNO | errno.EPERM
X32_BIT = 0x40000000


def program(profile: dict[str, Any]) -> bytes:
    return compile_profile(profile)[0]  # type: ignore[arg-type]


def number(name: str, arch: int = bpf.X86_64) -> int:
    return int(pyseccomp.resolve_syscall(arch, name))


def deny_all(*rules: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(rules), **rest}


def allow(*names: str, **rest: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **rest}


def condition(index: int, operator: str, value: int, second: int = 0) -> dict[str, Any]:
    return {"index": index, "op": "SCMP_CMP_" + operator, "value": value, "valueTwo": second}


@pytest.mark.parametrize(
    ("action", "errno_ret", "value"),
    [
        ("SCMP_ACT_ALLOW", None, bpf.ALLOW),
        ("SCMP_ACT_ERRNO", None, EPERM),
        ("SCMP_ACT_ERRNO", 38, ENOSYS),
        ("SCMP_ACT_ERRNO", 0, bpf.ERRNO),
        ("SCMP_ACT_KILL", None, bpf.KILL_THREAD),
        ("SCMP_ACT_KILL_THREAD", None, bpf.KILL_THREAD),
        ("SCMP_ACT_KILL_PROCESS", None, bpf.KILL_PROCESS),
        ("SCMP_ACT_LOG", None, bpf.LOG),
        ("SCMP_ACT_NOTIFY", None, bpf.NOTIFY),
        ("SCMP_ACT_TRACE", None, bpf.TRACE | errno.EPERM),
        ("SCMP_ACT_TRACE", 7, bpf.TRACE | 7),
        ("SCMP_ACT_TRAP", None, bpf.TRAP),
    ],
)
def test_every_action(action: str, errno_ret: int | None, value: int) -> None:
    assert action_value(action, errno_ret) == value
    rule: dict[str, Any] = {"names": ["chmod"], "action": action}
    if errno_ret is not None:
        rule["errnoRet"] = errno_ret
    default = "SCMP_ACT_LOG" if action == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    made = program({"defaultAction": default, "syscalls": [rule]})
    assert bpf.run(made, bpf.X86_64, number("chmod")) == value
    assert bpf.run(made, bpf.X86_64, number("chown")) == action_value(default, None)


@pytest.mark.parametrize(
    ("operator", "value", "second", "holds", "fails"),
    [
        ("EQ", 2**40 + 5, 0, [2**40 + 5], [5, 2**40, 2**40 + 4]),
        ("NE", 5, 0, [4, 2**32 + 5], [5]),
        ("LT", 2**33, 0, [0, 2**33 - 1, 2**32 + 7], [2**33, 2**34, 2**64 - 1]),
        ("LE", 7, 0, [0, 7], [8, 2**32]),
        ("GE", 7, 0, [7, 8, 2**63], [0, 6]),
        ("GT", 2**32, 0, [2**32 + 1, 2**33], [0, 2**32]),
        ("MASKED_EQ", 0x7E020000, 0, [0, 1, 0x11], [0x10000000, 0x00020000]),
        ("MASKED_EQ", 0xFF, 0x12, [0x12, 0x3412], [0x13, 0x1200]),
    ],
)
def test_every_operator(operator: str, value: int, second: int, holds: list[int], fails: list[int]) -> None:
    made = program(deny_all(allow("personality", args=[condition(1, operator, value, second)])))
    for argument in holds:
        assert bpf.run(made, bpf.X86_64, number("personality"), (0, argument)) == bpf.ALLOW, hex(argument)
    for argument in fails:
        assert bpf.run(made, bpf.X86_64, number("personality"), (0, argument)) == EPERM, hex(argument)


def test_conditions_on_several_arguments_must_all_hold() -> None:
    made = program(deny_all(allow("socket", args=[condition(0, "EQ", 16), condition(2, "EQ", 9)])))
    assert bpf.run(made, bpf.X86_64, number("socket"), (16, 3, 9)) == bpf.ALLOW
    assert bpf.run(made, bpf.X86_64, number("socket"), (16, 3, 8)) == EPERM
    assert bpf.run(made, bpf.X86_64, number("socket"), (2, 3, 9)) == EPERM


def test_conditions_on_one_argument_are_alternatives() -> None:
    conditions = [condition(0, "EQ", 0), condition(0, "EQ", 8), condition(1, "EQ", 5)]
    assert [list(rule) for rule in alternatives(conditions)] == [[each] for each in conditions]  # type: ignore[arg-type]
    made = program(deny_all(allow("personality", args=conditions)))
    for arguments, allowed in (((0, 1), True), ((8, 1), True), ((9, 5), True), ((9, 1), False)):
        expected = bpf.ALLOW if allowed else EPERM
        assert bpf.run(made, bpf.X86_64, number("personality"), arguments) == expected, arguments


def test_unknown_names_are_skipped_and_repeated_ones_are_harmless() -> None:
    made = program(deny_all(allow("chmod", "chmod", "no_such_call", "chown"), allow("chmod")))
    assert bpf.run(made, bpf.X86_64, number("chmod")) == bpf.ALLOW
    assert bpf.run(made, bpf.X86_64, number("chown")) == bpf.ALLOW


def test_a_rule_that_repeats_the_default_is_skipped() -> None:
    rule = {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}
    made = program(deny_all(rule, allow("chown")))
    assert bpf.run(made, bpf.X86_64, number("chmod")) == EPERM


def test_another_errno_is_not_the_default() -> None:
    rule = {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EACCES}
    made = program(deny_all(rule, allow("chown")))
    assert bpf.run(made, bpf.X86_64, number("chmod")) == bpf.ERRNO | errno.EACCES


def test_architectures_that_are_not_listed_are_killed() -> None:
    made = program({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]})
    assert bpf.run(made, bpf.X86, number("chmod", bpf.X86)) == bpf.KILL_THREAD
    assert bpf.run(made, bpf.X86_64, number("chmod") | X32_BIT) == bpf.KILL_THREAD


def test_each_listed_architecture_has_its_own_numbers() -> None:
    rule = {"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}
    architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_X86_64"]
    made = program({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": [rule]})
    assert number("chmod") != number("chmod", bpf.X86)
    assert bpf.run(made, bpf.X86, number("chmod", bpf.X86)) == EPERM
    assert bpf.run(made, bpf.X86_64, number("chmod") | X32_BIT) == EPERM
    assert bpf.run(made, bpf.X86_64, number("chmod")) == EPERM
    assert bpf.run(made, bpf.X86, number("chown", bpf.X86)) == bpf.ALLOW


def test_every_architecture_that_libseccomp_knows() -> None:
    refused = set()
    for name in get_args(SeccompArchitecture):
        try:
            program(deny_all(allow("read"), architectures=[name]))
        except Error as error:
            # A filter has one byte order: libseccomp does not combine the native architecture with others.
            assert error.pointer == "/linux/seccomp/architectures/0"
            refused.add(name)
    assert not refused & {"SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"}
    assert {"SCMP_ARCH_S390X", "SCMP_ARCH_PPC64", "SCMP_ARCH_MIPS"} <= refused


# The stub: ENOSYS for calls newer than the profile.


def test_newer_calls_get_enosys_and_older_ones_the_default() -> None:
    made = program(deny_all(allow("read", "clone3"), architectures=["SCMP_ARCH_X86", "SCMP_ARCH_X32"]))
    newest = number("clone3")
    assert bpf.run(made, bpf.X86_64, newest) == bpf.ALLOW
    assert bpf.run(made, bpf.X86_64, newest - 1) == EPERM
    assert bpf.run(made, bpf.X86_64, newest + 1) == ENOSYS
    assert bpf.run(made, bpf.X86_64, 0xFFFF) == ENOSYS
    assert bpf.run(made, bpf.X86, number("clone3", bpf.X86) + 1) == ENOSYS
    assert bpf.run(made, bpf.X86_64, X32_BIT | (newest + 1)) == ENOSYS
    assert bpf.run(made, bpf.X86_64, X32_BIT | newest) == bpf.ALLOW
    assert bpf.run(made, bpf.AARCH64, newest + 1) == bpf.KILL_THREAD


def test_an_x32_call_goes_straight_to_the_filter_if_x32_is_not_listed() -> None:
    made = program(deny_all(allow("read")))
    assert bpf.run(made, bpf.X86_64, X32_BIT | 500) == bpf.KILL_THREAD
    assert bpf.run(made, bpf.X86_64, 500) == ENOSYS


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])
def test_no_stub_if_the_default_permits(default: str) -> None:
    made = program({"defaultAction": default, "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL"}]})
    assert bpf.run(made, bpf.X86_64, 0xFFFF) == action_value(default, None)


def test_no_stub_if_the_default_is_enosys() -> None:
    with_stub = program(deny_all(allow("read"), defaultErrnoRet=errno.EACCES))
    without = program(deny_all(allow("read"), defaultErrnoRet=errno.ENOSYS))
    assert len(without) < len(with_stub)
    assert bpf.run(without, bpf.X86_64, number("chmod")) == ENOSYS


def test_a_default_that_kills_has_the_stub_too() -> None:
    made = program({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [allow("read", "openat2")]})
    assert bpf.run(made, bpf.X86_64, number("openat2") + 1) == ENOSYS
    assert bpf.run(made, bpf.X86_64, number("openat2") - 1) == bpf.KILL_PROCESS


def test_stub_of_s390() -> None:
    allow_the_rest = struct.pack("=HBBI", 0x06, 0, 0, bpf.ALLOW)
    stub = assemble_stub({pyseccomp.Arch.S390X: 400, pyseccomp.Arch.AARCH64: 300})
    for arch, call, expected in (
        (bpf.S390X, 0, ENOSYS),
        (bpf.S390X, 1, bpf.ALLOW),
        (bpf.S390X, 401, ENOSYS),
        (bpf.AARCH64, 0, bpf.ALLOW),
        (bpf.AARCH64, 300, bpf.ALLOW),
        (bpf.AARCH64, 301, ENOSYS),
        (bpf.X86_64, 1000, bpf.ALLOW),
    ):
        assert bpf.run(stub + allow_the_rest, arch, call) == expected, (hex(arch), call)


# Generated profiles.

NAMES = [
    "read", "write", "openat", "close", "mmap", "ioctl", "socket", "bind", "clone", "clone3", "execve", "chmod",
    "chown", "mount", "umount2", "ptrace", "personality", "keyctl", "bpf", "openat2", "setns", "unshare", "reboot",
    "kexec_load", "statx", "io_uring_setup", "futex", "getrandom", "prctl", "capset", "setuid", "setgid", "kill",
    "tkill", "syslog", "acct", "swapon", "quotactl", "name_to_handle_at", "process_vm_readv",
]  # fmt: skip
VALUES = st.sampled_from([0, 1, 2, 5, 8, 0xFF, 0x7E020000, 2**31, 2**32 - 1, 2**32, 2**40 + 3, 2**63, 2**64 - 1])
CONDITIONS = st.builds(
    condition, st.integers(0, 5), st.sampled_from(["EQ", "NE", "LT", "LE", "GE", "GT", "MASKED_EQ"]), VALUES, VALUES
)
ACTIONS = st.sampled_from(
    [("SCMP_ACT_ALLOW", None), ("SCMP_ACT_ERRNO", None), ("SCMP_ACT_ERRNO", 5), ("SCMP_ACT_KILL_PROCESS", None),
     ("SCMP_ACT_LOG", None), ("SCMP_ACT_TRACE", 3), ("SCMP_ACT_TRAP", None)]
)  # fmt: skip


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    """Generate a profile. At most one rule names each call: only libseccomp defines what two of them mean together."""
    names = draw(st.permutations(NAMES))
    rules = []
    at = 0
    for _ in range(draw(st.integers(0, 8))):
        count = draw(st.integers(1, 5))
        action, errno_ret = draw(ACTIONS)
        rule: dict[str, Any] = {"names": list(names[at : at + count]), "action": action}
        if errno_ret is not None:
            rule["errnoRet"] = errno_ret
        conditions = draw(st.lists(CONDITIONS, max_size=3))
        if len({each["index"] for each in conditions}) < len(conditions):
            # libseccomp's tree for several ordered comparisons of one argument is not always right: docs/seccomp.md.
            conditions = [{**each, "op": "SCMP_CMP_EQ"} for each in conditions]
        if conditions:
            rule["args"] = conditions
        rules.append(rule)
        at += count
    action, errno_ret = draw(ACTIONS)
    profile: dict[str, Any] = {"defaultAction": action, "syscalls": rules}
    if errno_ret is not None:
        profile["defaultErrnoRet"] = errno_ret
    if draw(st.booleans()):
        profile["architectures"] = ["SCMP_ARCH_X86_64"]
    return profile


def satisfies(given: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    value, other, argument = given["value"], given["valueTwo"], arguments[given["index"]]
    holds: dict[str, bool] = {
        "SCMP_CMP_EQ": argument == value,
        "SCMP_CMP_NE": argument != value,
        "SCMP_CMP_LT": argument < value,
        "SCMP_CMP_LE": argument <= value,
        "SCMP_CMP_GE": argument >= value,
        "SCMP_CMP_GT": argument > value,
        "SCMP_CMP_MASKED_EQ": argument & value == other & value,  # libseccomp drops bits outside the mask
    }
    return holds[given["op"]]


def meaning(profile: dict[str, Any], name: str, arguments: tuple[int, ...]) -> int:
    """Return the profile's action for a call that is not newer than every call that it names."""
    for rule in profile["syscalls"]:
        if name in rule["names"]:
            conditions = rule.get("args") or []
            indices = [each["index"] for each in conditions]
            hold = [satisfies(each, arguments) for each in conditions]
            if all(hold) if len(set(indices)) == len(indices) else any(hold):
                return action_value(rule["action"], rule.get("errnoRet"))
            break
    return action_value(profile["defaultAction"], profile.get("defaultErrnoRet"))


def check(profile: dict[str, Any], calls: list[tuple[int, ...]]) -> None:
    made = program(profile)
    named = [number(name) for rule in profile["syscalls"] for name in rule["names"]]
    stub = profile["defaultAction"] not in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
    highest = max(named) if stub and named else 0xFFFF
    for name in NAMES:
        for arguments in calls:
            expected = ENOSYS if number(name) > highest else meaning(profile, name, arguments)
            assert bpf.run(made, bpf.X86_64, number(name), arguments) == expected, (name, arguments)


@settings(max_examples=150, deadline=None)
@given(profiles(), st.lists(st.tuples(*[VALUES] * 6), min_size=1, max_size=4))
@example({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}, [(0,) * 6])
def test_generated_profiles(profile: dict[str, Any], calls: list[tuple[int, ...]]) -> None:
    check(profile, calls)


def engine_profile() -> dict[str, Any]:
    """Return a profile like the engines' default, with every name that libseccomp knows."""
    every = [
        name.decode()
        for call in range(470)
        if (name := _name(call)) is not None and name not in (b"mount", b"reboot", b"clone", b"personality", b"socket")
    ]
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": ["reboot", "mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            allow(*every),
            *(allow("personality", args=[condition(0, "EQ", value)]) for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)),
            allow("clone", args=[condition(0, "MASKED_EQ", 0x7E020000)]),
            allow("socket", args=[condition(2, "NE", 9)]),
            allow("socket", args=[condition(0, "NE", 16)]),
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
             "args": [condition(0, "EQ", 16), condition(2, "EQ", 9)]},
        ],
    }  # fmt: skip


def _name(call: int) -> bytes | None:
    try:
        found: bytes = pyseccomp.resolve_syscall(bpf.X86_64, call)
    except ValueError:
        return None
    return found


def test_the_profile_of_engines() -> None:
    made = program(engine_profile())

    def result(name: str, *arguments: int) -> int:
        return bpf.run(made, bpf.X86_64, number(name), arguments)

    assert result("mount") == result("reboot") == EPERM
    assert result("read") == result("clone3") == result("openat2") == bpf.ALLOW
    assert result("personality", 8) == bpf.ALLOW
    assert result("personality", 9) == ENOSYS
    assert result("clone", 0x11) == bpf.ALLOW
    assert result("clone", 0x10000000) == ENOSYS
    assert result("socket", 16, 3, 9) == bpf.ERRNO | 22
    assert result("socket", 16, 3, 8) == result("socket", 2, 1, 9) == bpf.ALLOW
    assert bpf.run(made, bpf.X86, number("mount", bpf.X86)) == EPERM
    assert bpf.run(made, bpf.X86, number("read", bpf.X86)) == bpf.ALLOW
