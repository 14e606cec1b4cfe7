"""Compile a seccomp profile to BPF with libseccomp. Cold: it needs all of Python."""

from __future__ import annotations

import errno
import json
import os
import struct

from ocipy.errors import Error, reported_as
from ocipy.host import libseccomp
from ocipy.linux.constants import BPF_MAXINSNS
from ocipy.linux.files import read_file
from ocipy.linux.text import decode, lines_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ocipy.config.types import Seccomp, Syscall, SyscallArgument

POINTER = "/linux/seccomp"
PLAIN_ACTIONS = {
    "SCMP_ACT_ALLOW": libseccomp.ALLOW,
    "SCMP_ACT_KILL": libseccomp.KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": libseccomp.KILL_PROCESS,
    "SCMP_ACT_KILL_THREAD": libseccomp.KILL_THREAD,
    "SCMP_ACT_LOG": libseccomp.LOG,
    "SCMP_ACT_NOTIFY": libseccomp.NOTIFY,
    "SCMP_ACT_TRAP": libseccomp.TRAP,
}
OPERATORS = {
    "SCMP_CMP_EQ": libseccomp.EQ,
    "SCMP_CMP_GE": libseccomp.GE,
    "SCMP_CMP_GT": libseccomp.GT,
    "SCMP_CMP_LE": libseccomp.LE,
    "SCMP_CMP_LT": libseccomp.LT,
    "SCMP_CMP_MASKED_EQ": libseccomp.MASKED_EQ,
    "SCMP_CMP_NE": libseccomp.NE,
}
# With more system calls than this, a binary tree costs the payload less than a list (seccomp_attr_set(3)).
LONGEST_LIST = 32
X32_BIT = 0x40000000  # __X32_SYSCALL_BIT, asm/unistd.h
S390 = (libseccomp.S390, libseccomp.S390X)


def main(data: bytes) -> bytes:
    """Compile a profile in JSON. Return the length of the library's identity in a line, the identity, and the program.

    Raises Error.
    """
    program, library = compile_profile(json.loads(data))
    return b"%d\n" % len(library) + library + program


def compile_profile(profile: Seccomp) -> tuple[bytes, bytes]:
    """Return (array of struct sock_filter, file and version of libseccomp in two lines). Raises Error."""
    with reported_as(f"libseccomp refuses {profile['defaultAction']}", pointer=POINTER + "/defaultAction"):
        filters = libseccomp.Filter(action_value(profile["defaultAction"], profile.get("defaultErrnoRet")))
    architectures = _add_architectures(filters, profile)
    if sum(len(rule["names"]) for rule in profile.get("syscalls") or ()) > LONGEST_LIST:
        try:
            filters.optimize()
        except OSError:
            pass  # libseccomp before 2.5: the same filter, as a list
    default = action_value(profile["defaultAction"], profile.get("defaultErrnoRet"))
    for index, rule in enumerate(profile.get("syscalls") or ()):
        _add_rule(filters, rule, default, f"{POINTER}/syscalls/{index}")
    program = enosys_stub(profile, architectures) + filters.program()
    if len(program) > BPF_MAXINSNS * 8:
        raise Error(
            f"the filter has {len(program) // 8} instructions, but the kernel accepts at most {BPF_MAXINSNS}",
            pointer=POINTER + "/syscalls",
        )
    return program, _identity()


def action_value(action: str, errno_ret: int | None) -> int:
    """Return the 32 bits that a filter returns for an action (seccomp(2)). errno_ret: None for EPERM."""
    number = errno.EPERM if errno_ret is None else errno_ret
    if action == "SCMP_ACT_ERRNO":
        return libseccomp.ERRNO | number & 0xFFFF
    if action == "SCMP_ACT_TRACE":
        return libseccomp.TRACE | number & 0xFFFF
    return PLAIN_ACTIONS[action]


def _add_architectures(filters: libseccomp.Filter, profile: Seccomp) -> list[int]:
    """Add the profile's architectures; return all, including the native one, which libseccomp adds to any filter."""
    known = [libseccomp.native_arch()]
    for index, name in enumerate(profile.get("architectures") or ()):
        token = libseccomp.resolve_arch(name.removeprefix("SCMP_ARCH_").lower())
        pointer = f"{POINTER}/architectures/{index}"
        if token == 0:
            raise Error(f"libseccomp {libseccomp.version()} does not know {name}", pointer=pointer)
        if token in known:
            continue
        with reported_as(f"libseccomp refuses {name}", pointer=pointer):
            filters.add_arch(token)
        known.append(token)
    return known


def _add_rule(filters: libseccomp.Filter, rule: Syscall, default: int, pointer: str) -> None:
    action = action_value(rule["action"], rule.get("errnoRet"))
    if action == default:
        return  # libseccomp refuses such a rule, and it would change nothing
    version = libseccomp.version()
    for name in rule["names"]:
        number = libseccomp.resolve_syscall(libseccomp.NATIVE, name)
        if number == -1:
            # Profiles name system calls of future kernels and other architectures; one that this libseccomp does not
            # know gets the default action (or ENOSYS, see enosys_stub).
            continue
        for conditions in alternatives(rule.get("args") or ()):
            arguments = [
                libseccomp.Arg(
                    condition["index"], OPERATORS[condition["op"]], condition["value"], condition.get("valueTwo") or 0
                )
                for condition in conditions
            ]
            with reported_as(f"libseccomp {version} refuses the rule for {name}", pointer=pointer, hint=_hint):
                filters.add_rule(action, number, *arguments)


