"""Containers of an unprivileged user: `spec --rootless`, one id mapped, or a range through newuidmap."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Result, Runtime, process_state, wait_until

NewId = Callable[[], str]
USER = 4242


class User:
    """Calls the runtime as an unprivileged user: as USER where the tests run as root, else as whoever runs them."""

    def __init__(self, runtime: Runtime, work: Path) -> None:
        self.runtime = runtime
        self.work = work
        self.uid = USER if os.geteuid() == 0 else os.geteuid()
        self.prefix = (
            ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"] if os.geteuid() == 0 else []
        )

    def call(self, *words: str | Path, **options: object) -> Result:
        return self.runtime.call(*words, prefix=self.prefix, cwd=self.work, **options)  # type: ignore[arg-type]

    def give(self, path: Path) -> None:
        """Let the user own a tree."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", path], check=True)


@pytest.fixture
def user(runtime: Runtime, work: Path) -> User:
    one = User(runtime, work)
    one.give(work)
    return one


@pytest.fixture
def rootless(user: User, make_bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle of the user's own with the config that `spec --rootless` writes, without its terminal."""
    bundle = make_bundle(hardlinks=False)
    user.give(bundle.path)
    user.call("spec", "--rootless", "--bundle", bundle.path).ok()
    bundle.config = json.loads((bundle.path / "config.json").read_text())
    bundle.process["terminal"] = False
    user.give(user.work)
    return bundle


@pytest.mark.unprivileged
def test_run(user: User, rootless: Bundle, new_id: NewId) -> None:
    rootless.sh("id -u; cat /proc/self/uid_map; hostname; echo x > /dev/null && echo $$").write()
    result = user.call("run", "--bundle", rootless.path, new_id()).ok()
    assert result.lines[0] == "0"
    assert result.lines[1].split() == ["0", str(user.uid), "1"]
    assert result.lines[3] == "1"
    assert user.runtime.ids() == []


@pytest.mark.unprivileged
def test_whole_life(user: User, rootless: Bundle, new_id: NewId) -> None:
    id = new_id()
    rootless.args("sleep", "1000").write()
    user.call("create", "--bundle", rootless.path, id).ok()
    state = user.call("state", id).ok().json
    assert state["status"] == "created"
    assert os.stat(f"/proc/{state['pid']}").st_uid in (0, user.uid)  # root while it is undumpable
    user.call("start", id).ok()
    assert user.call("state", id).ok().json["status"] == "running"
    user.call("kill", id, "KILL").ok()
    wait_until(lambda: process_state(state["pid"]) in ("Z", ""))
    user.call("delete", id).ok()
    assert user.runtime.ids() == []


@pytest.mark.unprivileged
def test_files_belong_to_the_user(user: User, rootless: Bundle, new_id: NewId) -> None:
    rootless.config["root"]["readonly"] = False
    rootless.sh("echo made > /home/file; stat -c %u /home/file").write()
    assert user.call("run", "--bundle", rootless.path, new_id()).ok().stdout == "0\n"
    assert (rootless.rootfs / "home/file").stat().st_uid == user.uid


@pytest.mark.unprivileged
@pytest.mark.skipif(os.geteuid() != 0, reason="looks for the host's cgroups, which only root can compare")
def test_host_is_out_of_reach(user: User, rootless: Bundle, new_id: NewId) -> None:
    """CVE-2023-25809: the host's cgroup tree must not be writable at /sys/fs/cgroup."""
    rootless.sh("mkdir /sys/fs/cgroup/new /sys/fs/cgroup/*/new 2>/dev/null && echo made; echo end").write()
    assert user.call("run", "--bundle", rootless.path, new_id()).ok().stdout == "end\n"


@pytest.mark.unprivileged
def test_errors(user: User, rootless: Bundle, new_id: NewId) -> None:
    rootless.args("/no/such").write()
    user.call("create", "--bundle", rootless.path, new_id()).fails("no such file or directory")
    assert user.runtime.ids() == []


@pytest.mark.unprivileged
def test_without_user_namespace(user: User, rootless: Bundle, new_id: NewId) -> None:
    """Refused, with the reason: an unprivileged user has no other way."""
    rootless.without_namespace("user").args("true")
    for member in ("uidMappings", "gidMappings"):
        del rootless.linux[member]
    rootless.write()
    user.call("create", "--bundle", rootless.path, new_id()).fails("user namespace")
    assert user.runtime.ids() == []


@pytest.fixture
def subordinate_ids(user: User) -> Iterator[None]:
    """A passwd entry and a range of ids for the user, in the session's mount namespace only."""
    scratch = user.work / "etc"
    scratch.mkdir()
    (scratch / "passwd").write_text(Path("/etc/passwd").read_text() + f"ocipy-test:x:{USER}:{USER}::/:/bin/sh\n")
    (scratch / "subuid").write_text("ocipy-test:200000:65536\n")
    (scratch / "subgid").write_text("ocipy-test:300000:65536\n")
    mounted = []
    for name in ("passwd", "subuid", "subgid"):
        subprocess.run(["mount", "--bind", scratch / name, f"/etc/{name}"], check=True)
        mounted.append(f"/etc/{name}")
    yield
    for path in mounted:
        subprocess.run(["umount", path], check=True)


@pytest.mark.needs_program("newuidmap")
@pytest.mark.usefixtures("subordinate_ids")
def test_range_of_ids_through_newuidmap(user: User, rootless: Bundle, new_id: NewId) -> None:
    rootless.linux["uidMappings"] = [
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": 200000, "size": 65536},
    ]
    rootless.linux["gidMappings"] = [
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": 300000, "size": 65536},
    ]
    rootless.process["user"] = {"uid": 1000, "gid": 1000}
    rootless.sh("id -u; id -G; cat /proc/self/uid_map /proc/self/gid_map").write()
    result = user.call("run", "--bundle", rootless.path, new_id()).ok()
    assert result.lines[:2] == ["1000", "1000"]
    assert [line.split() for line in result.lines[2:]] == [
        ["0", str(USER), "1"], ["1", "200000", "65536"], ["0", str(USER), "1"], ["1", "300000", "65536"],
    ]  # fmt: skip


@pytest.mark.needs_program("newuidmap")
@pytest.mark.usefixtures("subordinate_ids")
def test_range_that_the_user_does_not_have(user: User, rootless: Bundle, new_id: NewId) -> None:
    rootless.linux["uidMappings"] = [
        {"containerID": 0, "hostID": USER, "size": 1},
        {"containerID": 1, "hostID": 500000, "size": 100},
    ]
    rootless.args("true").write()
    user.call("create", "--bundle", rootless.path, new_id()).fails("newuidmap")
    assert user.runtime.ids() == []
