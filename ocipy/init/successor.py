"""The fork into a joined pid namespace, or into a new time namespace: these only take effect for children (setns(2)).

The child continues in the memory of its parent, which is suspended until the runtime kills it. A fork would copy the
page tables of Python, and later each page that one of the two writes to. A container process with CAP_SYS_PTRACE over
the runtime's user namespace could write to that memory. But then it controls the child, which still has all our
capabilities, so it gains nothing from writing to the parent's.
"""

from __future__ import annotations

import errno
import posix

from ocipy.linux import _kernel
from ocipy.linux.constants import CLONE_PARENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# A time namespace applies to memory, so it cannot be entered together with someone else's (clone(2)).
NOT_SHARED = (errno.EINVAL, errno.ENOSYS)


def continue_in_child(init: Init) -> None:
    """Fork a child of the runtime, which waits for it and reaps it, and tell the runtime its pid.

    Returns only in the child. Raises OSError.
    """
    try:
        pid = _kernel.clone_successor()
    except OSError as error:
        if error.errno not in NOT_SHARED:
            raise
        pid, _ = _kernel.clone3(CLONE_PARENT, 0, -1)
        if pid == 0:
            return
        init.channel.send("pid", {"pid": pid})
        posix._exit(0)
    init.channel.send("pid", {"pid": pid})
