"""The device rules, folded for cgroup v1 and as a program for v2, compared with the rules themselves."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ocipy.cgroups.device_program import assemble
from ocipy.cgroups.devices import (
    ALL,
    ALLOW_ALL,
    ANY,
    DEFAULT_RULES,
    DENY_ALL,
    MKNOD,
    READ,
    WRITE,
    V1List,
    allows_everything,
    bits_of,
    fold,
    line,
    parse_v1_list,
    same,
    transition,
)
from ocipy.errors import Error
from tests.unit.documents import refused_at

if TYPE_CHECKING:
    from ocipy.cgroups.devices import Key, Rule


def decide(rules: list[Rule], kind: str, major: int, minor: int, access: int) -> bool:
    """The specification's semantics: rules apply in order, so the last match for each kind of access counts."""
    for bit in (READ, WRITE, MKNOD):
        if not access & bit:
            continue
        verdict = False
        for allow, of, number, part, bits in rules:
            if of in ("a", kind) and number in (ANY, major) and part in (ANY, minor) and bits & bit:
                verdict = allow
        if not verdict:
            return False
    return True


def kernel_v1(found: V1List, exceptions: dict[Key, int], kind: str, major: int, minor: int, access: int) -> bool:
    """security/device_cgroup.c: to permit an access, one exception must contain all of it; to deny it, any part."""
    for (of, number, part), bits in exceptions.items():
        if of == kind and number in (ANY, major) and part in (ANY, minor):
            if found.allow and bits & access:
                return False
            if not found.allow and access & ~bits == 0:
                return True
    return found.allow


def run_ebpf(program: bytes, kind: str, major: int, minor: int, access: int) -> int:
    """Interpret the few eBPF instructions that the program uses."""
    context = struct.pack("=III", access << 16 | {"b": 1, "c": 2}[kind], major, minor)
    registers = [0] * 11
    instructions = [struct.unpack_from("=BBhi", program, at) for at in range(0, len(program), 8)]
    at = 0
    for _ in range(10000):
        code, both, offset, value = instructions[at]
        to, source = both & 15, both >> 4
        at += 1
        if code == 0x61:  # ldxw
            (registers[to],) = struct.unpack_from("=I", context, offset)
        elif code == 0xBF:  # mov64 register
            registers[to] = registers[source]
        elif code == 0xB7:  # mov64
            registers[to] = value & (1 << 64) - 1
        elif code == 0x77:  # rsh64
            registers[to] >>= value
        elif code == 0x57:  # and64, the value sign-extended
            registers[to] &= value & (1 << 64) - 1
        elif code == 0x55:  # jne64
            at += offset if registers[to] != value & (1 << 64) - 1 else 0
        elif code == 0x15:  # jeq64
            at += offset if registers[to] == value & (1 << 64) - 1 else 0
        elif code == 0x56:  # jne32
            at += offset if registers[to] & 0xFFFFFFFF != value & 0xFFFFFFFF else 0
        elif code == 0x16:  # jeq32
            at += offset if registers[to] & 0xFFFFFFFF == value & 0xFFFFFFFF else 0
        elif code == 0x95:  # exit
            return registers[0]
        else:
            raise AssertionError(f"unexpected instruction {code:#x}")
    raise AssertionError("the program does not end")


numbers = st.sampled_from([ANY, 0, 1, 3, 0xFFFFFFFF])
rules_strategy = st.lists(
    st.tuples(st.booleans(), st.sampled_from("abc"), numbers, numbers, st.integers(1, ALL)), max_size=8
)
questions = st.tuples(
    st.sampled_from("bc"), st.sampled_from([0, 1, 3, 0xFFFFFFFF]), st.sampled_from([0, 1, 3, 9]), st.integers(1, ALL)
)


@settings(max_examples=600, deadline=None)
@given(rules_strategy, questions)
def test_program_decides_as_the_rules_do(rules: list[Rule], question: tuple[str, int, int, int]) -> None:
    assert run_ebpf(assemble(rules), *question) == decide(rules, *question)


@settings(max_examples=600, deadline=None)
@given(rules_strategy, st.lists(questions, min_size=1, max_size=10))
def test_folded_list_decides_as_the_rules_do(rules: list[Rule], asked: list[tuple[str, int, int, int]]) -> None:
    try:
        folded = fold(rules)
    except Error:
        assume(False)
        raise
    for kind, major, minor, access in asked:
        if access & MKNOD:
            access = MKNOD  # mknod(2) is checked alone
        assert kernel_v1(folded, folded.merged(), kind, major, minor, access) == decide(
            rules, kind, major, minor, access
        )


def test_reading_by_one_wildcard_and_writing_by_another() -> None:
    """Found by the test above: for an open for reading and writing, v1 needs a single exception that permits both."""
    folded = fold([(True, "b", ANY, 0, READ), (True, "b", 1, ANY, WRITE)])
    assert folded.merged() == {("b", ANY, 0): READ, ("b", 1, ANY): WRITE, ("b", 1, 0): READ | WRITE}
    assert kernel_v1(folded, folded.merged(), "b", 1, 0, READ | WRITE)
    assert not kernel_v1(folded, folded.merged(), "b", 2, 0, READ | WRITE)


