"""The words of mounts[].options, and what each means to the kernel.

Words that mean the same as in mount(8) are flags of mount(2); the r… words are attributes of mount_setattr(2) for the
whole tree; an unknown word is data for the filesystem (config.md, "Linux mount options"). docs/mounts.md has the table
for users.
"""

from __future__ import annotations

from ocipy.linux.constants import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MS_BIND,
    MS_DIRSYNC,
    MS_I_VERSION,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_NOSYMFOLLOW,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_REMOUNT,
    MS_SHARED,
    MS_SILENT,
    MS_SLAVE,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
    MS_UNBINDABLE,
)
from ocipy.linux.paths import clean
from ocipy.remembered import Remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ocipy.config.types import Config, IDMapping, Mount

# word: (flags that it sets, flags that it clears)
FLAGS: dict[str, tuple[int, int]] = {
    "async": (0, MS_SYNCHRONOUS),
    "atime": (0, MS_NOATIME),
    "bind": (MS_BIND, 0),
    "defaults": (0, 0),
    "dev": (0, MS_NODEV),
    "diratime": (0, MS_NODIRATIME),
    "dirsync": (MS_DIRSYNC, 0),
    "exec": (0, MS_NOEXEC),
    "iversion": (MS_I_VERSION, 0),
    "lazytime": (MS_LAZYTIME, 0),
    "loud": (0, MS_SILENT),
    "mand": (MS_MANDLOCK, 0),
    "noatime": (MS_NOATIME, 0),
    "nodev": (MS_NODEV, 0),
    "nodiratime": (MS_NODIRATIME, 0),
    "noexec": (MS_NOEXEC, 0),
    "noiversion": (0, MS_I_VERSION),
    "nolazytime": (0, MS_LAZYTIME),
    "nomand": (0, MS_MANDLOCK),
    "norelatime": (0, MS_RELATIME),
    "nostrictatime": (0, MS_STRICTATIME),
    "nosuid": (MS_NOSUID, 0),
    "nosymfollow": (MS_NOSYMFOLLOW, 0),
    "rbind": (MS_BIND | MS_REC, 0),
    "relatime": (MS_RELATIME, 0),
    "remount": (MS_REMOUNT, 0),
    "ro": (MS_RDONLY, 0),
    "rw": (0, MS_RDONLY),
    "silent": (MS_SILENT, 0),
    "strictatime": (MS_STRICTATIME, 0),
    "suid": (0, MS_NOSUID),
    "symfollow": (0, MS_NOSYMFOLLOW),
    "sync": (MS_SYNCHRONOUS, 0),
}

PROPAGATION: dict[str, int] = {
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "rshared": MS_SHARED | MS_REC,
    "rslave": MS_SLAVE | MS_REC,
    "runbindable": MS_UNBINDABLE | MS_REC,
    "shared": MS_SHARED,
    "slave": MS_SLAVE,
    "unbindable": MS_UNBINDABLE,
}

# word: (attributes that it sets, attributes that it clears) on each mount of the tree.
# The kinds of atime share one field of several bits: to set a new value the kernel requires clearing all of it.
RECURSIVE: dict[str, tuple[int, int]] = {
    "rro": (MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, MOUNT_ATTR_RDONLY),
    "rnosuid": (MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, MOUNT_ATTR_NOSUID),
    "rnodev": (MOUNT_ATTR_NODEV, 0),
    "rdev": (0, MOUNT_ATTR_NODEV),
    "rnoexec": (MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, MOUNT_ATTR_NOEXEC),
    "rnodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "rdiratime": (0, MOUNT_ATTR_NODIRATIME),
    "rnosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rsymfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
    "rnoatime": (MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME),
    "ratime": (0, MOUNT_ATTR__ATIME),
    "rrelatime": (0, MOUNT_ATTR__ATIME),
    "rnorelatime": (0, MOUNT_ATTR__ATIME),
    "rstrictatime": (MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME),
    "rnostrictatime": (0, MOUNT_ATTR__ATIME),
}

# Words that ocipy implements itself. The last three are crun's.
OWN = ("idmap", "ridmap", "tmpcopyup", "copy-symlink", "dest-nofollow", "src-nofollow")

