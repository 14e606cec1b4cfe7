"""The allowed device list (linux.resources.devices): rules in order; the last matching one decides. Pure.

v1 has a default with exceptions, so the rules are folded into that form. v2 has a program that tries the rules one by
one (device_program.py). Both begin with "nothing is allowed" (GO-2022-0396).
"""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.linux.constants import BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE
from ocipy.linux.text import lines_of, words_of
from ocipy.remembered import Remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    # (allow, "b" or "c" or "a", major or -1, minor or -1, access bits)
    Rule = tuple[bool, str, int, int, int]
    Key = tuple[str, int, int]

# The access bits that a device program receives.
READ, WRITE, MKNOD = BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE, BPF_DEVCG_ACC_MKNOD
ALL = READ | WRITE | MKNOD
ANY = -1
BITS = {"r": READ, "w": WRITE, "m": MKNOD}

ALLOW_ALL: Rule = (True, "a", ANY, ANY, ALL)
DENY_ALL: Rule = (False, "a", ANY, ANY, ALL)

# (major, minor) of the default devices of config-linux.md, by path. console and ptmx are not nodes. A device in the
# config with the same path replaces the default one.
DEFAULT_NODES = {
    "/dev/null": (1, 3),
    "/dev/random": (1, 8),
    "/dev/full": (1, 7),
    "/dev/tty": (5, 0),
    "/dev/zero": (1, 5),
    "/dev/urandom": (1, 9),
}
# Making any node is allowed: that is harmless, unlike opening it. After the default devices: the ptys (136:*),
# /dev/ptmx and /dev/net/tun, as in runc.
DEFAULT_RULES: tuple[Rule, ...] = (
    (True, "c", ANY, ANY, MKNOD),
    (True, "b", ANY, ANY, MKNOD),
    *((True, "c", major, minor, ALL) for major, minor in DEFAULT_NODES.values()),
    (True, "c", 136, ANY, ALL),
    (True, "c", 5, 2, ALL),
    (True, "c", 10, 200, ALL),
)


def bits_of(access: str) -> int:
    """Return the access bits of letters such as "rwm"."""
    bits = 0
    for letter in access:
        bits |= BITS[letter]
    return bits


def effective(rules: Sequence[Rule]) -> tuple[bool, list[Rule]]:
    """Return (default, the rules after it). A rule for all devices and all access makes the ones before it useless."""
    backwards = list(reversed(rules))
    after = [backwards.index(everything) for everything in (ALLOW_ALL, DENY_ALL) if everything in backwards]
    if not after:
        return False, list(rules)
    count = min(after)
    return backwards[count][0], list(rules[len(rules) - count :])


class V1List:
    """What a v1 cgroup enforces: a default with exceptions (Documentation/admin-guide/cgroup-v1/devices.rst).

    allow: the default. exceptions: access bits by (type "b" or "c", major, minor), the opposite of the default.
    """

    __slots__ = ("allow", "exceptions")

    def __init__(self, allow: bool = False) -> None:
        self.allow = allow
        self.exceptions: dict[Key, int] = {}

    def apply(self, rule: Rule) -> bool:
        """Add the next rule. Returns False if v1 cannot express it: a hole in an exception with wildcards."""
        allow, kind, major, minor, bits = rule
        kinds = ("b", "c") if kind == "a" else (kind,)
        if allow != self.allow:
            for each in kinds:
                key = (each, major, minor)
                self.exceptions[key] = self.exceptions.get(key, 0) | bits
            return True
        for key, held in list(self.exceptions.items()):
            if key[0] not in kinds or not held & bits or not _overlap(key, major, minor):
                continue
            if not _covers(major, minor, key):
                return False
            if held & ~bits:
                self.exceptions[key] = held & ~bits
            else:
                del self.exceptions[key]
        return True

    def merged(self) -> dict[Key, int]:
        """Return the exceptions in the form that the kernel needs.

        It permits an access only if a single exception does: reading and writing must not be split between two.
        """
        return self.exceptions if self.allow else _PERMITTED[tuple(self.exceptions.items())]


def _permit(exceptions: tuple[tuple[Key, int], ...]) -> dict[Key, int]:
    wide = {key: bits for key, bits in exceptions if ANY in key}
    permitted = {key: bits | (_wider(wide, key) & (READ | WRITE)) for key, bits in exceptions}
    for key, bits in _crossings(wide).items():
        permitted.setdefault(key, bits)
    return permitted


def _crossings(wide: dict[Key, int]) -> dict[Key, int]:
    """Return the devices that one exception matches by major number and another one by minor number, if only the
    two together permit reading and writing. wide: the exceptions with wildcards."""
    found: dict[Key, int] = {}
    for (kind, any_major, minor), bits in wide.items():
        for (other_kind, major, any_minor), other in wide.items():
            if kind != other_kind or any_major != ANY or any_minor != ANY or ANY in (minor, major):
                continue
            both = (bits | other) & (READ | WRITE)
            if both & ~bits and both & ~other:
                found[(kind, major, minor)] = _wider(wide, (kind, major, minor)) & (READ | WRITE)
    return found


