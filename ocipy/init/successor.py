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


def continue_in_child(init: Init, *, enters_time: bool) -> None:
    """Fork a child of the runtime, which waits for it and reaps it, and send the runtime its pid.

    enters_time: the child enters a new time namespace. If it shares our memory, the kernel lets it enter only at its
    exec (since Linux 6.2), or refuses the clone. A process that joined the container before the exec would then be in
    the runtime's time namespace.

    Returns only in the child. Raises OSError.
    """
    if not enters_time:
        try:
            pid = _kernel.clone_successor()
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
        else:
            init.channel.send("pid", {"pid": pid})
            return
    pid, _ = _kernel.clone3(CLONE_PARENT, 0, -1)
    if pid != 0:
        init.channel.send("pid", {"pid": pid})
        posix._exit(0)