MOUNT_OPTIONS: tuple[str, ...] = tuple(sorted((*FLAGS, *PROPAGATION, *RECURSIVE, *OWN)))
"""Every word that is not passed on to the filesystem, for `features` (features.md, mountOptions)."""

# (flag of mount(2), attribute of mount_setattr(2)) of each word that is also in RECURSIVE, with the prefix r. The kinds
# of atime are handled separately.
_ATTRIBUTES = tuple((FLAGS[word[1:]][0], on) for word, (on, off) in RECURSIVE.items() if on and not off)
_ATIME = MS_NOATIME | MS_RELATIME | MS_STRICTATIME

# Options of a filesystem that fsconfig(2) takes too. "silent" only affects the kernel's log. "iversion" needs mount(2).
_SUPERBLOCK = ("ro", "sync", "dirsync", "mand", "lazytime")

# fsconfig(2) takes values of up to 255 bytes, mount(2) a whole page.
LONGEST_VALUE = 255

CGROUP_TYPES = ("cgroup", "cgroup2")

RESTRICTIONS = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW


class MountOptions:
    """The options of one mount, sorted by purpose. Nothing changes them: mounts with the same words share them.

    flags, cleared: MS_… of mount(2) that were set or cleared by a word; a later word overrides an earlier one.
    propagation: MS_… flags in the order of the words. recursive_set, recursive_clear: MOUNT_ATTR_….
    data: for the filesystem. idmap: 0, 1 for the mount alone, 2 for its tree; idmap_text: the text after "idmap=".
    copy_up, copy_symlink, source_nofollow, target_nofollow: the words of OWN.
    is_bind, is_remount: whether these flags are among them.

    What follows from them:
    attributes: MOUNT_ATTR_… to set, for fsmount(2). The kernel's default, relatime, is 0.
    explicit_clear: MOUNT_ATTR_… to clear, including the atime field if a word names one of its kinds.
    implicit_clear: MOUNT_ATTR_… that a bind mount loses although no word says so. As in mount(8) -o remount,bind, and
    so in runc and crun: naming any flag clears those not named.
    needs_mount2: fsconfig(2) has no word for iversion, and cannot take several options in one, such as
    "size=1m,mode=755".
    superblock: words for fsconfig(2) of a new filesystem.
    """

    __slots__ = (
        "attributes",
        "cleared",
        "copy_symlink",
        "copy_up",
        "data",
        "explicit_clear",
        "flags",
        "idmap",
        "idmap_text",
        "implicit_clear",
        "is_bind",
        "is_remount",
        "needs_mount2",
        "propagation",
        "recursive_clear",
        "recursive_set",
        "source_nofollow",
        "superblock",
        "target_nofollow",
    )

    def __init__(self, words: Sequence[str]) -> None:
        self.flags = 0
        self.cleared = 0
        self.propagation: tuple[int, ...] = ()
        self.recursive_set = 0
        self.recursive_clear = 0
        self.idmap = 0
        self.idmap_text = ""
        self.copy_up = False
        self.copy_symlink = False
        self.source_nofollow = False
        self.target_nofollow = False
        data: list[str] = []
        for word in words:
            if word in FLAGS:
                on, off = FLAGS[word]
                self.flags = self.flags & ~off | on
                self.cleared = self.cleared & ~on | off
            elif word in PROPAGATION:
                self.propagation += (PROPAGATION[word],)
            elif word in RECURSIVE:
                on, off = RECURSIVE[word]
                self.recursive_set = self.recursive_set & ~off | on
                self.recursive_clear = self.recursive_clear & ~on | off
            elif not self._is_own(word) and word:
                data.append(word)
        self.data = tuple(data)
        self._conclude()

    def _is_own(self, word: str) -> bool:
        if word == "tmpcopyup":
            self.copy_up = True
        elif word == "copy-symlink":
            self.copy_symlink = True
        elif word == "src-nofollow":
            self.source_nofollow = True
        elif word == "dest-nofollow":
            self.target_nofollow = True
        elif word in ("idmap", "ridmap") or word.startswith(("idmap=", "ridmap=")):
            self.idmap = 2 if word[0] == "r" else 1
            self.idmap_text = word.partition("=")[2]
        else:
            return False
        return True

    def _conclude(self) -> None:
        flags = self.flags
        self.is_bind = bool(flags & MS_BIND)
        self.is_remount = bool(flags & MS_REMOUNT)
        attributes, clear = _atime(flags), 0
        for flag, attribute in _ATTRIBUTES:
            if flags & flag:
                attributes |= attribute
            elif self.cleared & flag:
                clear |= attribute
        if (flags | self.cleared) & _ATIME:
            clear |= MOUNT_ATTR__ATIME
        self.attributes, self.explicit_clear = attributes, clear
        self.implicit_clear = RESTRICTIONS & ~attributes & ~clear if attributes or clear else 0
        self.needs_mount2 = bool(flags & MS_I_VERSION) or any("," in word or _is_long(word) for word in self.data)
        self.superblock = tuple(word for word in _SUPERBLOCK if flags & FLAGS[word][0])


