"""--no-pivot: the container is like one with pivot_root, and cannot reach the host's procfs and sysfs below it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Mount, Runtime, parse_mountinfo
from tests.harness.behind import behind, visible
from tests.harness.host import umount
from tests.harness.scratch import mount_on_host

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
FLAGS = ("--no-pivot",)

# As a user, since root of a user namespace needs CAP_SETFCAP to be root of another (user_namespaces(7)).
MOUNT_PROC = "unshare -Urpmf mount -t proc proc /tmp && echo mounted || echo refused"
MOUNT_SYSFS = "unshare -Urmn mount -t sysfs sysfs /tmp && echo mounted || echo refused"


OLDER = pytest.mark.differs_from_runc("older ones want the mappings as well", always=False)


@pytest.fixture(params=["no", "new", pytest.param("joined", marks=OLDER)])
def bundle(request: pytest.FixtureRequest, make_bundle: Callable[..., Bundle], container: MakeContainer) -> Bundle:
    """Without a user namespace, with a new one, and in another container's."""
    bundle = make_bundle()
    if request.param != "no":
        bundle.user_namespace()
        os.chown(bundle.rootfs, 100000, 100000)
    if request.param == "joined":
        owner = container(make_bundle().user_namespace().args("sleep", "1000"))
        bundle.linux["namespaces"][-1]["path"] = f"/proc/{owner.pid}/ns/user"
        for member in ("uidMappings", "gidMappings"):
            del bundle.linux[member]
    return bundle


def has_user_namespace(bundle: Bundle) -> bool:
    """Whether the mount namespace belongs to a user namespace other than the host's."""
    return any(entry["type"] == "user" for entry in bundle.linux["namespaces"])


@pytest.mark.parametrize("readonly", [False, True])
def test_the_root_and_its_mounts(runtime: Runtime, bundle: Bundle, new_id: NewId, readonly: bool) -> None:
    bundle.config["root"]["readonly"] = readonly
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    script = "id -u; touch /made 2> /dev/null && echo made; ls /; echo; cat /proc/self/mountinfo"
    result = runtime.run(bundle.sh(script), new_id(), *FLAGS).ok()
    names, _, table = result.stdout.partition("\n\n")
    first = ["0"] if readonly else ["0", "made"]
    assert names.splitlines()[: len(first)] == first
    assert sorted(names.splitlines()[len(first) :]) == sorted(entry.name for entry in bundle.rootfs.iterdir())
    assert (bundle.rootfs / "made").exists() != readonly
    points = {mount.point for mount in parse_mountinfo(table)}
    expected = {"/", *(mount["destination"] for mount in bundle.config["mounts"])}
    assert {one for one in points if not one.startswith(("/sys/fs/cgroup/", "/dev/"))} == {
        one for one in expected if not one.startswith("/dev/")
    }


def test_processes_that_enter_have_the_same_root(container: MakeContainer, bundle: Bundle) -> None:
    bundle.file("/etc/mark", "of the container")
    one = container(bundle.args("sleep", "1000"), *FLAGS).start()
    assert one.exec("cat", "/etc/mark").ok().stdout == "of the container"


def test_the_hosts_proc_and_sys_are_out_of_reach(container: MakeContainer, bundle: Bundle) -> None:
    """Even a process that has removed the container's root finds them unmounted, or covered."""
    one = container(bundle.args("sleep", "1000"), *FLAGS).start()

    def look(mounts: list[Mount]) -> tuple[list[str], set[str], list[str]]:
        full = {mount.point for mount in mounts if mount.fstype in ("proc", "sysfs") and mount.root == "/"}
        return visible(mounts), full, [*os.listdir("/proc"), *os.listdir("/sys")]

    seen, full, names = behind(one.pid, look)
    assert (seen, names) == ([], [])
    assert full >= {"/proc", "/sys"} if has_user_namespace(bundle) else full == set()


@pytest.mark.parametrize("script", [MOUNT_PROC, MOUNT_SYSFS])
@pytest.mark.parametrize("flags", [(), FLAGS])
def test_no_new_mount_shows_what_is_masked(
    runtime: Runtime, bundle: Bundle, new_id: NewId, flags: tuple[str, ...], script: str
) -> None:
    """In a user namespace the kernel allows a new one only if another is fully visible (mount_namespaces(7))."""
    bundle.process.update(user={"uid": 1000, "gid": 1000}, noNewPrivileges=False)
    result = runtime.run(bundle.sh(script), new_id(), *flags).ok()
    assert result.lines == ["refused"]
    assert "mount" in result.stderr, "the mount is refused"


@pytest.mark.parametrize("flags", [(), FLAGS])
def test_a_new_mount_if_nothing_is_masked(
    runtime: Runtime, bundle: Bundle, new_id: NewId, flags: tuple[str, ...]
) -> None:
    """This shows that the test above would notice them."""
    bundle.process.update(user={"uid": 1000, "gid": 1000}, noNewPrivileges=False)
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    assert runtime.run(bundle.sh(MOUNT_PROC), new_id(), *flags).ok().lines == ["mounted"]


