"""process.user: ids, groups and umask in the kernel's view, inside and outside; and the owners of the streams."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, parse_status, proc_status, wait_until

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
RunScript = Callable[..., Result]


def ids(status: dict[str, str], name: str) -> set[int]:
    """Return the real, effective, saved and filesystem ids, as a set."""
    return {int(number) for number in status[name].split()}


@pytest.mark.smoke
def test_ids_inside_and_outside(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["user"] = {"uid": 1234, "gid": 5678, "additionalGids": [10, 20, 30]}
    one = container(bundle, sh="cat /proc/self/status; exec sleep 1000")
    created = proc_status(one.pid)
    one.start()
    inside = parse_status(one.wait_output("nonvoluntary"))
    for status in (created, inside, proc_status(one.pid)):
        assert ids(status, "Uid") == {1234}
        assert ids(status, "Gid") == {5678}
        assert sorted(map(int, status["Groups"].split())) == [10, 20, 30]


@pytest.mark.parametrize("command", ["run", "exec"])
def test_podmans_keep_groups_adds_the_callers_groups_to_additional_ones(
    container: MakeContainer, runtime: Runtime, bundle: Bundle, new_id: NewId, command: str
) -> None:
    """`podman --group-add keep-groups` sends the annotation, and a group in additionalGids."""
    bundle.config["annotations"] = {"run.oci.keep_original_groups": "1"}
    bundle.process["user"] = {"uid": 0, "gid": 0, "additionalGids": [30]}
    if command == "run":
        result = runtime.run(bundle.args("cat", "/proc/self/status"), new_id(), user=0, extra_groups=[4, 42])
    else:
        one = container(bundle.args("sleep", "1000")).start()
        result = one.exec("cat", "/proc/self/status", user=0, extra_groups=[4, 42])
    status = parse_status(result.ok().stdout)
    assert sorted(map(int, status["Groups"].split())) == [4, 42]


def test_root_has_none_of_the_callers_groups(sh: RunScript) -> None:
    """The test's root may be in groups; the container's is only in those of the config."""
    status = parse_status(sh("cat /proc/self/status", None, user=0, extra_groups=[7, 8]).ok().stdout)
    assert ids(status, "Uid") == ids(status, "Gid") == {0}
    assert status["Groups"] == ""


def test_no_groups_of_the_callers_in_a_joined_user_namespace(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """The user namespace denies setgroups, so the groups must be dropped before the join (user_namespaces(7))."""
    owner = subprocess.Popen(["unshare", "--user", "--map-root-user", "sleep", "1000"])
    try:
        wait_until(lambda: Path(f"/proc/{owner.pid}/gid_map").read_text().split() == ["0", "0", "1"])
        bundle.searchable().linux["namespaces"].append({"type": "user", "path": f"/proc/{owner.pid}/ns/user"})
        bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] in ("proc", "tmpfs")]
        result = runtime.run(bundle.args("cat", "/proc/self/status"), new_id(), user=0, extra_groups=[4, 42])
    finally:
        owner.kill()
        owner.wait()
    assert parse_status(result.ok().stdout)["Groups"] == ""


def test_ids_in_a_user_namespace(container: MakeContainer, bundle: Bundle) -> None:
    bundle.user_namespace(host_id=200000, size=5000)
    bundle.process["user"] = {"uid": 1000, "gid": 2000, "additionalGids": [3000]}
    one = container(bundle, sh="cat /proc/self/status; exec sleep 1000").start()
    inside = parse_status(one.wait_output("nonvoluntary"))
    outside = proc_status(one.pid)
    assert (ids(inside, "Uid"), ids(inside, "Gid"), inside["Groups"]) == ({1000}, {2000}, "3000")
    assert (ids(outside, "Uid"), ids(outside, "Gid"), outside["Groups"]) == ({201000}, {202000}, "203000")


def without_root(bundle: Bundle, *members: str) -> Bundle:
    bundle.user_namespace()
    for member in members:
        bundle.linux[member] = [{"containerID": 1000, "hostID": 100000, "size": 10}]
    bundle.process["user"] = {"uid": 1000, "gid": 1001}
    return bundle


@pytest.mark.parametrize("member", ["uidMappings", "gidMappings"])
def test_user_namespace_without_root_is_refused(runtime: Runtime, bundle: Bundle, new_id: NewId, member: str) -> None:
    """critest: "ContainerID 0" of a pod's user namespace must be mapped."""
    result = runtime.create(without_root(bundle, member).args("true"), new_id()).fails()
    if runtime.is_ocipy:
        assert f"/linux/{member}: a new user namespace needs a mapping of the container's id 0" in result.stderr
        told = runtime.call("validate", bundle.path)
        assert told.status == 1 and f"/linux/{member}: a new user namespace needs" in told.stdout
    assert runtime.ids() == []


