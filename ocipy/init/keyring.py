"""The container's own session keyring, which keeps the caller's keys out (keyrings(7))."""

from __future__ import annotations

import errno

from ocipy.errors import caused_by
from ocipy.init.context import carries_out
from ocipy.linux import _kernel, procfs
from ocipy.plan.keyring import Keyring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

# keyctl_setperm(3): permission to search the keyring, for the user who owns it, and for all others: in a new user
# namespace the container's user does not own it.
KEY_USR_SEARCH = 0x80000
KEY_OTH_SEARCH = 0x8
KEY_LABEL = "attr/keycreate"


@carries_out(Keyring)
def keyring(init: Init, step: Keyring) -> None:
    """Join the keyring of that name, creating it with the SELinux label if there is one."""
    if step.label:
        procfs.write(init.proc, KEY_LABEL, step.label.encode())
    try:
        key = _kernel.join_session_keyring(step.name)
        # type;uid;gid;permissions;description (keyctl_describe(3))
        permissions = int(_kernel.keyctl_describe(key).split(";")[3], 16)
        searched = permissions | (KEY_OTH_SEARCH if step.in_user_namespace else KEY_USR_SEARCH)
        # A process that joins later may not own the keyring, and then could not even set what is already set.
        if searched != permissions:
            _kernel.keyctl_setperm(key, searched)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            init.warn("the container has no separate session keyring: the kernel is built without keyrings")
            return
        hint = ""
        if error.errno == errno.EDQUOT:
            hint = "the quota on keys is used up: /proc/sys/kernel/keys"
        elif error.errno in (errno.EPERM, errno.EACCES):
            hint = "if a filter around the runtime denies keyctl, use --no-new-keyring"
        raise caused_by(error, "cannot join a session keyring", hint=hint) from None
    finally:
        if step.label:
            procfs.write(init.proc, KEY_LABEL, b"")
