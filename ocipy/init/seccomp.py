"""Loading the filter of linux.seccomp."""

from __future__ import annotations

import errno
import posix

from ocipy.errors import Error
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.linux.constants import BPF_MAXINSNS, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_SPEC_ALLOW
from ocipy.plan.seccomp import INSTRUCTION, SeccompLoad, SeccompReceive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(SeccompReceive)
def seccomp_receive(init: Init, step: SeccompReceive) -> None:
    """Read the program from the memfd that the host lane prepared, and close it."""
    fd, init.fds.seccomp = init.fds.seccomp, -1
    program = posix.pread(fd, (BPF_MAXINSNS + 1) * INSTRUCTION, 0)
    posix.close(fd)
    if not program or len(program) % INSTRUCTION or len(program) > BPF_MAXINSNS * INSTRUCTION:
        raise Error(f"the filter program is malformed: {len(program)} bytes")
    init.seccomp_program = program
    init.seccomp_load = next((each for each in init.steps if isinstance(each, SeccompLoad)), None)


@carries_out(SeccompLoad)
def seccomp_load(init: Init, step: SeccompLoad) -> None:
    """Load the program. From here on the profile must permit every remaining system call of init.

    flags: of seccomp(2). optional: drop SPEC_ALLOW if the kernel refuses it, since the config did not ask for it.
    """
    try:
        listener = load_filter(init.seccomp_program, step.flags, step.optional)
    except OSError as error:
        raise load_refused(error.errno or 0) from None
    if step.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER:
        # Use write and read, which profiles hardly ever deny. The message carries no descriptor, since sendmsg may be
        # denied: the host fetches the listener by pidfd_getfd(2).
        posix.write(init.channel.fd, b'{"kind":"seccomp","fd":%d}' % listener)
        posix.read(init.channel.fd, 64)
        posix.close(listener)


def load_filter(program: bytes, flags: int, optional: bool) -> int:
    """Load a program; return its listener if flags ask for one. optional: see seccomp_load. Raises OSError."""
    try:
        return _kernel.seccomp_load(program, flags)
    except OSError as error:
        if error.errno != errno.EINVAL or not optional:
            raise
    return _kernel.seccomp_load(program, flags & ~SECCOMP_FILTER_FLAG_SPEC_ALLOW)


def load_refused(number: int) -> Error:
    """Return the Error for an errno of seccomp(2)."""
    return Error("cannot load the filter", errno=number, hint=_HINTS.get(number, ""))


_NEEDS_PRIVILEGE = "without noNewPrivileges it needs CAP_SYS_ADMIN"
_HINTS = {
    errno.EACCES: _NEEDS_PRIVILEGE,
    errno.EPERM: _NEEDS_PRIVILEGE,
    errno.EINVAL: "the kernel does not know one of the flags, or one of the actions",
    errno.ENOMEM: "the filters of this process are too long, including those that it has inherited: seccomp(2)",
}
