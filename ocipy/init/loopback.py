"""The loopback interface of a new network namespace."""

from __future__ import annotations

from ocipy.errors import reported_as
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.plan.loopback import Loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(Loopback)
def loopback(init: Init, step: Loopback) -> None:
    """Bring lo up: in a new network namespace it exists, but is down (network_namespaces(7))."""
    with reported_as("cannot bring the loopback interface up"):
        _kernel.link_up("lo")
