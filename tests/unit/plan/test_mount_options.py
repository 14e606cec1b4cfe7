"""The words of mounts[].options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ocipy.config.mount_options import FLAGS, MOUNT_OPTIONS, PROPAGATION, RECURSIVE, parse
from ocipy.linux import constants as c
from ocipy.plan.mount_options import attribute_words, propagation_words

# config.md, "Linux mount options": every word of its table.
SPECIFIED = """
async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec
noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime
remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime
rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync
tmpcopyup unbindable idmap ridmap
""".split()


def test_every_word_of_the_specification_is_known() -> None:
    assert set(SPECIFIED) <= set(MOUNT_OPTIONS)
    assert list(MOUNT_OPTIONS) == sorted(MOUNT_OPTIONS)


@pytest.mark.parametrize("word", MOUNT_OPTIONS)
def test_no_known_word_is_data(word: str) -> None:
    assert parse([word]).data == ()


@pytest.mark.parametrize("word", [word for word in FLAGS if word != "defaults"])
def test_each_flag_is_set_or_cleared(word: str) -> None:
    on, off = FLAGS[word]
    parsed = parse([word])
    assert (parsed.flags, parsed.cleared) == (on, off)
    assert on | off


def test_defaults_is_accepted_and_nothing() -> None:
    parsed = parse(["defaults"])
    assert (parsed.flags, parsed.cleared, parsed.data) == (0, 0, ())


def test_a_later_word_overrides_an_earlier() -> None:
    assert parse(["ro", "rw"]).attributes == 0
    assert parse(["ro", "rw"]).explicit_clear == c.MOUNT_ATTR_RDONLY
    assert parse(["rw", "ro"]).attributes == c.MOUNT_ATTR_RDONLY
    assert parse(["rw", "ro"]).explicit_clear == 0


@pytest.mark.parametrize(
    ("words", "attributes", "cleared"),
    [
        (["noatime"], c.MOUNT_ATTR_NOATIME, c.MOUNT_ATTR__ATIME),
        (["strictatime"], c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME),
        (["relatime"], 0, c.MOUNT_ATTR__ATIME),
        (["noatime", "strictatime"], c.MOUNT_ATTR_STRICTATIME, c.MOUNT_ATTR__ATIME),
        (["noatime", "atime"], 0, c.MOUNT_ATTR__ATIME),
        (["nodiratime"], c.MOUNT_ATTR_NODIRATIME, 0),
        (["diratime"], 0, c.MOUNT_ATTR_NODIRATIME),
        ([], 0, 0),
    ],
)
def test_the_kinds_of_atime_are_one_field(words: list[str], attributes: int, cleared: int) -> None:
    assert parse(words).attributes == attributes
    assert parse(words).explicit_clear == cleared


def test_a_bind_mount_clears_unnamed_flags_only_if_some_flag_is_named() -> None:
    assert parse(["bind"]).implicit_clear == 0
    assert parse(["rbind", "rprivate"]).implicit_clear == 0
    named = parse(["bind", "ro", "exec"])
    assert named.attributes == c.MOUNT_ATTR_RDONLY
    assert named.explicit_clear == c.MOUNT_ATTR_NOEXEC
    assert named.implicit_clear == c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV | c.MOUNT_ATTR_NOSYMFOLLOW


@pytest.mark.parametrize("word", RECURSIVE)
def test_recursive_words(word: str) -> None:
    on, off = RECURSIVE[word]
    parsed = parse([word])
    assert (parsed.recursive_set, parsed.recursive_clear) == (on, off)


def test_recursive_words_override_too() -> None:
    parsed = parse(["rro", "rrw", "rnoatime", "rstrictatime"])
    assert parsed.recursive_set == c.MOUNT_ATTR_STRICTATIME
    assert parsed.recursive_clear == c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR__ATIME


def test_propagation_keeps_its_order() -> None:
    parsed = parse(["rslave", "shared", "nosuid"])
    assert parsed.propagation == (c.MS_SLAVE | c.MS_REC, c.MS_SHARED)


def test_unknown_words_are_data_in_their_order() -> None:
    assert parse(["size=1m", "nosuid", "mode=755", "acl", ""]).data == ("size=1m", "mode=755", "acl")


def test_words_of_the_superblock() -> None:
    assert parse(["ro", "sync", "dirsync", "mand", "lazytime", "silent", "noexec"]).superblock == (
        "ro",
        "sync",
        "dirsync",
        "mand",
        "lazytime",
    )


@pytest.mark.parametrize(
    ("word", "expected"),
    [("idmap", (1, "")), ("ridmap", (2, "")), ("idmap=uids=0-1-2;gids=0-1-2", (1, "uids=0-1-2;gids=0-1-2"))],
)
def test_idmap(word: str, expected: tuple[int, str]) -> None:
    parsed = parse([word])
    assert (parsed.idmap, parsed.idmap_text) == expected


def test_words_back_from_flags() -> None:
    words = ["ro", "nosuid", "nodiratime", "noatime"]
    assert attribute_words(parse(words).attributes) == " ".join(words)
    for word, flag in PROPAGATION.items():
        assert propagation_words(flag) == word


def test_the_documentation_has_every_word() -> None:
    page = (Path(__file__).parents[3] / "docs/mounts.md").read_text()
    words = set(re.findall(r"`([a-z-]+)`", page))
    assert set(MOUNT_OPTIONS) <= words
