"""The capability sets of capabilities(7), set in an order that only ever lowers privileges."""

from __future__ import annotations

from ocipy.errors import caused_by, reported_as
from ocipy.init.context import carries_out
from ocipy.linux import _kernel
from ocipy.linux.capabilities import names
from ocipy.linux.constants import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
)
from ocipy.plan.capabilities import Bounding, Capabilities, KeepCapabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init


@carries_out(Bounding)
def bounding(init: Init, step: Bounding) -> None:
    """Drop everything from the bounding set except kept. Needs CAP_SETPCAP, so it runs before the ids change."""
    try:
        _kernel.drop_bounding((1 << step.last + 1) - 1 & ~step.kept)
    except OSError as error:
        raise caused_by(
            error,
            f"cannot drop {names(1 << error.filename)[0]} from the bounding set",
            hint="this needs CAP_SETPCAP, which the runtime lacks",
        ) from None


@carries_out(KeepCapabilities)
def keep_capabilities(init: Init, step: KeepCapabilities) -> None:
    """Keep the permitted set when the user id changes (prctl(2), PR_SET_KEEPCAPS)."""
    _kernel.prctl(PR_SET_KEEPCAPS, 1)


@carries_out(Capabilities)
def capabilities(init: Init, step: Capabilities) -> None:
    """Set the capabilities that the command starts with.

    The ambient set comes last, because it may only contain what is permitted and inheritable. It is cleared even if the
    config asks for no ambient capabilities, since raised ones survive setuid (CVE-2016-8867).
    """
    with reported_as("cannot set the capabilities"):
        _kernel.capset(step.effective, step.permitted, step.inheritable)
    _kernel.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    missing = 0
    for number in range(step.ambient.bit_length()):
        if step.ambient >> number & 1:
            try:
                _kernel.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)
            except OSError:
                missing |= 1 << number
    if missing:
        init.warn("/process/capabilities/ambient: capabilities that cannot be granted: " + ", ".join(names(missing)))
    _kernel.prctl(PR_SET_KEEPCAPS, 0)
    # With fs.suid_dumpable set, the change of ids has made us dumpable again.
    _kernel.prctl(PR_SET_DUMPABLE, 0)
