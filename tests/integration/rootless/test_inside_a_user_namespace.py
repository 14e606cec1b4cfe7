"""The runtime as root of a user namespace, without one in the config, as rootless podman calls it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, cgroups_of, namespace, proc_status
from tests.harness.user import FIRST_UID, UserNamespace, UserRuntime

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]

pytestmark = pytest.mark.unprivileged


@pytest.fixture(params=["one_id", "podmans"])
def outer(request: pytest.FixtureRequest) -> UserNamespace:
    """Both kinds of user namespace that callers have."""
    made: UserNamespace = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def bundle(without_user_namespace: Bundle) -> Bundle:
    """A config without a user namespace."""
    return without_user_namespace


@pytest.mark.smoke
def test_life(container: MakeContainer, runtime: UserRuntime, bundle: Bundle, outer: UserNamespace) -> None:
    one = container(bundle, sh="id -u; cat /proc/self/uid_map; exec sleep 1000").start()
    one.wait_output("\n         0 ")
    assert one.namespace("user") == namespace(outer.pid, "user") != namespace(os.getpid(), "user")
    assert one.stdout.splitlines()[0] == "0"
    assert set(proc_status(one.pid)["Uid"].split()) == {str(runtime.uid)}
    assert one.status == "running"
    assert [entry["id"] for entry in runtime.containers()] == [one.id]
    one.kill("KILL")
    one.reap()
    assert one.status == "stopped"
    runtime.delete(one.id).ok()
    assert runtime.ids() == []


def test_privileges_are_those_of_the_config(container: MakeContainer, bundle: Bundle, outer: UserNamespace) -> None:
    """The caller has all capabilities in its user namespace; the container has three, and can get no more."""
    one = container(bundle.args("sleep", "1000"))
    status = proc_status(one.pid)
    assert {status[name] for name in ("CapPrm", "CapEff", "CapBnd")} == {"0000000020000420"}
    assert (status["CapInh"], status["CapAmb"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")


def test_devices_are_the_hosts(container: MakeContainer, bundle: Bundle, outer: UserNamespace) -> None:
    """Its root cannot mknod either, although the config has no user namespace."""
    one = container(bundle.args("sleep", "1000"))
    status = one.root("/dev/null").stat()
    assert (os.major(status.st_rdev), os.minor(status.st_rdev)) == (1, 3)
    assert one.mount_at("/dev/null").point == "/dev/null"


def test_cgroup_is_the_callers(container: MakeContainer, bundle: Bundle, outer: UserNamespace) -> None:
    assert container(bundle.args("sleep", "1000")).cgroups() == cgroups_of(os.getpid())


def test_limits_are_refused(runtime: UserRuntime, bundle: Bundle, new_id: NewId, outer: UserNamespace) -> None:
    bundle.linux["resources"] = {"memory": {"limit": 50_000_000}}
    words = ["/linux/resources/memory/limit"] if runtime.is_ocipy else ["memory limit"]
    runtime.create(bundle.args("true"), new_id()).fails(*words)
    assert runtime.ids() == []


@pytest.mark.ocipy_only("runc silently leaves out the groups if setgroups is denied")
def test_groups_if_setgroups_is_denied(
    runtime: UserRuntime, bundle: Bundle, new_id: NewId, one_id: UserNamespace
) -> None:
    bundle.process["user"] = {"uid": 0, "gid": 0, "additionalGids": [7]}
    runtime.create(bundle.args("true"), new_id()).fails("/process/user/additionalGids", "setgroups is denied")
    bundle.process["user"]["additionalGids"] = [0]  # in effect anyway
    runtime.run(bundle, new_id()).ok()


def test_groups_of_a_range(runtime: UserRuntime, bundle: Bundle, new_id: NewId, podmans: UserNamespace) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [7, 9]}
    assert runtime.run(bundle.sh("id -G"), new_id()).ok().stdout.split() == ["1000", "7", "9"]


def test_user_of_a_range(container: MakeContainer, bundle: Bundle, podmans: UserNamespace) -> None:
    """The caller can kill it: it is root in the user namespace, and another user outside."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(bundle.args("sleep", "1000")).start()
    assert set(proc_status(one.pid)["Uid"].split()) == {str(FIRST_UID + 999)}
    one.end()


