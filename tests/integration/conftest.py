"""Fixtures of the integration tests: the runtime, bundles, containers, and the leak check after every test."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import runtime_path, runtime_version
from tests.harness import Bundle, BusyboxRootfs, Container, Result, Runtime, process_state
from tests.harness.agent import Agent
from tests.harness.attacks import leaked_directory, make_entering, unchanged_installation
from tests.harness.cgroups import claim, remove_cgroups
from tests.harness.criu import Asked, Counter, reason_against
from tests.harness.fake_criu import FakeCriu
from tests.harness.host import become_subreaper, scaled, umount, wait_until
from tests.harness.hostile import everything_in
from tests.harness.leaks import Leaks, reap
from tests.harness.private import make_private
from tests.harness.scratch import Scratch, mount_on_host
from tests.harness.sessions import cgroup_name, remove_those_of_dead_sessions
from tests.harness.terminal import Console
from tests.harness.untouched import Untouched
from tests.integration.installation import PATIENCE, Installation, install, makers

# Part of every container id and cgroup path of this session: identifies ours on a shared machine.
TOKEN = f"t{os.getpid()}{secrets.token_hex(2)}"
CGROUP_PARENT = cgroup_name(TOKEN)
claim(TOKEN)

# The time limit for a test in seconds, far above what any needs.
TIME_LIMIT = min(scaled(240), 1200)

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def private_host() -> Iterator[Untouched | None]:
    """Enter the session's namespaces, and adopt orphans. At the end, remove the parent cgroup and compare the whole
    host. Yields the host's remembered state; None without root, which could not change the host."""
    become_subreaper()
    if os.geteuid() != 0:
        yield None
        return
    host = Untouched([runtime_path()])
    make_private()
    remove_those_of_dead_sessions()
    host.begin()
    yield host
    left = remove_cgroups(CGROUP_PARENT)
    changed = [f"cgroup {path}" for path in left] + host.thorough()
    if changed:
        host.restore()
        pytest.fail("the session has changed the host:\n  " + "\n  ".join(changed), pytrace=False)


@pytest.fixture(autouse=True)
def untouched(private_host: Untouched | None) -> Iterator[Untouched | None]:
    """After every test: if the host has changed, the test fails."""
    yield private_host
    changed = private_host.quick() if private_host else []
    if private_host and changed:
        private_host.restore()
        private_host.begin()  # blame only this test for changes that cannot be restored
        pytest.fail("the host has changed:\n  " + "\n  ".join(changed), pytrace=False)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> BusyboxRootfs:
    """The root filesystem that all bundles copy."""
    return BusyboxRootfs(tmp_path_factory.mktemp("busybox"))