def _wider(wide: dict[Key, int], key: Key) -> int:
    """Return the access that other exceptions permit to a device."""
    bits = 0
    for other, held in wide.items():
        if other != key and other[0] == key[0] and _covers(other[1], other[2], key):
            bits |= held
    return bits


_PERMITTED = Remembered(_permit)


def _covers(major: int, minor: int, key: Key) -> bool:
    return major in (ANY, key[1]) and minor in (ANY, key[2])


def _overlap(key: Key, major: int, minor: int) -> bool:
    return (ANY in (major, key[1]) or major == key[1]) and (ANY in (minor, key[2]) or minor == key[2])


def fold(rules: Sequence[Rule], base: str = "") -> V1List:
    """Return the rules in v1's form. Raises Error for a rule that v1 cannot express. base: the list's JSON pointer."""
    return _FOLDED[tuple(rules), base]


def _fold(given: tuple[tuple[Rule, ...], str]) -> V1List:
    rules, base = given
    allow, rest = effective(rules)
    folded = V1List(allow)
    for index, rule in enumerate(rest, len(rules) - len(rest)):
        if not folded.apply(rule):
            raise Error(
                f"the device rule {_word(rule)} {line(rule[1:4], rule[4])} cannot be expressed on cgroup v1",
                pointer=f"{base}/{index}" if base else "",
                hint="it is an exception to a rule with wildcards; list the devices one by one instead",
            )
    return folded


_FOLDED = Remembered(_fold)


def _word(rule: Rule) -> str:
    return "allow" if rule[0] else "deny"


def line(key: Key, bits: int) -> str:
    """Format a rule as in v1's files, such as "c 1:3 rwm"."""
    return _LINES[key, bits]


def _line(rule: tuple[Key, int]) -> str:
    key, bits = rule
    major, minor = ("*" if number == ANY else str(number) for number in key[1:])
    letters = "".join(letter for letter, bit in BITS.items() if bits & bit)
    return f"{key[0]} {major}:{minor} {letters}"


_LINES = Remembered(_line)


def parse_v1_list(text: str) -> V1List:
    """Parse devices.list. If everything is allowed by default, the kernel does not show the exceptions."""
    found = V1List()
    for entry in lines_of(text):
        key, bits = _EXCEPTIONS[entry]
        if key[0] == "a":
            return V1List(True)
        found.exceptions[key] = bits
    return found


def _exception(entry: str) -> tuple[Key, int]:
    """The reverse of _line."""
    kind, numbers, access = words_of(entry)
    major, minor = (ANY if number == "*" else int(number) for number in numbers.split(":"))
    return (kind, major, minor), sum(BITS[letter] for letter in access)


_EXCEPTIONS = Remembered(_exception)


def transition(current: V1List, wanted: V1List) -> list[tuple[str, str]]:
    """Return (file, line) of each write that turns one list into the other.

    Only differences are written, so a running container never loses, even for a moment, what both lists allow.
    """
    writes: list[tuple[str, str]] = []
    before: dict[Key, int] = current.exceptions
    after = wanted.merged()
    if current.allow != wanted.allow:
        writes.append(("devices.allow" if wanted.allow else "devices.deny", "a"))
        before = {}
    add, take = ("devices.deny", "devices.allow") if wanted.allow else ("devices.allow", "devices.deny")
    for key, bits in before.items():
        gone = bits & ~after.get(key, 0)
        if gone:
            writes.append((take, line(key, gone)))
    for key, bits in after.items():
        new = bits & ~before.get(key, 0)
        if new:
            writes.append((add, line(key, new)))
    return writes


def same(found: V1List, wanted: V1List) -> bool:
    """Whether devices.list shows what was wanted; it does not show the exceptions to "all"."""
    return found.allow == wanted.allow and (wanted.allow or found.exceptions == wanted.merged())


def _changes(given: tuple[str, tuple[Rule, ...]]) -> tuple[tuple[str, str], ...]:
    shown, rules = given
    return tuple(transition(parse_v1_list(shown), fold(rules)))


def _are_applied(given: tuple[str, tuple[Rule, ...]]) -> bool:
    shown, rules = given
    return same(parse_v1_list(shown), fold(rules))


CHANGES = Remembered(_changes)
"""By (devices.list, rules): (file, line) of each write that applies the rules. Raises Error as fold does."""
APPLIED = Remembered(_are_applied)
"""By (devices.list, rules): whether the list shows the rules. Raises Error as fold does."""


def allows_everything(rules: Iterable[Rule]) -> bool:
    """Whether the rules deny nothing: each allows all kinds of access."""
    return all(rule[0] and rule[4] == ALL for rule in rules)
