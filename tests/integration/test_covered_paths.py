"""maskedPaths and readonlyPaths: each path is covered, or create fails; only missing paths are left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Result, Runtime, parse_mountinfo
from tests.harness.scratch import Scratch, fails, with_proc

RunScript = Callable[..., Result]
NewId = Callable[[], str]
MEMBERS = pytest.mark.parametrize("member", ["maskedPaths", "readonlyPaths"])
UNMAPPED = 50

ROOTS = ["/", "/.", "//", "/link", "/etc/..", "/up"]
steps = pytest.mark.ocipy_only("the steps of its init lane")


def with_links_to_root(rootfs: Path) -> None:
    (rootfs / "link").symlink_to("/")
    (rootfs / "up").symlink_to("../../..")


@pytest.mark.differs_from_runc("it covers the root, where no path leads")
@pytest.mark.parametrize("flags", [(), ("--no-pivot",)])
@pytest.mark.parametrize("path", ROOTS)
def test_a_root_that_is_a_read_only_path_cannot_be_written_to(
    sh: RunScript, bundle: Bundle, path: str, flags: tuple[str, ...]
) -> None:
    """That means the process's own root, not a mount over it. Other mounts stay unchanged."""
    with_links_to_root(bundle.rootfs)
    bundle.config["root"]["readonly"] = False
    bundle.linux["readonlyPaths"] = [path]
    result = sh("echo x >/new && echo written; echo x >/dev/shm/new && echo shm; cd /; echo x >new2; :", bundle, *flags)
    assert result.ok().lines == ["shm"]
    assert not [name for name in ("new", "new2") if (bundle.rootfs / name).exists()]


@steps
@pytest.mark.parametrize("path", ROOTS)
def test_a_root_that_is_a_masked_path_is_refused(scratch: Scratch, path: str) -> None:
    (scratch.root / "etc").mkdir()
    with_links_to_root(scratch.root)
    scratch.linux["maskedPaths"] = [path]
    fails(with_proc(scratch), "leads to the container's root, which cannot be masked", pointer="/linux/maskedPaths/0")


@steps
def test_a_read_only_path_keeps_the_mounts_below_it(scratch: Scratch) -> None:
    """A copy of the path's mount alone would uncover files."""
    (scratch.root / "data/below").mkdir(parents=True)
    (scratch.root / "data/below/covered").write_text("")
    with_proc(scratch).mount("/data/below", source="below")
    scratch.linux["readonlyPaths"] = ["/data"]

    def look(_init: object) -> tuple[list[str], bool, bool]:
        Path("/data/below/new").write_text("")
        return os.listdir("/data/below"), os.access("/data", os.W_OK), os.access("/data/below", os.W_OK)

    assert scratch.run(look) == (["new"], False, True)


def closed_directory(bundle: Bundle, owner: tuple[int, int], mode: int) -> None:
    """A directory with a secret, which the user namespace's root may not search."""
    bundle.user_namespace()
    directory = bundle.rootfs / "closed"
    (directory / "secret").mkdir(parents=True)
    (directory / "secret/file").write_text("secret")
    os.chown(directory, *owner)
    directory.chmod(mode)


@MEMBERS
@pytest.mark.parametrize(
    ("owner", "mode", "user"),
    [
        ((UNMAPPED, 101000), 0o710, {"uid": 5, "gid": 1000}),
        ((UNMAPPED, 101000), 0o710, {"uid": 5, "gid": 6, "additionalGids": [1000]}),
        ((101000, UNMAPPED), 0o700, {"uid": 1000, "gid": 6}),
    ],
    ids=["group", "additional-group", "owner"],
)
def test_a_path_that_only_the_process_may_reach_is_not_left_uncovered(
    runtime: Runtime,
    bundle: Bundle,
    new_id: NewId,
    member: str,
    owner: tuple[int, int],
    mode: int,
    user: dict[str, object],
) -> None:
    """Root in a user namespace has no privileges over a directory whose owner or group is not mapped."""
    closed_directory(bundle, owner, mode)
    bundle.process["user"] = user
    bundle.process["args"] = ["cat", "/closed/secret/file"]
    assert runtime.run(bundle, new_id()).ok().stdout == "secret"
    bundle.linux[member] = ["/no/such/path", "/closed/secret"]
    result = runtime.run(bundle, new_id()).fails("/closed/secret", "ermission denied")
    if runtime.is_ocipy:
        assert f"/linux/{member}/1: cannot cover /closed/secret" in result.stderr
        assert "not mapped" in result.stderr


@MEMBERS
@pytest.mark.parametrize("path", ["/missing", "/missing/deeper", "/etc/passwd/below"])
def test_a_missing_path_is_left_out(sh: RunScript, bundle: Bundle, member: str, path: str) -> None:
    bundle.linux[member] = [path]
    assert sh("echo runs", bundle).ok().stdout == "runs\n"


def test_masked_and_readonly_paths(sh: RunScript, bundle: Bundle) -> None:
    bundle.file("/secret/file", "x")
    bundle.file("/secretfile", "x")
    bundle.config["root"]["readonly"] = False
    bundle.linux["maskedPaths"] += ["/secret", "/secretfile", "/no/such/path"]
    bundle.linux["readonlyPaths"] += ["/var", "/no/such/path"]
    script = "ls /secret; cat /secretfile; touch /var/x || echo ro; touch /home/x && echo rw; echo > /proc/sys/kernel/x"
    result = sh(script + "; true", bundle).ok()
    assert result.lines == ["ro", "rw"]
    listed = parse_mountinfo(sh("cat /proc/self/mountinfo", bundle).ok().stdout)
    mounts = {mount.point: mount for mount in listed}
    assert "ro" in mounts["/secret"].options
    assert "ro" in mounts["/proc/sys"].options