@pytest.mark.parametrize("size", [1, 1000])
def test_nested_user_namespace(
    container: MakeContainer, runtime: UserRuntime, bundle: Bundle, outer: UserNamespace, size: int
) -> None:
    """podman --userns=keep-id and auto: the caller's root maps its own ids, without a helper."""
    if size > _ids(outer):
        pytest.skip("this caller has one id")
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        # In the same ranges as the caller's, as the kernel requires.
        bundle.linux[kind] = [{"containerID": 0, "hostID": 0, "size": 1}]
        if size > 1:
            bundle.linux[kind].append({"containerID": 1, "hostID": 1, "size": size - 1})
    one = container(bundle.args("sleep", "1000"))
    assert one.namespace("user") != namespace(outer.pid, "user")
    assert [int(line.split()[2]) for line in one.proc("uid_map").read_text().splitlines()] == [1, size - 1][
        : min(size, 2)
    ]


def _ids(namespace: UserNamespace) -> int:
    """Return the number of ids that are mapped in it."""
    return sum(int(line.split()[2]) for line in Path(f"/proc/{namespace.pid}/uid_map").read_text().splitlines())


@pytest.mark.ocipy_only("the words are ocipy's")
def test_no_user_namespaces_left(runtime: UserRuntime, bundle: Bundle, new_id: NewId, one_id: UserNamespace) -> None:
    """A host that denies user namespaces to its users sets the limit to 0."""
    runtime.inside += ["sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"]
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 0, "size": 1}]
    result = runtime.create(bundle.args("true"), new_id())
    result.fails("/linux/namespaces", "no space left on device", "/proc/sys/user/max_")
    assert runtime.ids() == []


def test_joined_network_namespace(container: MakeContainer, bundle: Bundle, outer: UserNamespace) -> None:
    """It belongs to another container of the same caller, as in a pod."""
    bundle.linux["namespaces"].append({"type": "network"})
    one = container(bundle.args("sleep", "1000"))
    other = Bundle.__new__(Bundle)
    other.path, other.config = bundle.path, bundle.config
    other.config["linux"]["namespaces"][-1]["path"] = f"/proc/{one.pid}/ns/net"
    two = container(other)
    assert two.namespace("net") == one.namespace("net") != namespace(os.getpid(), "net")
    assert two.namespace("user") == namespace(outer.pid, "user")


def test_clocks(runtime: UserRuntime, bundle: Bundle, new_id: NewId, outer: UserNamespace) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 9000}}
    before = float(Path("/proc/uptime").read_text().split()[0])
    seen = float(runtime.run(bundle.sh("cut -d' ' -f1 /proc/uptime"), new_id()).ok().stdout)
    assert 9000 <= seen - before < 9100


@pytest.mark.differs_from_runc("runc has no fallback for sysfs in a user namespace")
def test_sysfs(container: MakeContainer, bundle: Bundle, outer: UserNamespace) -> None:
    """podman's own configs ask for one also with the host's network."""
    entry = next(mount for mount in bundle.config["mounts"] if mount["destination"] == "/sys")
    entry.update(type="sysfs", source="sysfs", options=["nosuid", "noexec", "nodev", "ro"])
    assert "ro" in container(bundle.args("true")).mount_at("/sys").options


def test_state_directory(runtime: UserRuntime, bundle: Bundle, new_id: NewId, outer: UserNamespace, work: Path) -> None:
    """XDG_RUNTIME_DIR determines it, as for the user: podman calls create inside, and may make other calls outside."""
    id = new_id()
    place = work / "xdg"
    bundle.args("true").write()

    def call(prefix: list[str], *words: str) -> list[str]:
        argv = [*prefix, runtime.path, *words]
        return runtime.spawn(argv, env={"XDG_RUNTIME_DIR": str(place)}, cwd=runtime.home).wait().ok().lines

    call([*runtime.user, *runtime.inside], "create", "--bundle", str(bundle.path), id)
    assert any(id in line for line in call(runtime.user, "list"))
    call([*runtime.user, *runtime.inside], "delete", "--force", id)
    assert not any(id in line for line in call(runtime.user, "list"))
