"""The device rules as a program of type BPF_PROG_TYPE_CGROUP_DEVICE (linux/bpf.h, bpf(2)). Pure.

The kernel runs it at each mknod and open of a device, with a struct bpf_cgroup_dev_ctx (access and type in one word,
major, minor). It returns 1 to permit the access. It tries the rules from last to first. A matching rule that denies any
of the requested bits ends the program. One that allows clears its bits from the request; once none remain, the access
is permitted. So the last matching rule decides each bit, as if the rules had been applied in order. Among neighbouring
rules that all allow, or all deny, the order makes no difference: these are grouped.
"""

from __future__ import annotations

from sys import byteorder

from ocipy.cgroups.devices import ALL, ANY, effective
from ocipy.linux.constants import (
    BPF_ALU64,
    BPF_AND,
    BPF_DEVCG_DEV_BLOCK,
    BPF_DEVCG_DEV_CHAR,
    BPF_EXIT,
    BPF_JEQ,
    BPF_JMP,
    BPF_JMP32,
    BPF_JNE,
    BPF_K,
    BPF_LDX,
    BPF_MEM,
    BPF_MOV,
    BPF_REG_0,
    BPF_REG_1,
    BPF_REG_2,
    BPF_REG_3,
    BPF_REG_4,
    BPF_REG_5,
    BPF_RSH,
    BPF_W,
    BPF_X,
)
from ocipy.remembered import Remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.cgroups.devices import Rule

KINDS = {"b": BPF_DEVCG_DEV_BLOCK, "c": BPF_DEVCG_DEV_CHAR}
# What the registers contain while the rules are tried.
TYPE, ACCESS, MAJOR, MINOR, SCRATCH = BPF_REG_2, BPF_REG_3, BPF_REG_4, BPF_REG_5, BPF_REG_1
# The verifier keeps a branch in mind for each test of a group, at most 8,192 (BPF_COMPLEXITY_LIMIT_JMP_SEQ). With more
# rules than this, none are grouped.
MOST_GROUPED = 1000


def instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """Encode a struct bpf_insn: code (8 bits), two registers (4 each), offset (16), value (32), native byte order."""
    registers = destination | source << 4 if byteorder == "little" else destination << 4 | source
    return (
        bytes((code, registers))
        + (offset & 0xFFFF).to_bytes(2, byteorder)
        + (value & 0xFFFFFFFF).to_bytes(4, byteorder)
    )


def assemble(rules: Sequence[Rule]) -> bytes:
    """Return the program for rules, which are in the order of the config."""
    default, rest = effective(rules)
    return PROGRAMS[default, tuple(rest)]


def _program(rules: tuple[bool, tuple[Rule, ...]]) -> bytes:
    default, rest = rules
    program = [
        instruction(BPF_LDX | BPF_MEM | BPF_W, TYPE, BPF_REG_1, 0),
        instruction(BPF_ALU64 | BPF_MOV | BPF_X, ACCESS, TYPE),
        instruction(BPF_ALU64 | BPF_RSH | BPF_K, ACCESS, value=16),
        instruction(BPF_ALU64 | BPF_AND | BPF_K, TYPE, value=0xFFFF),
        instruction(BPF_LDX | BPF_MEM | BPF_W, MAJOR, BPF_REG_1, 4),
        instruction(BPF_LDX | BPF_MEM | BPF_W, MINOR, BPF_REG_1, 8),
    ]
    for allow, run in _runs(rest):
        program += _run(allow, run) if len(rest) <= MOST_GROUPED else [each for rule in run for each in _rule(rule)]
    return b"".join([*program, *_answer(default)])


PROGRAMS = Remembered(_program)


def _runs(rules: Sequence[Rule]) -> list[tuple[bool, list[Rule]]]:
    """The rules from last to first, as runs that all allow or all deny. Within a run, the order makes no difference."""
    runs: list[tuple[bool, list[Rule]]] = []
    for rule in reversed(rules):
        if not runs or runs[-1][0] != rule[0]:
            runs.append((rule[0], []))
        runs[-1][1].append(rule)
    return runs


