"""Mounts in words: flags, attributes and propagation of a step. Cold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ocipy.linux import constants
from ocipy.linux.text import words_of
from ocipy.plan.mount_options import FLAGS as MOUNT_WORDS

Arguments = Mapping[str, Any]

ATTRIBUTES = (
    (constants.MOUNT_ATTR_RDONLY, "ro"),
    (constants.MOUNT_ATTR_NOSUID, "nosuid"),
    (constants.MOUNT_ATTR_NODEV, "nodev"),
    (constants.MOUNT_ATTR_NOEXEC, "noexec"),
    (constants.MOUNT_ATTR_NODIRATIME, "nodiratime"),
    (constants.MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
)
PROPAGATION = (
    (constants.MS_PRIVATE, "private"),
    (constants.MS_SLAVE, "slave"),
    (constants.MS_SHARED, "shared"),
    (constants.MS_UNBINDABLE, "unbindable"),
)


def join(*parts: str) -> str:
    """Join the parts that are not empty."""
    return " ".join(part for part in parts if part)


def if_set(value: object, text: str) -> str:
    """Return the text if the value is set."""
    return text if value else ""


def flag_words(flags: int, table: tuple[tuple[int, str], ...]) -> str:
    """Return the words of the set flags."""
    return " ".join(word for flag, word in table if flags & flag)


def attribute_words(attributes: int) -> str:
    """Name attributes of mount_setattr(2) as mount(8) does."""
    atime = {constants.MOUNT_ATTR_NOATIME: "noatime", constants.MOUNT_ATTR_STRICTATIME: "strictatime"}
    return join(flag_words(attributes, ATTRIBUTES), atime.get(attributes & constants.MOUNT_ATTR__ATIME, ""))


def mount_flag_words(flags: int) -> str:
    """Name flags of mount(2) as mount(8) does."""
    return " ".join(word for word, (given, _) in MOUNT_WORDS.items() if given and word != "rbind" and flags & given)


def propagation_words(flags: int) -> str:
    """Name propagation flags of mount(2) as mount(8) does."""
    recursive = "r" if flags & constants.MS_REC else ""
    return " ".join(recursive + word for flag, word in PROPAGATION if flags & flag)


def after_mount(a: Arguments) -> str:
    """Describe what all mounts share: propagation, the recursive attributes, the label."""
    recursive = " ".join("r" + word for word in words_of(attribute_words(a.get("recursive_set") or 0)))
    cleared = " ".join("not-r" + word for word in words_of(attribute_words(a.get("recursive_clear") or 0)))
    return join(
        *(propagation_words(flags) for flags in a.get("propagation") or ()),
        recursive,
        cleared,
        a.get("label") or "",
        if_set(a.get("copy_up"), "with a copy of the existing content"),
        if_set(a.get("late"), "read-only later"),
    )


def bind(a: Arguments) -> str:
    """A bind mount."""
    return join(
        f"{a['source']} → {a['destination']}",
        if_set(a["recursive"], "recursive"),
        attribute_words(a["attr_set"]),
        if_set(a["source_nofollow"], "the link itself"),
        after_mount(a),
    )


def mount(a: Arguments) -> str:
    """A new filesystem."""
    options = join(attribute_words(a.get("attributes") or 0), mount_flag_words(a.get("flags") or 0))
    return join(f"{a['fstype']} → {a['destination']}", options, ",".join(a["data"]), after_mount(a))


def remount(a: Arguments) -> str:
    """New flags of an existing mount."""
    return join(a["destination"], mount_flag_words(a["flags"]), ",".join(a["data"]), after_mount(a))


def cgroup_mount(a: Arguments) -> str:
    """The cgroup filesystem."""
    seen = "as the cgroup namespace shows it" if a["namespace"] else "its own cgroup only"
    return join(f"→ {a['destination']}", attribute_words(a["attributes"]), after_mount(a)) + ", " + seen
