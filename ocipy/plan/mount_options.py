"""What the steps that mount have in common, and the words for their flags."""

from __future__ import annotations

from ocipy.config.mount_options import FLAGS, PROPAGATION, RECURSIVE
from ocipy.linux.constants import MOUNT_ATTR__ATIME
from ocipy.plan.model import InitStep, if_set, phrase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from ocipy.config.mount_options import MountOptions

    class Tree(TypedDict):
        """The members of MountStep that the options of a mount give."""

        propagation: tuple[int, ...]
        recursive_set: int
        recursive_clear: int


def tree_of(options: MountOptions) -> Tree:
    """Return what a mount's options say about its propagation and about all mounts below it."""
    return {
        "propagation": options.propagation,
        "recursive_set": options.recursive_set,
        "recursive_clear": options.recursive_clear,
    }


def attribute_words(attributes: int) -> str:
    """Name attributes of mount_setattr(2) as mount(8) does."""
    return " ".join(word[1:] for word, (on, off) in RECURSIVE.items() if on and attributes & (on | off) == on)


def recursive_words(attributes: int, cleared: int) -> str:
    """Name attributes that are set and cleared on a whole tree by the words of RECURSIVE."""
    words = [word for word, (on, off) in RECURSIVE.items() if on and attributes & (on | off) == on]
    for word, (on, off) in RECURSIVE.items():
        # Several words clear the kind of atime: use the one for the kernel's default.
        if not on and cleared & ~attributes & off == off and (off != MOUNT_ATTR__ATIME or word == "rrelatime"):
            words.append(word)
    return " ".join(words)


def mount_flag_words(flags: int) -> str:
    """Name flags of mount(2) as mount(8) does."""
    return " ".join(word for word, (given, _) in FLAGS.items() if given and word != "rbind" and flags & given)


def propagation_words(flags: int) -> str:
    """Name propagation flags of mount(2) as mount(8) does."""
    return "".join(word for word, given in PROPAGATION.items() if given == flags)


class MountStep(InitStep):
    """What all steps that mount have in common.

    destination: in the container. propagation: MS_… in the order of the words. recursive_set, recursive_clear:
    MOUNT_ATTR_… for the whole tree.
    """

    destination: str
    propagation: tuple[int, ...]
    recursive_set: int
    recursive_clear: int

    def describe_rest(self, *more: str) -> str:
        """Return the words of these members except the destination, then those of more."""
        return phrase(
            *map(propagation_words, self.propagation),
            recursive_words(self.recursive_set, self.recursive_clear),
            *more,
        )


class NewMount(MountStep):
    """A new filesystem.

    data: options for it. label: SELinux's, or "". copy_up: copy the existing content of the destination into it.
    late: it becomes read-only later, by the RemountReadonly of the same pointer.
    """

    source: str
    fstype: str
    data: tuple[str, ...]
    label: str
    copy_up: bool
    late: bool

    def describe_options(self, options: str) -> str:
        """Return the words of the step. options: those of its attributes or flags."""
        rest = self.describe_rest(
            self.label,
            if_set(self.copy_up, "(with a copy of the existing content)"),
            if_set(self.late, "(read-only later)"),
        )
        return phrase(f"{self.fstype} → {self.destination}", options, ",".join(self.data), rest)


class FsopenMount(NewMount):
    """A new filesystem by fsopen(2). attributes: MOUNT_ATTR_…. superblock: words for fsconfig(2)."""

    attributes: int
    superblock: tuple[str, ...]

    def describe(self) -> str:
        words = attribute_words(self.attributes).split(" ")
        return self.describe_options(phrase(*words, *(word for word in self.superblock if word not in words)))