def _run(allow: bool, rules: list[Rule]) -> list[bytes]:
    """Rules for all access are grouped by type and major number, so that each of these is tested once: each test adds
    to what the kernel's verifier has to follow."""
    groups: dict[str, dict[int, list[int]]] = {}
    others: dict[tuple[int, int, int], str] = {}
    for _, kind, major, minor, bits in rules:
        if bits == ALL:
            groups.setdefault(kind, {}).setdefault(major, []).append(minor)
        else:
            other = others.setdefault((major, minor, bits), kind)
            others[major, minor, bits] = kind if other == kind else "a"
    program = [each for kind, majors in groups.items() for each in _for_all_access(allow, kind, majors)]
    for (major, minor, bits), kind in others.items():
        program += _rule((allow, kind, major, minor, bits))
    return program


def _for_all_access(allow: bool, kind: str, majors: dict[int, list[int]]) -> list[bytes]:
    """Answer whatever the request is if the device has this type and one of these major and minor numbers."""
    answer = _answer(allow)
    tests: list[bytes] = []  # from the last to the first
    for major, minors in reversed(majors.items()):
        beyond = 0 if tests else len(answer)
        if ANY in minors:
            tests.append(_test(MAJOR, major, len(tests)))
            continue
        tests += [_test(MINOR, minor, len(tests) + index) for index, minor in enumerate(minors)]
        if major != ANY:
            tests.append(_jump(BPF_JNE, MAJOR, major, len(minors) + beyond))
    if ANY in majors.get(ANY, ()):
        tests = []  # any device
    if kind != "a":
        tests.append(_jump(BPF_JNE, TYPE, KINDS[kind], len(tests) + len(answer)))
    return [*reversed(tests), *answer]


def _test(register: int, value: int, following: int) -> bytes:
    """Jump over the following tests to the answer if the value is this one. The last test jumps over the answer if it
    is not."""
    if following:
        return _jump(BPF_JEQ, register, value, following)
    return _jump(BPF_JNE, register, value, len(_answer(True)))


def _jump(operation: int, register: int, value: int, offset: int) -> bytes:
    """BPF_JMP32, since BPF_JMP would sign-extend the value to 64 bits."""
    return instruction(BPF_JMP32 | operation | BPF_K, register, offset=offset, value=value)


def _answer(allow: bool) -> list[bytes]:
    return [
        instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, value=int(allow)),
        instruction(BPF_JMP | BPF_EXIT),
    ]


def _rule(rule: Rule) -> list[bytes]:
    allow, kind, major, minor, bits = rule
    if bits == ALL:
        # Whatever the request, this rule decides it.
        verdict = _answer(allow)
    elif allow:
        verdict = [
            instruction(BPF_ALU64 | BPF_AND | BPF_K, ACCESS, value=~bits),
            instruction(BPF_JMP | BPF_JNE | BPF_K, ACCESS, offset=2, value=0),
            *_answer(True),
        ]
    else:
        verdict = [
            instruction(BPF_ALU64 | BPF_MOV | BPF_X, SCRATCH, ACCESS),
            instruction(BPF_ALU64 | BPF_AND | BPF_K, SCRATCH, value=bits),
            instruction(BPF_JMP | BPF_JEQ | BPF_K, SCRATCH, offset=2, value=0),
            *_answer(False),
        ]
    tests = []
    if kind != "a":
        tests.append((TYPE, KINDS[kind]))
    if major != ANY:
        tests.append((MAJOR, major))
    if minor != ANY:
        tests.append((MINOR, minor))
    # Each failing test jumps over the rest of the rule.
    count = len(tests)
    return [
        _jump(BPF_JNE, register, value, count - index - 1 + len(verdict))
        for index, (register, value) in enumerate(tests)
    ] + verdict
