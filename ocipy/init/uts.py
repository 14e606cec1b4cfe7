"""The names that uname(2) tells, and the loopback interface: what makes fresh namespaces usable."""

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


def loopback(init: Init) -> None:
    """Bring lo up: in a new network namespace it is there, but down (network_namespaces(7))."""
    try:
        _kernel.link_up("lo")
    except OSError as error:
        raise Error("cannot bring the loopback interface up", errno=error.errno or 0) from None


ACTIONS: dict[str, Callable[..., None]] = {"hostname": hostname, "domainname": domainname, "loopback": loopback}
