"""Mounts of type cgroup and cgroup2, from inside and outside."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Host, Result, proc_mounts
from tests.harness.look import cgroup_hierarchies

MakeContainer = Callable[..., Container]
RunScript = Callable[..., Result]

WRITABLE = ["nosuid", "noexec", "nodev", "relatime"]


def options(bundle: Bundle, *words: str, type: str = "cgroup") -> Bundle:
    """Change the cgroup mount of the default config."""
    (mount,) = [mount for mount in bundle.config["mounts"] if mount["destination"] == "/sys/fs/cgroup"]
    mount["options"] = list(words)
    mount["type"] = type
    return bundle


def writes(bundle: Bundle, host: Host) -> str:
    """Return a script that reports whether the container can make a cgroup."""
    place = "/sys/fs/cgroup" if host.cgroup == "v2" else "/sys/fs/cgroup/pids"
    return f"mkdir {place}/below 2>/dev/null && rmdir {place}/below && echo writable || echo refused"


@pytest.fixture(params=["namespace", "none", "user", "user-none"])
def variant(request: pytest.FixtureRequest, bundle: Bundle) -> Bundle:
    """With and without a cgroup namespace, with and without a user namespace."""
    if request.param.startswith("user"):
        bundle.user_namespace()
        for path in bundle.rootfs.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
    if request.param.endswith("none"):
        bundle.without_namespace("cgroup")
    return bundle


@pytest.mark.needs_cgroup_v1
def test_every_hierarchy_is_there(container: MakeContainer, variant: Bundle) -> None:
    one = container(variant.args("sleep", "1000"))
    top = one.mount_at("/sys/fs/cgroup")
    assert top.fstype == "tmpfs"
    assert {"nosuid", "noexec", "nodev"} <= set(top.options)
    mounted = {mount.point for mount in one.mounts() if mount.fstype == "cgroup"}
    expected = {"/sys/fs/cgroup/" + path.name for name, path in cgroup_hierarchies().items() if name}
    assert mounted == expected
    for mount in one.mounts():
        if mount.fstype == "cgroup":
            assert {"ro", "nosuid", "noexec", "nodev"} <= set(mount.options), mount
    assert not [mount for mount in one.mounts() if mount.fstype == "cgroup2"]


@pytest.mark.needs_cgroup_v1
def test_only_the_containers_own_cgroup_is_visible(sh: RunScript, variant: Bundle) -> None:
    """The directory of the mount is the container's cgroup: it contains the container's init, not the host's."""
    result = sh("cat /sys/fs/cgroup/pids/cgroup.procs; ls /sys/fs/cgroup/pids/release_agent", variant)
    assert "1" in result.stdout.split()
    assert "release_agent" not in result.stdout, "that is only at the top of the hierarchy (CVE-2022-0492)"


@pytest.mark.needs_cgroup_v2
def test_v2(container: MakeContainer, variant: Bundle) -> None:
    one = container(variant.args("sleep", "1000"))
    mount = one.mount_at("/sys/fs/cgroup")
    assert mount.fstype == "cgroup2"
    assert {"ro", "nosuid", "noexec", "nodev"} <= set(mount.options)


@pytest.mark.needs_cgroup_v2
@pytest.mark.parametrize("joined", [False, True])
def test_the_hosts_hierarchy_keeps_its_options(container: MakeContainer, variant: Bundle, joined: bool) -> None:
    """In the host's cgroup namespace a new mount would reset the options: nsdelegate would be lost."""

    def options() -> list[list[str]]:
        return [sorted(mount.super_options) for mount in proc_mounts() if mount.fstype == "cgroup2"]

    if joined:
        variant.without_namespace("cgroup")
        variant.linux["namespaces"].append({"type": "cgroup", "path": "/proc/self/ns/cgroup"})
    before = options()
    container(variant.args("sleep", "1000")).start().end()
    assert options() == before


def test_readonly(sh: RunScript, variant: Bundle, host: Host) -> None:
    assert sh(writes(variant, host), variant).stdout == "refused\n"


def test_writable_if_the_config_says_so(sh: RunScript, bundle: Bundle, host: Host) -> None:
    assert sh(writes(bundle, host), options(bundle, *WRITABLE)).stdout == "writable\n"


def test_propagation_word(sh: RunScript, bundle: Bundle, host: Host) -> None:
    """As podman writes it."""
    assert sh(writes(bundle, host), options(bundle, "ro", "rprivate", *WRITABLE)).stdout == "refused\n"