@pytest.mark.ocipy_only("runc wants 0 to be mapped")
def test_user_namespace_without_root(bundle: Bundle, runtime: Runtime, new_id: NewId) -> None:
    """Without root on the host, only the given ids are mapped, and the setup runs under the process's ids."""
    without_root(bundle, "uidMappings", "gidMappings").sh("cat /proc/self/status")
    for mount in bundle.config["mounts"]:
        mount["options"] = [option for option in mount.get("options", ()) if option != "gid=5"]
    bundle.write()
    status = parse_status(runtime.call("--rootless", "true", "run", "--bundle", bundle.path, new_id()).ok().stdout)
    assert (ids(status, "Uid"), ids(status, "Gid")) == ({1000}, {1001})


@pytest.mark.parametrize("member", ["uid", "gid"])
def test_id_that_is_not_mapped(runtime: Runtime, bundle: Bundle, new_id: NewId, member: str) -> None:
    bundle.user_namespace(size=100)
    bundle.process["user"] = {"uid": 0, "gid": 0, member: 100}
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []


@pytest.mark.parametrize("kind", ["plain", "user namespace"])
def test_highest_id(sh: RunScript, bundle: Bundle, kind: str) -> None:
    top = 2**32 - 2 if kind == "plain" else 65535
    if kind != "plain":
        bundle.user_namespace()
    bundle.process["user"] = {"uid": top, "gid": top, "additionalGids": [top]}
    status = parse_status(sh("cat /proc/self/status", bundle).ok().stdout)
    assert (ids(status, "Uid"), ids(status, "Gid"), status["Groups"]) == ({top}, {top}, str(top))


@pytest.mark.ocipy_only("setresuid reads the number as `leave it`, so runc stays root")
@pytest.mark.parametrize("member", ["uid", "gid"])
def test_a_number_that_cannot_be_an_id(runtime: Runtime, bundle: Bundle, new_id: NewId, member: str) -> None:
    bundle.process["user"] = {"uid": 0, "gid": 0, member: 2**32 - 1}
    runtime.create(bundle.args("true"), new_id()).fails(f"/process/user/{member}")
    assert runtime.ids() == []


@pytest.mark.parametrize(("configured", "seen"), [(None, "0022"), (0o077, "0077"), (0, "0000"), (0o777, "0777")])
def test_umask(sh: RunScript, bundle: Bundle, configured: int | None, seen: str) -> None:
    if configured is not None:
        bundle.process["user"]["umask"] = configured
    assert parse_status(sh("cat /proc/self/status", bundle, umask=0o055).ok().stdout)["Umask"] == seen


@pytest.mark.differs_from_runc("runc makes the directories under the caller's umask")
def test_umask_of_the_caller_does_not_shape_the_container(sh: RunScript, bundle: Bundle) -> None:
    """A strict umask must not make directories that the user cannot enter."""
    bundle.config["root"]["readonly"] = False
    bundle.process["cwd"] = "/made/for/it"
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert sh("pwd; stat -c %a /made/for", bundle, umask=0o077).ok().lines == ["/made/for/it", "755"]


def test_streams_are_the_users(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """An engine's pipes belong to root, and programs reopen /dev/stdout."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    reader, writer = os.pipe()
    os.fchmod(writer, 0o600)
    id = new_id()
    runtime.create(
        bundle.sh("echo one > /dev/stdout; echo two > /proc/self/fd/2"), id, stdout=writer, stderr=writer
    ).ok()
    assert os.fstat(writer).st_uid == 1000
    os.close(writer)
    runtime.start(id).ok()
    with os.fdopen(reader) as file:
        assert file.read() == "one\ntwo\n"
    runtime.delete(id, force=True).ok()


def test_null_stays_roots(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    before = os.stat("/dev/null")
    null = os.open("/dev/null", os.O_RDWR)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    runtime.run(bundle.args("true"), new_id(), stdout=null, stderr=null)
    os.close(null)
    after = os.stat("/dev/null")
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


@pytest.mark.ocipy_only("runc gives the caller's terminal to the container's user")
def test_callers_terminal_stays_the_callers(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    master, peer = os.openpty()
    before = os.fstat(peer)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    id = new_id()
    runtime.create(bundle.args("sleep", "1000"), id, stdin=peer, stdout=peer, stderr=peer).ok()
    after = os.fstat(peer)
    runtime.delete(id, force=True).ok()
    os.close(master)
    os.close(peer)
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)
