"""The names that uname(2) reports."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.plan.uts import Domainname, Hostname

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(Hostname)
def hostname(init: Init, step: Hostname) -> None:
    """sethostname(2)."""
    try:
        _kernel.sethostname(step.name)
    except OSError as error:
        raise Error(f"cannot set the hostname {step.name}", errno=error.errno or 0) from None


@carries_out(Domainname)
def domainname(init: Init, step: Domainname) -> None:
    """setdomainname(2)."""
    try:
        _kernel.setdomainname(step.name)
    except OSError as error:
        raise Error(f"cannot set the domainname {step.name}", errno=error.errno or 0) from None