def test_cgroup2_by_name(container: MakeContainer, bundle: Bundle) -> None:
    if "" not in cgroup_hierarchies():
        pytest.skip("this host has no v2 hierarchy")
    one = container(options(bundle, "ro", *WRITABLE, type="cgroup2").args("sleep", "1000"))
    assert one.mount_at("/sys/fs/cgroup").fstype == "cgroup2"
    assert one.root("/sys/fs/cgroup/cgroup.procs").exists()


@pytest.mark.needs_cgroup_v2
def test_owner_of_a_writable_one(container: MakeContainer, bundle: Bundle, host: Host) -> None:
    """config-linux.md, Cgroup ownership."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(options(bundle, *WRITABLE).args("sleep", "1000"))
    place = cgroup_hierarchies()[""] / bundle.linux["cgroupsPath"].lstrip("/")
    owners = {name: (place / name).stat().st_uid for name in (".", "cgroup.procs", "cgroup.kill", "pids.max")}
    if one.runtime.is_ocipy:
        assert owners == {".": 1000, "cgroup.procs": 1000, "cgroup.kill": 0, "pids.max": 0}


@pytest.mark.needs_cgroup_v1
@pytest.mark.parametrize("user", [False, True])
def test_owners_are_kept_on_v1(container: MakeContainer, bundle: Bundle, user: bool) -> None:
    """ "Runtimes SHOULD NOT change the ownership of container cgroups when cgroups v1 is in use.\""""
    if user:
        bundle.user_namespace()
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    container(options(bundle, *WRITABLE).args("sleep", "1000"))
    places = [path / bundle.linux["cgroupsPath"].lstrip("/") for path in cgroup_hierarchies().values()]
    there = [place for place in places if place.is_dir()]
    assert there
    for place in there:
        owners = {path.name: path.stat().st_uid for path in [place, *place.iterdir()]}
        assert set(owners.values()) == {0}, owners


def test_namespace_begins_at_the_containers_cgroup(sh: RunScript, bundle: Bundle) -> None:
    """The namespace was created after the process had joined."""
    paths = {line.partition(":")[2].partition(":")[2] for line in sh("cat /proc/self/cgroup", bundle).stdout.split()}
    assert paths == {"/"}


@pytest.mark.needs_cgroup_v1
def test_the_mount_looks_like_one_of_the_hierarchy(container: MakeContainer, bundle: Bundle, tmp_path: Path) -> None:
    """In a new cgroup namespace: the same filesystem, with the same root and options (proc(5), mountinfo)."""
    one = container(options(bundle, "ro", *WRITABLE).args("sleep", "1000"))
    fresh = tmp_path / "pids"
    fresh.mkdir()
    done = subprocess.run(
        ["nsenter", "-C", "-t", str(one.pid), "cat", f"/proc/{one.pid}/mountinfo"],
        capture_output=True,
        text=True,
        check=True,
    )
    (bound,) = [line.split() for line in done.stdout.splitlines() if line.split()[4] == "/sys/fs/cgroup/pids"]
    script = (
        f"mount -t cgroup -o ro,nosuid,noexec,nodev,relatime,pids cgroup {fresh} && grep {fresh} /proc/self/mountinfo"
    )
    done = subprocess.run(
        ["nsenter", "-C", "-t", str(one.pid), "unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    mounted = done.stdout.split()
    # The device, the root and the options of the mount; the superblock's come last.
    assert (bound[2], bound[3], bound[5]) == (mounted[2], mounted[3], mounted[5])
    assert bound[3] == "/"
    assert set(bound[-1].split(",")) == set(mounted[-1].split(","))


@pytest.mark.needs_cgroup_v1
def test_a_joined_namespace_shows_its_own_root(
    container: MakeContainer, sh: RunScript, bundle: Bundle, make_bundle: Callable[..., Bundle]
) -> None:
    """Not the cgroup of the container that joins it, but the one in which the namespace was created."""
    first = container(bundle.args("sleep", "1000"))
    below = cgroup_hierarchies()["pids"] / bundle.linux["cgroupsPath"].lstrip("/") / "below"
    below.mkdir()
    try:
        second = make_bundle().without_namespace("cgroup")
        second.linux["namespaces"].append({"type": "cgroup", "path": f"/proc/{first.pid}/ns/cgroup"})
        assert "below" in sh("ls /sys/fs/cgroup/pids", second).stdout.split()
    finally:
        below.rmdir()
