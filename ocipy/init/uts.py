"""The names that uname(2) reports."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.linux import _kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.init.context import Init


def hostname(init: Init, *, name: str) -> None:
    """sethostname(2)."""
    try:
        _kernel.sethostname(name)
    except OSError as error:
        raise Error(f"cannot set the hostname {name}", errno=error.errno or 0) from None


def domainname(init: Init, *, name: str) -> None:
    """setdomainname(2)."""
    try:
        _kernel.setdomainname(name)
    except OSError as error:
        raise Error(f"cannot set the domainname {name}", errno=error.errno or 0) from None


ACTIONS: dict[str, Callable[..., None]] = {"hostname": hostname, "domainname": domainname}
