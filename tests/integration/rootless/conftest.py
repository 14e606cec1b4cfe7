"""The fixtures of the integration tests, with an unprivileged user as the runtime's caller."""

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
    """The runtime under test, called by the user, who owns the test's directory."""
    return UserRuntime(make_runtime("state"), work)


@pytest.fixture
def make_bundle(
    runtime: UserRuntime, busybox: BusyboxRootfs, work: Path, new_id: Callable[[], str]
) -> Callable[..., Bundle]:
    """Makes bundles that the user owns, with the config of `spec --rootless` without its terminal."""

    def make() -> Bundle:
        bundle = Bundle(work / f"bundle{new_id().split('-')[1]}", busybox, hardlinks=False)
        runtime.give(bundle.path)
        # Not from inside a user namespace, where the ids differ.
        inside, runtime.inside = runtime.inside, []
        runtime.call("spec", "--rootless", "--bundle", bundle.path).ok()
        runtime.inside = inside
        bundle.config = json.loads((bundle.path / "config.json").read_text())
        bundle.process["terminal"] = False
        return bundle

    return make


@pytest.fixture(params=[1, 2])
def hidepid(request: pytest.FixtureRequest, runtime: UserRuntime, host: Host) -> int:
    """The user's /proc has hidepid 1, then 2: other users' processes are unreadable, then invisible."""
    if os.geteuid() != 0 or host.kernel < (5, 8):
        pytest.skip("needs root, and Linux 5.8, for a procfs with its own options")
    hidden: int = request.param
    runtime.hide(hidden)
    return hidden


@pytest.fixture
def subordinate_ids(work: Path) -> Iterator[None]:
    """A passwd entry and id ranges for the user, only in the session's mount namespace."""
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
    """The bundle with a range of ids mapped: 0 is the user, ids from 1 are the user's subordinate ids."""
    for kind, own, first in (("uidMappings", runtime.uid, FIRST_UID), ("gidMappings", runtime.gid, FIRST_GID)):
        bundle.linux[kind] = [
            {"containerID": 0, "hostID": own, "size": 1},
            {"containerID": 1, "hostID": first, "size": RANGE - 1},
        ]
    return bundle


@pytest.fixture
def without_user_namespace(bundle: Bundle) -> Bundle:
    """Rootless podman's bundle: without a user namespace, because the runtime is already in one."""
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
    """The runtime called as root of namespaces like rootless podman's: a range of ids, and a new mount namespace."""
    namespace = UserNamespace(runtime, range=True, mounts=True)
    yield namespace
    namespace.close()
