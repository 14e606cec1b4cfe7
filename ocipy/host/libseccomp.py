"""libseccomp through whichever of its Python bindings is installed. Cold.

pyseccomp (PyPI), or libseccomp's own module `seccomp` (Debian: python3-seccomp). The latter takes numbers as signed
32-bit integers, has no name for some actions, and raises RuntimeError with the error number in its text, or ValueError.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    import pyseccomp as _binding
except ModuleNotFoundError:
    import seccomp as _binding

Arg = _binding.Arg
EQ, GE, GT, LE, LT, NE = _binding.EQ, _binding.GE, _binding.GT, _binding.LE, _binding.LT, _binding.NE
MASKED_EQ = _binding.MASKED_EQ
# linux/seccomp.h: what a filter returns
KILL_PROCESS, KILL_THREAD, TRAP, ERRNO, NOTIFY, TRACE, LOG, ALLOW = (
    0x80000000, 0, 0x30000, 0x50000, 0x7FC00000, 0x7FF00000, 0x7FFC0000, 0x7FFF0000,
)  # fmt: skip
# linux/audit.h, AUDIT_ARCH_; X32 and NATIVE are libseccomp's own (seccomp_arch_add(3))
NATIVE, X32, X86_64, S390, S390X = 0, 0x4000003E, 0xC000003E, 0x16, 0x80000016
_SIGNED = not hasattr(_binding, "_libseccomp")

# Each binding lacks some functions. Both have already loaded this library.
_library = ctypes.CDLL("libseccomp.so.2")
_library.seccomp_arch_native.restype = ctypes.c_uint32
_library.seccomp_arch_resolve_name.argtypes = (ctypes.c_char_p,)
_library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
_library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
_library.seccomp_syscall_resolve_name_arch.restype = ctypes.c_int
_library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)


class Filter:
    """A filter under construction. Every method raises OSError with libseccomp's error number."""

    def __init__(self, action: int) -> None:
        with _errors():
            self._filter = _binding.SyscallFilter(_number(action))

    def optimize(self) -> None:
        """Have it search a binary tree, not a list (seccomp_attr_set(3), SCMP_FLTATR_CTL_OPTIMIZE)."""
        with _errors():
            self._filter.set_attr(_binding.Attr.CTL_OPTIMIZE, 2)

    def add_arch(self, token: int) -> None:
        """Add an architecture."""
        with _errors():
            self._filter.add_arch(_number(token))

    def add_rule(self, action: int, number: int, *arguments: Any) -> None:
        """Add a rule for a system call. arguments: made by Arg."""
        with _errors():
            self._filter.add_rule(_number(action), number, *arguments)

    def program(self) -> bytes:
        """Return the filter as an array of struct sock_filter."""
        with open(os.memfd_create("seccomp"), "w+b") as file:
            with _errors():
                self._filter.export_bpf(file)
            file.seek(0)
            return file.read()


def native_arch() -> int:
    """Return the token of this machine's architecture."""
    return int(_library.seccomp_arch_native())


def resolve_arch(name: str) -> int:
    """Return an architecture's token by its name in libseccomp, 0 if it is unknown."""
    return int(_library.seccomp_arch_resolve_name(name.encode()))


def resolve_syscall(arch: int, name: str) -> int:
    """Return a system call's number on an architecture. -1: libseccomp does not know the name. Another negative number:
    the architecture does not have this call."""
    return int(_library.seccomp_syscall_resolve_name_arch(arch, name.encode()))


def version() -> str:
    """Return the library's version, such as 2.5.4."""
    return ".".join(str(part) for part in _library.seccomp_version().contents)


def _number(unsigned: int) -> int:
    return ctypes.c_int32(unsigned).value if _SIGNED else unsigned


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        found = re.search(r"errno = -(\d+)", str(error))
        number = int(found[1]) if found else errno.EINVAL
        raise OSError(number, os.strerror(number)) from None
