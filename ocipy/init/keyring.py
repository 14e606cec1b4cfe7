"""The session keyring: one of the container's own, so that the caller's keys stay outside (keyrings(7))."""

from __future__ import annotations

import errno

from ocipy.errors import Error
from ocipy.linux import _kernel, procfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.init.context import Init

# keyctl_setperm(3): the right to find keys in it, for the possessor's user, and for all others where the user is one of
# a user namespace, whom the keyring does not belong to.
KEY_USR_SEARCH = 0x80000
KEY_OTH_SEARCH = 0x8
KEY_LABEL = "attr/keycreate"


def keyring(init: Init, *, name: str, in_user_namespace: bool, label: str) -> None:
    """Join the keyring of that name, which is made with the SELinux label if there is one."""
    if label:
        procfs.write(init.proc, KEY_LABEL, label.encode())
    try:
        key = _kernel.join_session_keyring(name)
        # type;uid;gid;permissions;description (keyctl_describe(3))
        permissions = int(_kernel.keyctl_describe(key).split(";")[3], 16)
        searched = permissions | (KEY_OTH_SEARCH if in_user_namespace else KEY_USR_SEARCH)
        # A process that joins later is maybe not the user whose it is, and then may not set what is set already.
        if searched != permissions:
            _kernel.keyctl_setperm(key, searched)
    except OSError as error:
        if error.errno == errno.ENOSYS:
            init.warn("there is no session keyring of the container's own: the kernel is built without keyrings")
            return
        hint = ""
        if error.errno == errno.EDQUOT:
            hint = "the quota of keys is used up: /proc/sys/kernel/keys"
        elif error.errno in (errno.EPERM, errno.EACCES):
            hint = "where a filter around the runtime denies keyctl, --no-new-keyring does without"
        raise Error("cannot join a session keyring", errno=error.errno or 0, hint=hint) from None
    finally:
        if label:
            procfs.write(init.proc, KEY_LABEL, b"")


ACTIONS: dict[str, Callable[..., None]] = {"keyring": keyring}
