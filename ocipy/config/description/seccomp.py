"""The linux.seccomp section of config.json (config-linux.md, Seccomp)."""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.markers import In, MinItems, Since
from ocipy.config.description.values import (
    SeccompAction,
    SeccompArchitecture,
    SeccompDefaultAction,
    SeccompFlag,
    SeccompOperator,
    Uint32,
    Uint64,
)


class SyscallArgument(TypedDict, total=False):
    """A condition on one argument of a system call."""

    index: Required[Uint32]
    """Which argument, 0 to 5."""
    value: Required[Uint64]
    """The value to compare the argument with; for SCMP_CMP_MASKED_EQ the mask."""
    valueTwo: Uint64
    """For SCMP_CMP_MASKED_EQ: the value that the masked argument must have."""
    op: Required[SeccompOperator]
    """How the argument and the value are compared."""


class Syscall(TypedDict, total=False):
    """An action for some system calls."""

    names: Required[Annotated[list[str], MinItems(1)]]
    """The system calls; those unknown to this architecture or to libseccomp are skipped."""
    action: Required[SeccompAction]
    """What happens to a call that has one of these names and meets the conditions in args."""
    errnoRet: Annotated[Uint32, Since("1.1")]
    """The errno for SCMP_ACT_ERRNO, the message for SCMP_ACT_TRACE; EPERM if absent."""
    args: list[SyscallArgument]
    """Conditions that must all hold; but if two concern the same argument, meeting any one suffices."""


class Seccomp(TypedDict, total=False):
    """The system call filter: seccomp(2)."""

    defaultAction: Required[Annotated[SeccompDefaultAction, In("plan/seccomp host/seccomp_compile")]]
    """What happens to calls that match no entry. If it is empty and there are no syscalls, there is no filter."""
    defaultErrnoRet: Annotated[Uint32, Since("1.1"), In("host/seccomp_compile")]
    """The errno or message of the default action; EPERM if absent."""
    architectures: Annotated[list[SeccompArchitecture], In("host/seccomp_compile")]
    """Architectures that the filter covers in addition to the machine's own."""
    flags: Annotated[list[SeccompFlag], Since("1.0.2"), In("plan/seccomp init/seccomp")]
    """Flags of seccomp(2)."""
    listenerPath: Annotated[str, Since("1.1"), In("plan/seccomp host/seccomp")]
    """The Unix socket of an agent that gets the filter's descriptor; required by SCMP_ACT_NOTIFY."""
    listenerMetadata: Annotated[str, Since("1.1"), In("plan/seccomp host/seccomp")]
    """Text that the agent gets with the descriptor."""
    syscalls: Annotated[list[Syscall], In("plan/seccomp host/seccomp_compile", below="host/seccomp_compile")]
    """Actions for particular system calls."""
