"""The names that uname(2) reports."""

from __future__ import annotations

from ocipy.errors import reported_as
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.plan.uts import Domainname, Hostname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(Hostname)
def hostname(init: Init, step: Hostname) -> None:
    """Set the hostname (sethostname(2))."""
    with reported_as(f"cannot set the hostname {step.name}"):
        _kernel.sethostname(step.name)


@carries_out(Domainname)
def domainname(init: Init, step: Domainname) -> None:
    """Set the NIS domain name (setdomainname(2))."""
    with reported_as(f"cannot set the domainname {step.name}"):
        _kernel.setdomainname(step.name)
