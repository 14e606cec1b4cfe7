"""The mount points of cgroups, and the place of a container's cgroup."""

from __future__ import annotations

import pytest

from ocipy.cgroups.layout import Layout, from_mountinfo, parse_mounts, parse_own, relative
from ocipy.cgroups.paths import container_path, is_within
from ocipy.linux.paths import clean

SELF_CGROUP = """12:name=systemd:/user.slice/x
4:cpu,cpuacct:/a
3:memory:/docker/abc/inner
0::/user.slice/x
"""

MOUNTINFO = """\
24 30 0:22 / /proc rw,relatime shared:5 - proc proc rw
31 23 0:28 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
35 31 0:32 / /somewhere\\040else rw shared:11 - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
42 31 0:38 / /elsewhere rw - cgroup2 cgroup2 rw
"""


@pytest.mark.parametrize("odd", "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
def test_the_name_of_a_cgroup_cannot_forge_a_line(odd: str) -> None:
    assert parse_own(f"1:name=systemd:/x\n0::/a{odd}0::/victim\n") == {"name=systemd": "/x", "": f"/a{odd}0::/victim"}


def test_own_cgroups() -> None:
    assert parse_own(SELF_CGROUP) == {
        "name=systemd": "/user.slice/x",
        "cpu,cpuacct": "/a",
        "memory": "/docker/abc/inner",
        "": "/user.slice/x",
    }
    assert parse_own("0::/with:colon\n") == {"": "/with:colon"}
    assert parse_own("") == {}


def test_mounts() -> None:
    points = [(point, root, kind) for point, root, kind, _ in parse_mounts(MOUNTINFO)]
    assert points == [
        ("/sys/fs/cgroup/cpu,cpuacct", "/", "cgroup"),
        ("/sys/fs/cgroup/memory", "/docker/abc", "cgroup"),
        ("/somewhere else", "/", "cgroup"),
        ("/sys/fs/cgroup/unified", "/", "cgroup2"),
        ("/elsewhere", "/", "cgroup2"),
    ]


def test_layout_of_unusual_places() -> None:
    layout = from_mountinfo(parse_own(SELF_CGROUP), MOUNTINFO)
    assert layout.mode == "hybrid"
    assert layout.mounts == {
        "cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "name=systemd": "/somewhere else",
    }
    assert layout.unified == "/sys/fs/cgroup/unified"
    # memory's mount shows a part of the hierarchy: paths are relative to it.
    assert layout.own["memory"] == "/inner"
    assert layout.directory("memory", "/inner/x") == "/sys/fs/cgroup/memory/inner/x"
    assert layout.directory("", "/") == "/sys/fs/cgroup/unified"


def test_hierarchies_that_are_not_mounted_do_not_count() -> None:
    layout = from_mountinfo({"memory": "/", "pids": "/", "": "/"}, MOUNTINFO)
    assert list(layout.mounts) == ["memory"]


def test_modes() -> None:
    assert Layout({}, "/sys/fs/cgroup", {"": "/"}).mode == "v2"
    assert Layout({"pids": "/x"}, "", {"pids": "/"}).mode == "v1"
    assert Layout({"pids": "/x"}, "/y", {"pids": "/", "": "/"}).mode == "hybrid"


def test_no_cgroups_at_all() -> None:
    layout = from_mountinfo({"": "/"}, "24 30 0:22 / /proc rw - proc proc rw\n")
    assert (layout.mode, layout.mounts, layout.controllers) == ("v1", {}, ())


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [("/a/b", "/", "/a/b"), ("/a/b", "/a", "/b"), ("/a", "/a", "/"), ("/ab", "/a", "/"), ("/", "/a", "/")],
)
def test_relative(path: str, root: str, expected: str) -> None:
    assert relative(path, root) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("", "/"),
        ("..", "/"),
        ("/a/../..", "/"),
        ("/../../etc", "/etc"),
        ("//a//b/", "/a/b"),
        ("/a/./b/..", "/a"),
        ("/a/./../b", "/b"),
        ("a/../../b", "/b"),
    ],
)
def test_clean(path: str, expected: str) -> None:
    assert clean(path) == expected


@pytest.mark.parametrize("mode", ["v1", "hybrid", "v2"])
@pytest.mark.parametrize(("wanted", "expected"), [("/a/b", "/a/b"), ("/../../x", "/x"), ("/a/../../b", "/b")])
def test_absolute_path_is_from_the_top(mode: str, wanted: str, expected: str) -> None:
    assert container_path(wanted, "id", "/own/place", mode) == expected


@pytest.mark.parametrize(
    ("wanted", "own", "mode", "expected"),
    [
        ("", "/own/place", "v1", "/own/place/id"),
        ("", "/", "hybrid", "/id"),
        ("", "/own/place", "v2", "/own/id"),
        ("", "/own", "v2", "/id"),
        ("", "/", "v2", "/id"),
        ("a/b", "/own/place", "v1", "/own/place/a/b"),
        ("a/b", "/own/place", "v2", "/own/a/b"),
        ("../../../x", "/own/place", "v1", "/own/place/x"),
        ("../../../x", "/own/place", "v2", "/own/x"),
    ],
)
def test_relative_path_is_below_our_own(wanted: str, own: str, mode: str, expected: str) -> None:
    assert container_path(wanted, "id", own, mode) == expected


def test_own_cgroup_above_the_namespace() -> None:
    """/proc/self/cgroup shows "/.." if the process is outside the root of its cgroup namespace."""
    assert container_path("", "id", "/../x", "v1") == "/x/id"


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("/c/a", "/c/a", True),
        ("/c/a/b/c", "/c/a", True),
        ("/c/a\x1c/b", "/c", True),
        ("/x", "/", True),
        ("/c/ab", "/c/a", False),
        ("/c", "/c/a", False),
        ("/c/a/../b", "/c/a", False),
        ("/c/a/..", "/c/a", False),
        ("/c/a/./b", "/c/a", False),
        ("/c/a//b", "/c/a", False),
        ("c/a/b", "/c/a", False),
        ("", "/c/a", False),
    ],
)
def test_within_by_components(path: str, base: str, expected: bool) -> None:
    assert is_within(path, base) is expected