@pytest.fixture
def stacked(work: Path) -> Iterator[Path]:
    """Two full procfs at one place on the host."""
    place = work / "a proc\\with blanks"
    place.mkdir()
    for _ in range(2):
        mount_on_host("proc", place, "proc")
    yield place
    for _ in range(2):
        umount(str(place))


@pytest.mark.differs_from_runc("if it can only cover them, it takes its own cover off for the second", always=False)
def test_two_in_one_place(container: MakeContainer, bundle: Bundle, stacked: Path) -> None:
    one = container(bundle.args("sleep", "1000"), *FLAGS).start()
    seen, names = behind(one.pid, lambda mounts: (visible(mounts), os.listdir(stacked)))
    assert (seen, names) == ([], [])


@pytest.fixture
def out_of_the_way(work: Path) -> Iterator[Path]:
    """A full procfs of the host below a directory that another mount covers."""
    place = work / "covered"
    (place / "proc").mkdir(parents=True)
    mount_on_host("proc", place / "proc", "proc")
    mount_on_host("tmpfs", place, "tmpfs")
    yield place
    umount(str(place))
    umount(str(place / "proc"))


@pytest.mark.differs_from_runc("it leaves what its path does not lead to, which the kernel considers visible")
@pytest.mark.parametrize("deceptive", [False, True])
def test_below_another_mount(
    container: MakeContainer, runtime: Runtime, bundle: Bundle, new_id: NewId, out_of_the_way: Path, deceptive: bool
) -> None:
    """That mount must go first. A user namespace may not unmount it, so create fails, and leaves nothing behind."""
    if deceptive:
        (out_of_the_way / "proc").mkdir()
    if has_user_namespace(bundle):
        id = new_id()
        result = runtime.create(bundle.args("true"), id, *FLAGS)
        result.fails("/root/path", f"cannot hide the host's {out_of_the_way}/proc", "in the way", "--no-pivot")
        assert id not in runtime.ids()
        return
    one = container(bundle.args("sleep", "1000"), *FLAGS).start()
    assert behind(one.pid, visible) == []


@pytest.fixture
def closed(work: Path) -> Iterator[Path]:
    """A full procfs of the host below a directory that only root may search."""
    place = work / "closed"
    (place / "proc").mkdir(parents=True)
    mount_on_host("proc", place / "proc", "proc")
    place.chmod(0o700)
    yield place
    umount(str(place / "proc"))


def test_below_a_closed_directory(
    container: MakeContainer, runtime: Runtime, bundle: Bundle, new_id: NewId, closed: Path
) -> None:
    if has_user_namespace(bundle):
        id = new_id()
        words = [f"cannot hide the host's {closed}/proc", "--no-pivot"] if runtime.is_ocipy else []
        runtime.create(bundle.args("true"), id, *FLAGS).fails(*words, "permission denied")
        assert id not in runtime.ids()
        return
    one = container(bundle.args("sleep", "1000"), *FLAGS).start()
    assert behind(one.pid, visible) == []


# A mount namespace with shared mounts, like systemd's host, more procfs, and the root filesystem as a separate mount:
# the runtime's changes to its "host" affect only this namespace.
SHARED_HOST = """
work=$1 rootfs=$2; shift 2
mount --bind "$rootfs" "$rootfs"
mkdir "$work/more" && mount -t tmpfs none "$work/more" && mkdir "$work/more/proc"
mount -t proc proc "$work/more/proc" && mount -t proc proc "$work/more/proc"
cat /proc/self/mountinfo > "$work/before"
"$@"
status=$?
cat /proc/self/mountinfo > "$work/after"
exit $status
"""


@pytest.mark.differs_from_runc("it unmounts them on the host as well, or uncovers the lower of two", always=False)
@pytest.mark.parametrize("kind", [None, "slave", "shared", "rshared"])
def test_the_hosts_mounts_are_unaffected(
    container: MakeContainer, bundle: Bundle, work: Path, kind: str | None
) -> None:
    """There is no new "/", and no unmounted /proc. Mounts that cannot be unmounted here alone are covered."""
    if kind:
        bundle.linux["rootfsPropagation"] = kind
    host = ["unshare", "--mount", "--propagation", "shared", "sh", "-c", SHARED_HOST, "sh", str(work)]
    one = container(bundle.args("sleep", "1000"), *FLAGS, prefix=[*host, str(bundle.rootfs)]).start()
    assert (work / "after").read_text() == (work / "before").read_text()
    assert behind(one.pid, visible) == []


@pytest.mark.differs_from_runc('it has no way to make "/" the root')
@pytest.mark.parametrize("flags", [(), FLAGS])
def test_the_hosts_root_as_the_containers_root(
    container: MakeContainer, make_bundle: Callable[..., Bundle], flags: tuple[str, ...]
) -> None:
    """Then it covers "/" from the start."""
    bundle = make_bundle().without_namespace("cgroup").without_mount("/sys", "/sys/fs/cgroup")
    bundle.config["root"] = {"path": "/", "readonly": True}
    one = container(bundle, *flags, sh="echo $$ /proc/[0-9]*; exec sleep 1000").start()
    assert one.wait_output("\n") == "1 /proc/1\n"
    if flags:
        assert behind(one.pid, visible) == []
