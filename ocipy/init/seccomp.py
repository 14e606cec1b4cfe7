"""Loading the filter of linux.seccomp."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import BPF_MAXINSNS, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_SPEC_ALLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

INSTRUCTION = 8  # bytes: struct sock_filter, linux/filter.h


def seccomp_receive(init: Init) -> None:
    """Take the program, which the host lane left in a memfd, and close that."""
    fd = init.fds.pop("seccomp")
    program = posix.pread(fd, (BPF_MAXINSNS + 1) * INSTRUCTION, 0)
    posix.close(fd)
    if not program or len(program) % INSTRUCTION or len(program) > BPF_MAXINSNS * INSTRUCTION:
        raise Error(f"the filter program of {len(program)} bytes is none")
    init.seccomp_program = program


def seccomp_load(init: Init, *, flags: int, optional: bool) -> None:
    """Load the program. Under it from here on: what still follows has to be permitted by the profile.

    flags: of seccomp(2). optional: SPEC_ALLOW was not asked for by name, and goes where the kernel refuses it.
    """
    try:
        listener = load(init.seccomp_program, flags, optional)
    except OSError as error:
        raise Error("cannot load the filter", errno=error.errno or 0, hint=_hint(error)) from None
    if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER:
        # write and read, since they are what a profile permits before all others; the message has no descriptor in
        # it (sendmsg may be denied): the host fetches the listener by pidfd_getfd(2).
        posix.write(init.channel.fd, b'{"kind":"seccomp","fd":%d}' % listener)
        posix.read(init.channel.fd, 64)
        posix.close(listener)


def load(program: bytes, flags: int, optional: bool) -> int:
    """Load a program; returns its listener where flags ask for one. optional: as of seccomp_load. Raises OSError."""
    try:
        return _kernel.seccomp_load(program, flags)
    except OSError as error:
        if error.errno != errno.EINVAL or not optional:
            raise
    return _kernel.seccomp_load(program, flags & ~SECCOMP_FILTER_FLAG_SPEC_ALLOW)


def _hint(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "without noNewPrivileges it takes CAP_SYS_ADMIN"
    if error.errno == errno.EINVAL:
        return "the kernel does not know one of the flags, or one of the actions"
    if error.errno == errno.ENOMEM:
        return "the filters of this process and its parents are too long together: seccomp(2)"
    return ""


ACTIONS = {"seccomp_receive": seccomp_receive, "seccomp_load": seccomp_load}