def _hint(error: OSError) -> str:
    if error.errno == errno.EEXIST:
        # On 32-bit x86, socket goes through socketcall, whose arguments a filter cannot see.
        return "another rule contradicts it for the same call on one of the architectures; put this rule first"
    return ""


def alternatives(conditions: Sequence[SyscallArgument]) -> Iterator[Sequence[SyscallArgument]]:
    """Yield the conditions of each rule that a list of conditions stands for.

    Usually that is one rule, for which all must hold. But libseccomp cannot combine two conditions on one
    argument: then it is one rule for each condition, as engines expect.
    """
    indices = [condition["index"] for condition in conditions]
    if len(set(indices)) == len(indices):
        yield conditions
    else:
        for condition in conditions:
            yield (condition,)


def enosys_stub(profile: Seccomp, architectures: Sequence[int]) -> bytes:
    """Return the code before the filter: ENOSYS for system calls newer than the profile.

    A libc tries a new system call and falls back to an old one only on ENOSYS. EPERM, from a profile that does not know
    the new call, would look like a real answer. So if the default action denies, a number above the highest that the
    profile names gets ENOSYS: its author could not have known that call (runc does the same). Calls of architectures
    that the profile does not name go straight to the filter.
    """
    permits = profile["defaultAction"] in ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
    if permits or profile.get("defaultErrnoRet") == errno.ENOSYS:
        return b""
    names = {name for rule in profile.get("syscalls") or () for name in rule["names"]}
    highest = {}
    for token in architectures:
        numbers = [number for name in names if (number := libseccomp.resolve_syscall(token, name)) >= 0]
        if numbers:
            highest[token] = max(numbers)
    return assemble_stub(highest)


# The parts of cBPF, linux/filter.h, that we need.
LOAD, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_SET, RETURN = 0x20, 0x05, 0x15, 0x25, 0x45, 0x06
NUMBER_OFFSET, ARCH_OFFSET = 0, 4  # struct seccomp_data, linux/seccomp.h
TO_FILTER = -1


def assemble_stub(highest: dict[int, int]) -> bytes:
    """Assemble the stub. highest: each architecture's highest number, by AUDIT_ARCH_… (x32: libseccomp's token)."""
    code: list[tuple[int, int, int, int]] = [(LOAD, 0, 0, ARCH_OFFSET)]
    native_x86, x32 = highest.get(libseccomp.X86_64), highest.get(libseccomp.X32)
    for token, number in highest.items():
        if token not in (libseccomp.X86_64, libseccomp.X32):
            body = [(LOAD, 0, 0, NUMBER_OFFSET)]
            if token in S390:
                # The kernel reports 0 for a number that its encoding of system calls cannot hold.
                body += [(JUMP_EQUAL, 0, 1, 0), _enosys()]
            code += _for_arch(token, body + _above(number))
    if native_x86 is not None or x32 is not None:
        # Both appear as AUDIT_ARCH_X86_64; bit 30 of the number distinguishes them.
        native_part, x32_part = _above(native_x86), _above(x32)
        body = [(LOAD, 0, 0, NUMBER_OFFSET), (JUMP_SET, len(native_part), 0, X32_BIT)]
        code += _for_arch(libseccomp.X86_64, body + native_part + x32_part)
    if len(code) == 1:
        return b""
    packed = []
    for index, (operation, true, false, value) in enumerate(code):
        if value == TO_FILTER:
            value = len(code) - index - 1
        packed.append(struct.pack("=HBBI", operation, true, false, value))
    return b"".join(packed)


def _for_arch(token: int, body: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    return [(JUMP_EQUAL, 0, len(body), token), *body]


def _above(number: int | None) -> list[tuple[int, int, int, int]]:
    go_on = (JUMP, 0, 0, TO_FILTER)
    return [go_on] if number is None else [(JUMP_GREATER, 0, 1, number), _enosys(), go_on]


def _enosys() -> tuple[int, int, int, int]:
    return (RETURN, 0, 0, libseccomp.ERRNO | errno.ENOSYS)


def _identity() -> bytes:
    """Return the loaded library's path, by the symlink that an upgrade would change, and its version."""
    maps = [line for line in lines_of(decode(read_file("/proc/self/maps"))) if "/libseccomp.so" in line]
    # Five fields, then blanks, then the path (proc_pid_maps(5)).
    path = maps[0][maps[0].index("/") :] if maps else ""
    link = os.path.join(os.path.dirname(path), "libseccomp.so.2")
    if os.path.exists(link) and os.path.samefile(link, path):
        path = link
    return os.fsencode(path) + b"\n" + libseccomp.version().encode()
