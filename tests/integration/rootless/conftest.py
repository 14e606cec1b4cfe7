"""The fixtures of the integration tests, with an unprivileged user as the caller of the runtime."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, BusyboxRootfs, Host, Runtime
from tests.harness.user import FIRST_GID, FIRST_UID, NAME, RANGE, USER, UserNamespace, UserRuntime


@pytest.fixture
def runtime(make_runtime: Callable[[str], Runtime], work: Path) -> UserRuntime:
    """The runtime under test as the user calls it; the test's directory is the user's."""
    return UserRuntime(make_runtime("state"), work)


@pytest.fixture
def make_bundle(
    runtime: UserRuntime, busybox: BusyboxRootfs, work: Path, new_id: Callable[[], str]
) -> Callable[..., Bundle]:
    """Makes bundles of the user's own with the config that `spec --rootless` writes, without its terminal."""

    def make() -> Bundle:
        bundle = Bundle(work / f"bundle{new_id().split('-')[1]}", busybox, hardlinks=False)
        runtime.give(bundle.path)
        # Not from within a user namespace, where the ids are others.
        inside, runtime.inside = runtime.inside, []
        runtime.call("spec", "--rootless", "--bundle", bundle.path).ok()
        runtime.inside = inside
        bundle.config = json.loads((bundle.path / "config.json").read_text())
        bundle.process["terminal"] = False
        return bundle

    return make


@pytest.fixture(params=[1, 2])
def hidepid(request: pytest.FixtureRequest, runtime: UserRuntime, host: Host) -> int:
    """The user's /proc has hidepid 1, then 2: other users' processes may not be looked into, then do not even show."""
    if os.geteuid() != 0 or host.kernel < (5, 8):
        pytest.skip("needs root, and Linux 5.8, for a procfs with options of its own")
    hidden: int = request.param
    runtime.hide(hidden)
    return hidden


@pytest.fixture
def subordinate_ids(work: Path) -> Iterator[None]:
    """A passwd entry and ranges of ids for the user, in the session's mount namespace only."""
    if os.geteuid() != 0:
        pytest.skip("only root can allot ids to a user")
    scratch = work / "etc"
    scratch.mkdir()
    passwd = f"{NAME}:x:{USER}:{USER}::/:/bin/sh\n"
    (scratch / "passwd").write_text(Path("/etc/passwd").read_text() + passwd)
    (scratch / "subuid").write_text(f"{NAME}:{FIRST_UID}:{RANGE}\n")
    (scratch / "subgid").write_text(f"{NAME}:{FIRST_GID}:{RANGE}\n")
    mounted = []
    for name in ("passwd", "subuid", "subgid"):
        subprocess.run(["mount", "--bind", scratch / name, f"/etc/{name}"], check=True)
        mounted.append(f"/etc/{name}")
    yield
    for path in mounted:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def ranges(bundle: Bundle, runtime: UserRuntime, subordinate_ids: None) -> Bundle:
    """The bundle, with a range of ids mapped: 0 is the user, 1 and on are those allotted to it."""
    for kind, own, first in (("uidMappings", runtime.uid, FIRST_UID), ("gidMappings", runtime.gid, FIRST_GID)):
        bundle.linux[kind] = [
            {"containerID": 0, "hostID": own, "size": 1},
            {"containerID": 1, "hostID": first, "size": RANGE - 1},
        ]
    return bundle


@pytest.fixture
def without_user_namespace(bundle: Bundle) -> Bundle:
    """The bundle as rootless podman has it: no user namespace, since the runtime is in one already."""
    bundle.without_namespace("user")
    for member in ("uidMappings", "gidMappings"):
        del bundle.linux[member]
    return bundle


@pytest.fixture
def one_id(runtime: UserRuntime) -> Iterator[UserNamespace]:
    """The runtime called as root of a user namespace with one id, in the host's mount namespace: `unshare -Ur`."""
    namespace = UserNamespace(runtime, range=False, mounts=False)
    yield namespace
    namespace.close()


@pytest.fixture
def podmans(runtime: UserRuntime, subordinate_ids: None) -> Iterator[UserNamespace]:
    """The runtime called as root of what rootless podman makes: a range of ids, and a mount namespace of its own."""
    namespace = UserNamespace(runtime, range=True, mounts=True)
    yield namespace
    namespace.close()
