"""restore without criu: refusals, the request to criu, and leftovers after a failure.

An executable that only speaks criu's protocol takes its place (tests/harness/fake_criu.py).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, process_state, wait_until
from tests.harness.fake_criu import LOG, RESTORE, FakeCriu
from tests.harness.leaks import reap

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
Check = Callable[[], None]

pytestmark = pytest.mark.ocipy_only("runc takes no --criu")


@pytest.mark.parametrize("behaviour", [{"log": LOG, "fails": 1}, {"log": LOG, "dies": True}])
@pytest.mark.parametrize("notifies", [[], ["setup-namespaces"], ["setup-namespaces", "orphan-pts-master"]])
def test_a_failed_restore_leaves_nothing(
    runtime: Runtime,
    bundle: Bundle,
    new_id: NewId,
    work: Path,
    images: Path,
    fake_criu: FakeCriu,
    assert_nothing_left: Check,
    behaviour: dict[str, object],
    notifies: list[str],
) -> None:
    fake_criu.behave(notifies=notifies, **behaviour)
    (work / "data").mkdir()
    bundle.mount("/new/place", str(work / "data"), "rbind")
    bundle.write()
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo $0 >> {work}/hooks", "poststop"]}
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}], "poststop": [hook]}
    bundle.write()
    result = runtime.call(
        "restore", "--bundle", bundle.path, "--image-path", images, "--pid-file", work / "pid", new_id(),
        globals=["--criu", fake_criu.path],
    )  # fmt: skip
    result.fails("criu cannot restore the container: inet: Connected TCP socket", f"{images}/restore.log")
    assert_nothing_left()
    assert not (work / "pid").exists()
    assert (work / "hooks").exists() == bool(notifies), "the hooks of a container that has come to be"
    [request] = fake_criu.requests([RESTORE])
    assert request["opts"]["root"].endswith("/criu-root")
    assert request["opts"]["cg_root"]["path"].endswith(bundle.linux["cgroupsPath"])
    assert (bundle.rootfs / "new/place").is_dir(), "the mount point, which the image may lack"


def test_a_hook_fails_at_restore(
    runtime: Runtime, bundle: Bundle, new_id: NewId, images: Path, fake_criu: FakeCriu, assert_nothing_left: Check
) -> None:
    fake_criu.behave(notifies=["setup-namespaces"])
    bundle.config["hooks"] = {"prestart": [{"path": "/bin/false"}]}
    bundle.write()
    command: list[str | Path] = ["restore", "--bundle", bundle.path, "--image-path", images, new_id()]
    runtime.call(*command, globals=["--criu", fake_criu.path]).fails("/hooks/prestart/0", "exit status 1")
    assert_nothing_left()


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param("--image-path I --work-path W --detach --pid-file P -no-subreaper --bundle B", id="containerd"),
        pytest.param(
            "--bundle B --pid-file P --no-pivot --no-new-keyring --detach --image-path I --work-path W"
            " --tcp-established --tcp-close --file-locks --lsm-mount-context=c --lsm-profile=selinux:l", id="podman",
        ),
    ],
)  # fmt: skip
def test_restore_as_engines_call_it(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, images: Path, fake_criu: FakeCriu, flags: str
) -> None:
    fake_criu.behave(fails=1)
    bundle.write()
    places = {"I": str(images), "W": str(work / "w"), "P": str(work / "pid"), "B": str(bundle.path)}
    words = [places.get(word, word) for word in flags.split()]
    runtime.call("restore", *words, new_id(), globals=["--criu", fake_criu.path]).fails("criu cannot restore")
    [request] = fake_criu.requests([RESTORE])
    assert request["opts"]["file_locks"] is ("--file-locks" in flags)


@pytest.mark.parametrize("notifies", [[], ["setup-namespaces"]])
def test_a_restore_is_interrupted(
    runtime: Runtime,
    bundle: Bundle,
    new_id: NewId,
    images: Path,
    fake_criu: FakeCriu,
    assert_nothing_left: Check,
    notifies: list[str],
) -> None:
    fake_criu.behave(notifies=notifies, hangs=True)
    bundle.write()
    command: list[str | Path] = ["restore", "--bundle", bundle.path, "--image-path", images, new_id()]
    running = runtime.begin(*command, globals=["--criu", fake_criu.path])
    wait_until(lambda: fake_criu.hanging)
    running.signal(signal.SIGTERM)
    running.wait().fails("interrupted by SIGTERM", status=143)
    assert_nothing_left()


def test_a_restore_is_killed(
    runtime: Runtime, bundle: Bundle, new_id: NewId, images: Path, fake_criu: FakeCriu, assert_nothing_left: Check
) -> None:
    """criu notices the end of the connection, and exits. delete does the rest."""
    fake_criu.behave(notifies=["setup-namespaces"], hangs=True)
    bundle.write()
    id = new_id()
    running = runtime.begin(
        "restore", "--bundle", bundle.path, "--image-path", images, id, globals=["--criu", fake_criu.path]
    )
    wait_until(lambda: fake_criu.hanging)
    running.signal(signal.SIGKILL)
    running.process.wait()
    assert runtime.state(id)["status"] in ("creating", "stopped")
    runtime.delete(id, force=True).ok()
    wait_until(lambda: not reap(), "the end of the killed runtime's children")
    assert_nothing_left()


def test_nothing_to_restore_from(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, fake_criu: FakeCriu
) -> None:
    bundle.write()
    (work / "empty").mkdir()
    for directory in (work / "empty", work / "missing"):
        result = runtime.call(
            "restore", "--bundle", bundle.path, "--image-path", directory, new_id(), globals=["--criu", fake_criu.path]
        )
        result.fails(f"there is no checkpoint in {directory}")
    assert not (work / "missing").exists()


def test_an_id_that_is_taken(runtime: Runtime, container: MakeContainer, images: Path, fake_criu: FakeCriu) -> None:
    one = container().start()
    command: list[str | Path] = ["restore", "--bundle", one.bundle.path, "--image-path", images, one.id]
    runtime.call(*command, globals=["--criu", fake_criu.path]).fails("container with given ID already exists")
    assert one.status == "running"
    assert process_state(one.pid) == "S"
    assert fake_criu.requests([RESTORE]) == []


@pytest.mark.parametrize("flags", [["--detach"], []])
def test_terminals_and_sockets(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, images: Path, fake_criu: FakeCriu, flags: list[str]
) -> None:
    bundle.process["terminal"] = bool(flags)
    bundle.write()
    socket: list[str | Path] = [] if flags else ["--console-socket", work / "s"]
    command: list[str | Path] = ["restore", "--bundle", bundle.path, "--image-path", images, *flags, *socket, new_id()]
    words = (
        "cannot allocate tty if ocipy will detach" if flags else "cannot use console socket if ocipy will not detach"
    )
    runtime.call(*command, globals=["--criu", fake_criu.path]).fails(words)
    assert fake_criu.requests([RESTORE]) == []
