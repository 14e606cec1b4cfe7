"""process.capabilities: the five sets of capabilities(7), reduced to what can be granted.

Spec 1.3, config.md, Linux process: capabilities that cannot be mapped or granted cause a warning, not an error. Missing
sets are empty, and so are all of them if the whole object is missing.
"""

from __future__ import annotations

from ocipy.linux.capabilities import NAMES, mask, names
from ocipy.plan.fields import process_of
from ocipy.plan.model import InitStep
from ocipy.remembered import Remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config import types
    from ocipy.plan.model import Planner

POINTER = "/process/capabilities"
BITS: Remembered[tuple[str, ...], tuple[int, list[str]]] = Remembered(mask)


class Bounding(InitStep):
    """Drop what is not in kept from the bounding set (PR_CAPBSET_DROP). last: highest capability of the kernel."""

    kept: int
    last: int

    def describe(self) -> str:
        known = (1 << (self.last + 1)) - 1
        kept = (self.kept & known).bit_count()
        return f"{kept} kept, {self.last + 1 - kept} dropped"


class KeepCapabilities(InitStep):
    """PR_SET_KEEPCAPS."""

    words = "across the change of ids"


class Capabilities(InitStep):
    """capset(2), and PR_CAP_AMBIENT. Bit masks."""

    effective: int
    permitted: int
    inheritable: int
    ambient: int

    def describe(self) -> str:
        sets = ("effective", "permitted", "inheritable", "ambient")
        return "; ".join(f"{name} {_in_words(vars(self)[name])}" for name in sets)


def _in_words(bits: int) -> str:
    """Show few capabilities by name, many by number."""
    named = names(bits)
    if len(named) == len(NAMES):
        return "all"
    if len(named) > 5:
        return str(len(named))
    return ",".join(name.removeprefix("CAP_").lower() for name in named) or "none"


class Sets:
    """The five sets as bit masks, and why requested capabilities are missing from them ("" if none are)."""

    __slots__ = ("ambient", "bounding", "effective", "inheritable", "permitted", "refused")

    def __init__(
        self, bounding: int, effective: int, permitted: int, inheritable: int, ambient: int, refused: str
    ) -> None:
        self.bounding = bounding
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
        self.ambient = ambient
        self.refused = refused

    @property
    def of_process(self) -> tuple[int, int, int, int]:
        """Return the sets that capset(2) and prctl(2) set once the ids have changed."""
        return self.effective, self.permitted, self.inheritable, self.ambient


def granted(wanted: types.Capabilities | None, available: int, last: int) -> Sets:
    """Return what the kernel will grant of the wanted sets to a process that has `available` now.

    The rules are those of capset(2) and of PR_CAP_AMBIENT_RAISE in prctl(2): effective within permitted, inheritable
    within bounding, ambient within both permitted and inheritable.
    """
    wanted = wanted or {}
    known = (1 << (last + 1)) - 1
    possible = known & available
    reasons: dict[str, list[str]] = {}

    def note(reason: str, which: list[str]) -> None:
        for name in which:
            if not any(name in listed for listed in reasons.values()):
                reasons.setdefault(reason, []).append(name)

    def read(wanted_names: list[str] | None) -> int:
        bits, unknown = BITS[tuple(wanted_names or ())]
        if unknown or bits & ~possible:
            note("unknown", unknown)
            note("not known to this kernel", names(bits & ~known))
            note("not among the runtime's own", names(bits & known & ~available))
        return bits & possible

    def within(bits: int, limit: int, reason: str) -> int:
        if bits & ~limit:
            note(reason, names(bits & ~limit))
        return bits & limit

    bounding = read(wanted.get("bounding"))
    permitted = read(wanted.get("permitted"))
    effective = within(read(wanted.get("effective")), permitted, "effective but not permitted")
    inheritable = within(read(wanted.get("inheritable")), bounding, "inheritable but not in the bounding set")
    ambient = within(
        read(wanted.get("ambient")), permitted & inheritable, "ambient but not both permitted and inheritable"
    )
    refused = "; ".join(f"{', '.join(listed)} ({reason})" for reason, listed in reasons.items())
    return Sets(bounding, effective, permitted, inheritable, ambient, refused)


def sets_of(planner: Planner) -> Sets:
    """Return the sets of the container's process."""
    host = planner.host
    # user_namespaces(7): a process that makes or joins a user namespace has all capabilities in it.
    everything = (1 << (host.last_capability + 1)) - 1
    available = everything if "user" in planner.namespaces.all else host.capabilities
    return granted(process_of(planner.config).get("capabilities"), available, host.last_capability)


def plan_bounding(planner: Planner) -> None:
    """Before the ids change, since it needs CAP_SETPCAP. Warns once about everything that cannot be granted."""
    host = planner.host
    sets = sets_of(planner)
    planner.sets = sets.of_process
    if sets.refused:
        planner.warn(POINTER, "capabilities that cannot be granted: " + sets.refused)
    planner.in_init(Bounding(POINTER + "/bounding", kept=sets.bounding, last=host.last_capability))
    planner.in_init(KeepCapabilities(POINTER))


def plan_sets(planner: Planner) -> None:
    """After the ids have changed: set what the process starts with."""
    effective, permitted, inheritable, ambient = planner.sets or sets_of(planner).of_process
    planner.in_init(
        Capabilities(POINTER, effective=effective, permitted=permitted, inheritable=inheritable, ambient=ambient)
    )