def carry_out(current: V1List, writes: list[tuple[str, str]]) -> tuple[bool, dict[Key, int]]:
    """What the kernel's devcgroup_update_access() does."""
    allow, exceptions = current.allow, dict(current.exceptions)
    for file, text in writes:
        grants = file == "devices.allow"
        if text == "a":
            allow, exceptions = grants, {}
            continue
        ((key, bits),) = parse_v1_list(text).exceptions.items()
        if grants == allow:
            left = exceptions.pop(key, 0) & ~bits
            if left:
                exceptions[key] = left
        else:
            exceptions[key] = exceptions.get(key, 0) | bits
    return allow, exceptions


@settings(max_examples=300, deadline=None)
@given(rules_strategy, rules_strategy)
def test_transition_arrives(before: list[Rule], after: list[Rule]) -> None:
    try:
        current, wanted = fold(before), fold(after)
    except Error:
        assume(False)
        raise
    allow, exceptions = carry_out(V1List(), transition(V1List(), current))
    assert (allow, exceptions) == (current.allow, current.merged())
    shown = V1List(allow)
    if allow:
        # The kernel does not show these, so they cannot be removed.
        assume(not exceptions)
    else:
        shown.exceptions = exceptions
    assert carry_out(shown, transition(shown, wanted)) == (wanted.allow, wanted.merged())


def test_no_device_is_lost_for_a_moment() -> None:
    """Access that is allowed before and after stays allowed in between: a running container must not lose /dev/null."""
    before, after = fold(list(DEFAULT_RULES)), fold([*DEFAULT_RULES[:-1], (True, "c", 1, 11, READ)])
    writes = transition(V1List(), before)
    _, state = carry_out(V1List(), writes)
    shown = V1List()
    shown.exceptions = state
    changes = transition(shown, after)
    assert changes == [("devices.deny", "c 10:200 rwm"), ("devices.allow", "c 1:11 r")]
    for count in range(len(changes) + 1):
        _, exceptions = carry_out(shown, changes[:count])
        assert exceptions[("c", 1, 3)] == ALL


def test_nothing_changes_where_nothing_differs() -> None:
    wanted = fold(list(DEFAULT_RULES))
    shown = V1List()
    shown.exceptions = wanted.merged()
    assert transition(shown, wanted) == []
    assert transition(V1List(True), fold([ALLOW_ALL])) == []


@pytest.mark.parametrize("rules", [[], [DENY_ALL], [ALLOW_ALL, DENY_ALL]])
def test_go_2022_0396_begins_with_nothing(rules: list[Rule]) -> None:
    folded = fold(rules)
    assert (folded.allow, folded.exceptions) == (False, {})
    assert transition(V1List(True), folded) == [("devices.deny", "a")]
    assert run_ebpf(assemble(rules), "b", 8, 0, READ) == 0


def test_privileged() -> None:
    folded = fold([DENY_ALL, ALLOW_ALL, *DEFAULT_RULES])
    assert (folded.allow, folded.exceptions) == (True, {})
    assert allows_everything([ALLOW_ALL]) and not allows_everything([DENY_ALL])


def test_hole_in_a_wildcard_is_refused_on_v1() -> None:
    rules: list[Rule] = [DENY_ALL, (True, "c", 1, ANY, ALL), (False, "c", 1, 3, READ)]
    with pytest.raises(Error) as caught:
        fold(rules, "/linux/resources/devices")
    assert caught.value.pointer == "/linux/resources/devices/2"
    assert run_ebpf(assemble(rules), "c", 1, 3, READ) == 0
    assert run_ebpf(assemble(rules), "c", 1, 3, WRITE) == 1


def test_a_wide_denial_removes_a_narrow_permission() -> None:
    folded = fold([(True, "c", 1, 3, ALL), (True, "b", 8, 0, ALL), (False, "c", ANY, ANY, WRITE)])
    assert folded.exceptions == {("c", 1, 3): READ | MKNOD, ("b", 8, 0): ALL}


def test_reading_and_writing_in_one_exception() -> None:
    folded = fold([(True, "c", 1, ANY, READ), (True, "c", 1, 3, WRITE), (True, "c", ANY, ANY, MKNOD)])
    assert folded.merged() == {("c", 1, ANY): READ, ("c", 1, 3): READ | WRITE, ("c", ANY, ANY): MKNOD}


def test_lines() -> None:
    assert line(("c", 1, 3), ALL) == "c 1:3 rwm"
    assert line(("b", ANY, 0), READ | MKNOD) == "b *:0 rm"
    parsed = parse_v1_list("c 1:3 rwm\nb *:* m\nc 136:* rw\n")
    assert parsed.exceptions == {("c", 1, 3): ALL, ("b", ANY, ANY): MKNOD, ("c", 136, ANY): READ | WRITE}
    assert parse_v1_list("a *:* rwm\n").allow
    assert same(parsed, parsed) and not same(parsed, V1List()) and not same(V1List(True), V1List())


def test_access_letters() -> None:
    assert bits_of("rwm") == ALL
    assert bits_of("wr") == READ | WRITE
    for access in ("x", "rx"):
        rules = [{"allow": True, "access": access}]
        assert refused_at({"linux": {"resources": {"devices": rules}}}) == ["/linux/resources/devices/0/access"]


def test_default_program_fits_old_kernels() -> None:
    """The limit was 4096 instructions before Linux 5.2. The verifier's time grows with the number of tests."""
    assert len(assemble(DEFAULT_RULES)) // 8 < 30
