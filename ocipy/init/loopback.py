"""The loopback interface of a new network namespace."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.linux import _kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocipy.init.context import Init


def loopback(init: Init) -> None:
    """Bring lo up: in a new network namespace it exists, but is down (network_namespaces(7))."""
    try:
        _kernel.link_up("lo")
    except OSError as error:
        raise Error("cannot bring the loopback interface up", errno=error.errno or 0) from None


ACTIONS: dict[str, Callable[..., None]] = {"loopback": loopback}
