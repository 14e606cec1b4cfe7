"""A mount on "/", such as an overlay, becomes the container's root, and nothing of the host stays reachable."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Runtime, parse_mountinfo

NewId = Callable[[], str]
pytestmark = pytest.mark.differs_from_runc("it mounts nothing on the root itself")


@pytest.fixture
def lower(make_bundle: Callable[..., Bundle]) -> Path:
    """The root filesystem below an overlay."""
    return make_bundle().rootfs


@pytest.fixture
def overlaid(make_bundle: Callable[..., Bundle], lower: Path, work: Path) -> Bundle:
    """A bundle with an empty root.path, and an overlay of `lower` on "/"."""
    bundle = make_bundle()
    empty = bundle.path / "empty"
    empty.mkdir()
    for name in ("upper", "work"):
        (work / name).mkdir()
    bundle.config["root"] = {"path": "empty"}
    options = [f"lowerdir={lower}", f"upperdir={work}/upper", f"workdir={work}/work"]
    bundle.config["mounts"].insert(0, {"destination": "/", "type": "overlay", "source": "overlay", "options": options})
    return bundle


def with_user_namespace(bundle: Bundle, work: Path) -> Bundle:
    for name in ("upper", "work"):
        os.chown(work / name, 100000, 100000)
    bundle.user_namespace()
    bundle.config["mounts"][0]["options"].append("userxattr")
    return bundle


@pytest.mark.parametrize("flags", [(), ("--no-pivot",)])
@pytest.mark.parametrize("user", [False, True])
def test_an_overlay_on_the_root_is_the_root(
    runtime: Runtime, overlaid: Bundle, lower: Path, work: Path, new_id: NewId, user: bool, flags: tuple[str, ...]
) -> None:
    before = sorted(os.listdir(lower))
    bundle = with_user_namespace(overlaid, work) if user else overlaid
    result = runtime.run(bundle.sh("echo of the box > /made; ls /"), new_id(), *flags).ok()
    assert sorted(result.stdout.split()) == sorted([*before, "made"])
    assert (work / "upper/made").read_text() == "of the box\n"
    assert sorted(os.listdir(lower)) == before
    assert os.listdir(bundle.path / "empty") == []


@pytest.mark.parametrize("user", [False, True])
def test_nothing_of_the_host_is_left_below_a_mount_on_the_root(
    runtime: Runtime, overlaid: Bundle, work: Path, new_id: NewId, user: bool
) -> None:
    bundle = with_user_namespace(overlaid, work) if user else overlaid
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    table = runtime.run(bundle.sh("cat /proc/self/mountinfo"), new_id()).ok().stdout
    roots = [mount for mount in parse_mountinfo(table) if mount.point == "/"]
    assert [mount.fstype for mount in roots] == ["overlay"]
    points = {mount.point for mount in parse_mountinfo(table)}
    assert points <= {"/", *(mount["destination"] for mount in bundle.config["mounts"])} | {
        point for point in points if point.startswith(("/dev/", "/sys/fs/cgroup/"))
    }


def test_root_readonly_applies_to_the_mount_on_the_root(
    runtime: Runtime, overlaid: Bundle, work: Path, new_id: NewId
) -> None:
    overlaid.config["root"]["readonly"] = True
    result = runtime.run(overlaid.sh("touch /made"), new_id())
    assert result.status != 0
    assert "Read-only file system" in result.stderr
    assert not (work / "upper/made").exists()


def test_a_bind_mount_on_the_root(
    runtime: Runtime, make_bundle: Callable[..., Bundle], lower: Path, new_id: NewId
) -> None:
    bundle = make_bundle()
    (bundle.path / "empty").mkdir()
    bundle.config["root"] = {"path": "empty"}
    bundle.config["mounts"].insert(0, {"destination": "/", "type": "bind", "source": str(lower), "options": ["rbind"]})
    names = runtime.run(bundle.sh("ls /"), new_id()).ok().stdout.split()
    assert sorted(names) == sorted(os.listdir(lower))


@pytest.mark.parametrize("change", ["remount", "no namespace"])
def test_a_mount_on_the_root_that_is_refused(runtime: Runtime, overlaid: Bundle, new_id: NewId, change: str) -> None:
    if change == "remount":
        overlaid.config["mounts"][0]["options"] = ["remount", "ro"]
    else:
        overlaid.linux["namespaces"] = [entry for entry in overlaid.linux["namespaces"] if entry["type"] != "mount"]
        overlaid.linux["maskedPaths"] = overlaid.linux["readonlyPaths"] = []
    runtime.run(overlaid.args("true"), new_id()).fails("/mounts/0/destination", "root")


def test_an_upper_directory_is_not_shared_by_two(
    runtime: Runtime, overlaid: Bundle, make_bundle: Callable[..., Bundle], lower: Path, work: Path, new_id: NewId
) -> None:
    """Two containers with one lower directory: each sees only its own writes."""
    for name in ("upper2", "work2"):
        (work / name).mkdir()
    other = make_bundle()
    (other.path / "empty").mkdir()
    other.config["root"] = {"path": "empty"}
    options = [f"lowerdir={lower}", f"upperdir={work}/upper2", f"workdir={work}/work2"]
    other.config["mounts"].insert(0, {"destination": "/", "type": "overlay", "source": "overlay", "options": options})
    runtime.run(overlaid.sh("echo one > /one"), new_id()).ok()
    assert "one" not in runtime.run(other.sh("ls /; echo two > /two"), new_id()).ok().stdout.split()
    assert "two" not in runtime.run(overlaid.sh("ls /"), new_id()).ok().stdout.split()
