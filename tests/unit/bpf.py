"""An interpreter of classic BPF as seccomp(2) runs it: shows the tests what a filter program does."""

from __future__ import annotations

import struct

X86_64 = 0xC000003E
X86 = 0x40000003
AARCH64 = 0xC00000B7
S390X = 0x80000016

KILL_THREAD = 0
KILL_PROCESS = 0x80000000
TRAP = 0x30000
ERRNO = 0x50000
NOTIFY = 0x7FC00000
TRACE = 0x7FF00000
LOG = 0x7FFC0000
ALLOW = 0x7FFF0000


def run(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """The program's return value for one system call. Fails if the kernel's checker would refuse the program."""
    assert len(program) % 8 == 0 and 0 < len(program) <= 4096 * 8
    code = list(struct.iter_unpack("=HBBI", program))
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *padded)
    accumulator = at = 0
    while True:
        operation, true, false, value = code[at]
        at += 1
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            assert value % 4 == 0 and value + 4 <= len(data)
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= value
        elif operation == 0x05:  # BPF_JMP | BPF_JA
            at += value
        elif operation in (0x15, 0x25, 0x35, 0x45):  # JEQ, JGT, JGE, JSET with a constant
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[operation]
            at += true if holds else false
        elif operation == 0x06:  # BPF_RET | BPF_K
            return int(value)
        else:
            raise AssertionError(f"instruction {operation:#x} at {at - 1}")