@pytest.fixture
def work() -> Iterator[Path]:
    """The test's directory, on disk, with a short path (a socket's is limited to 108 bytes)."""
    path = Path(tempfile.mkdtemp(prefix=f"{TOKEN}-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def runtime_identity() -> tuple[str, str]:
    """Path and "NAME VERSION" of the runtime under test."""
    path = runtime_path()
    version = runtime_version(path)
    if not version:
        pytest.fail(f"the runtime {path} does not run; build it (make setup) or set OCI_RUNTIME", pytrace=False)
    return path, version


@pytest.fixture
def make_runtime(runtime_identity: tuple[str, str], work: Path) -> Callable[[str], Runtime]:
    """A wrapper of the runtime with a state directory of the given name; usually the fixture `runtime`."""

    def make(name: str) -> Runtime:
        streams = work / f"{name}-streams"
        streams.mkdir()
        return Runtime(*runtime_identity, root=work / name, work=streams)

    return make


@pytest.fixture
def runtime(make_runtime: Callable[[str], Runtime]) -> Runtime:
    """The runtime under test, with its state in the test's directory."""
    return make_runtime("state")


@pytest.fixture
def new_id(request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes container ids that no other test, session or user has."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:40].strip("-")
    return lambda: f"{TOKEN}-{next(_numbers)}-{name}"


@pytest.fixture
def make_bundle(busybox: BusyboxRootfs, work: Path, new_id: Callable[[], str]) -> Callable[..., Bundle]:
    """Makes bundles. `hardlinks=False`: the test may destroy the root filesystem. `rootfs=False`: without one."""

    def make(hardlinks: bool = True, rootfs: bool = True) -> Bundle:
        id = new_id()
        return Bundle(
            work / f"bundle{id.split('-')[1]}", busybox if rootfs else None, f"/{CGROUP_PARENT}/{id}", hardlinks
        )

    return make


@pytest.fixture
def bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    """One bundle."""
    return make_bundle()


@pytest.fixture
def container(
    runtime: Runtime, make_bundle: Callable[..., Bundle], new_id: Callable[[], str]
) -> Iterator[Callable[..., Container]]:
    """Makes containers with `create`, does not start them, and removes them at the end of the test.

    container(bundle, *create_flags, sh="script" or args=[…], id=None): all optional. The bundle defaults to a new one,
    and the process to sleep.
    """
    made: list[Container] = []

    def make(
        bundle: Bundle | None = None,
        *flags: str | Path,
        sh: str | None = None,
        args: list[str] | None = None,
        id: str | None = None,
        **options: object,
    ) -> Container:
        if bundle is None:
            bundle = make_bundle()
            bundle.args("sleep", "1000")
        if sh is not None:
            bundle.sh(sh)
        if args is not None:
            bundle.args(*args)
        one = Container(runtime, bundle, id or new_id())
        made.append(one)
        return one.create(*flags, **options)

    yield make
    for one in made:
        alive = one.pid and process_state(one.pid) not in ("Z", "X", "")
        if alive or one.id in runtime.ids():
            runtime.delete(one.id, force=True).ok()


@pytest.fixture
def scratch(work: Path) -> Scratch:
    """An empty root filesystem."""
    return Scratch(work / "bundle")


@pytest.fixture
def source(work: Path) -> Iterator[Path]:
    """A tmpfs with another one mounted in it, at "below"."""
    path = work / "source"
    path.mkdir()
    mount_on_host("tmpfs", path, "tmpfs")
    (path / "below").mkdir()
    mount_on_host("tmpfs", path / "below", "tmpfs")
    (path / "file").write_text("of the source")
    yield path
    umount(str(path))


@pytest.fixture
def one(container: Callable[..., Container]) -> Container:
    """A running container."""
    return container().start()


@pytest.fixture
def detached() -> Iterator[Callable[..., int]]:
    """Execute words in the background. Return the pid. This session is the process's parent, and reaps it; until
    then the container's first process could not end (pid_namespaces(7))."""
    pids: list[int] = []

    def execute(one: Container, *words: str, flags: tuple[str | Path, ...] = (), **options: Any) -> int:
        file = one.bundle.path / "exec.pid"
        one.exec(*words, flags=["--detach", "--pid-file", file, *flags], **options).ok()
        pids.append(int(file.read_text()))
        return pids[-1]

    yield execute
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture(scope="session")
def entering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that enters a pid namespace; tests copy it if the container attacks entering programs."""
    return make_entering(tmp_path_factory.mktemp("entering"))


@pytest.fixture
def installation(runtime: Runtime, work: Path, untouched: Untouched | None) -> Iterator[None]:
    """Makes the runtime a copy; asserts at the end that neither the copy nor a host program has changed."""
    yield from unchanged_installation(runtime, work, untouched.programs if untouched else [])


@pytest.fixture
def leaked(work: Path) -> Iterator[tuple[Path, list[int]]]:
    """A host directory with a secret, and its file descriptors, which the caller leaks."""
    yield from leaked_directory(work)


@pytest.fixture
def console(work: Path) -> Iterator[Console]:
    """An engine's --console-socket."""
    made = Console(work / "console")
    yield made
    made.close()


@pytest.fixture
def sh(runtime: Runtime, make_bundle: Callable[..., Bundle], new_id: Callable[[], str]) -> Callable[..., Result]:
    """Run a shell script in a container, to its end, in the foreground: sh(script, bundle=None, *flags)."""

    def run(script: str, bundle: Bundle | None = None, *flags: str, **options: object) -> Result:
        return runtime.run((bundle or make_bundle()).sh(script), new_id(), *flags, **options)

    return run


@pytest.fixture(scope="session")
def criu() -> None:
    """Skips a test if criu does not work."""
    reason = reason_against()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def counter(criu: None, runtime: Runtime, bundle: Bundle, work: Path, new_id: Callable[[], str]) -> Iterator[Counter]:
    """A counting container, to checkpoint."""
    one = Counter(runtime, bundle, work, new_id())
    yield one
    runtime.delete(one.id, force=True).ok()
    reap()


@pytest.fixture
def asked(criu: None, runtime: Runtime, bundle: Bundle, work: Path, new_id: Callable[[], str]) -> Iterator[Asked]:
    """A container that executes orders, to checkpoint."""
    reason = Agent.reason_against()
    if reason:
        pytest.skip(reason)
    one = Asked(runtime, bundle, work, new_id())
    yield one
    runtime.delete(one.id, force=True).ok()
    reap()


@pytest.fixture
def assert_nothing_left(no_leaks: Leaks, runtime: Runtime) -> Callable[[], None]:
    """The leak check at a point inside a test; it removes leaks before the test fails."""

    def check() -> None:
        left = no_leaks.found([runtime])
        no_leaks.clean([runtime])
        assert left == []

    return check


@pytest.fixture(autouse=True)
def time_limit() -> Iterator[None]:
    """A test that hangs fails, and the others still run."""

    def over(_number: int, _frame: object) -> None:
        pytest.fail(f"not done after {TIME_LIMIT:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def no_leaks(work: Path, make_runtime: Callable[[str], Runtime], runtime: Runtime) -> Iterator[Leaks]:
    """After every test: cgroups, mounts, processes, state and descriptors are as before, or the test fails."""
    leaks = Leaks(TOKEN, {CGROUP_PARENT})
    yield leaks
    runtimes = [runtime]
    left = leaks.found(runtimes)
    if left:
        leaks.clean(runtimes)
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture
def outside(work: Path) -> Iterator[Path]:
    """A host directory with a few files; asserts at the end that nothing in it has changed."""
    path = work / "outside"
    for name in ("pts", "shm", "sub/below", "fs/cgroup", "bare"):
        (path / name).mkdir(parents=True)
    for name in ("bare/ptmx", "ptmx", "null", "console", "fd", "core", "sub/file", "kcore"):
        (path / name).write_text("of the host")
    before = everything_in(path)
    yield path
    assert everything_in(path) == before, "the host has been written to"


@pytest.fixture
def hostile(make_bundle: Callable[..., Bundle]) -> Bundle:
    """A bundle with a writable root filesystem that the test may change freely."""
    bundle = make_bundle(hardlinks=False)
    bundle.config["root"]["readonly"] = False
    return bundle


@pytest.fixture(scope="session")
def installed() -> Iterator[Installation]:
    """The checkout, installed in a directory whose name has a space and an é, and which other users can enter."""
    with tempfile.TemporaryDirectory(prefix="first-") as place:
        Path(place).chmod(0o755)
        yield install(Path(place, "build"), Path(place, "a prefix é"))


@pytest.fixture
def fresh(installed: Installation) -> Iterator[Installation]:
    """The same without a snapshot. Waits at the end for the processes that make one."""
    wait_until(lambda: not makers(installed), "the end of makers", PATIENCE)
    installed.forget()
    yield installed
    wait_until(lambda: not makers(installed), "the end of makers", PATIENCE)


@pytest.fixture
def fake_criu(work: Path) -> FakeCriu:
    return FakeCriu(work / "criu")


@pytest.fixture
def images(work: Path) -> Path:
    """A directory that looks like one with images."""
    (work / "images").mkdir()
    (work / "images" / "inventory.img").touch()
    return work / "images"