def _is_long(word: str) -> bool:
    return len(word.partition("=")[2].encode("utf-8", "surrogatepass")) > LONGEST_VALUE


def _atime(flags: int) -> int:
    """Choose as mount(2) does: strictatime before noatime before relatime."""
    if flags & MS_STRICTATIME:
        return MOUNT_ATTR_STRICTATIME
    return MOUNT_ATTR_NOATIME if flags & MS_NOATIME else 0


OPTIONS = Remembered(MountOptions)


def parse(words: Sequence[str]) -> MountOptions:
    """Sort the words of mounts[].options."""
    return OPTIONS[tuple(words)]


class MountEntry:
    """An entry of mounts with its options sorted.

    pointer: of the entry. given: the entry itself. fstype: "" if there is none. destination: clean and absolute.
    is_bind: bind or rbind is among its options (config.md: then the type is ignored); the type "bind" is accepted too.
    is_remount: it only changes the flags of an existing mount.
    """

    __slots__ = ("destination", "fstype", "given", "is_bind", "is_remount", "options", "pointer")

    def __init__(self, pointer: str, given: Mount) -> None:
        self.pointer = pointer
        self.given = given
        self.fstype = given.get("type") or ""
        self.destination = clean(given["destination"])
        self.options = parse(given.get("options") or ())
        self.is_bind = self.options.is_bind or self.fstype == "bind"
        self.is_remount = self.options.is_remount


def read_mounts(config: Config) -> list[MountEntry]:
    """Return the entries of mounts, in their order."""
    return [MountEntry(f"/mounts/{index}", entry) for index, entry in enumerate(config.get("mounts") or ())]


def parse_idmap(text: str, maps: Mapping[str, Sequence[IDMapping]]) -> dict[str, tuple[tuple[int, int, int], ...]]:
    """Parse crun's form, idmap=uids=0-1-10#10-11-10;gids=@0-100-10 (crun(1)); "@" refers to the container's maps.

    maps: the container's, under "uids" and "gids". Return (inside, outside, size) of each range. Raises ValueError.
    """
    found = {}
    for part in text.split(";"):
        kind, _, ranges = part.partition("=")
        if kind not in maps:
            raise ValueError(f"idmap takes uids and gids, not {kind!r}")
        found[kind] = tuple(_parse_range(one, maps[kind]) for one in ranges.split("#"))
    return found


def _parse_range(text: str, container: Sequence[IDMapping]) -> tuple[int, int, int]:
    numbers = text.removeprefix("@").split("-")
    if len(numbers) != 3 or not all(number.isdecimal() and len(number) <= 10 for number in numbers):
        raise ValueError(f"{text!r} is not a mapping, written as FROM-TO-LENGTH, such as 0-1000-1")
    inside, outside, size = (int(number) for number in numbers)
    if text.startswith("@"):
        for mapping in container:
            if 0 <= outside - mapping["containerID"] < mapping["size"]:
                return inside, outside - mapping["containerID"] + mapping["hostID"], size
        raise ValueError(f"{text!r}: the container has no id {outside}")
    return inside, outside, size
