"""Shared by the tests of all engines: a private part of the host, names, the leak check, the table of features."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.conftest import runtime_path, runtime_version
from tests.engines.containerd import program as containerd
from tests.engines.crictl import crictl
from tests.engines.table import Row
from tests.harness import BusyboxRootfs
from tests.harness.bundle import busybox_applets
from tests.harness.cgroups import claim, remove_cgroups
from tests.harness.host import CLONE_NEWNET, become_subreaper, umount, unshare
from tests.harness.leaks import Leaks, reap
from tests.harness.look import proc_mounts
from tests.harness.private import WRITABLE, make_private
from tests.harness.sessions import cgroup_name, remove_those_of_dead_sessions
from tests.harness.untouched import Untouched

TOKEN = f"e{os.getpid()}{secrets.token_hex(2)}"
CGROUP_PARENT = cgroup_name(TOKEN)
claim(TOKEN)

# Engines create directories here, whatever their options say.
SHADOWED = ("/run", "/var/lib", "/etc/docker")
# Engines need to write in more places than the runtime's tests.
CONFIGURATION = (Path("/etc"), Path("/home"), Path("/opt"), Path("/root"), Path("/var"))
# The tests' engines must not see the files of the machine's engines.
ENGINES = {"containerd", "docker", "cni", "key.json"}


def shadow(directory: Path, only_mounts: bool = False) -> None:
    """Cover a host directory with a new one that has the same entries; new files stay in this mount namespace.
    `only_mounts`: leave out entries that are not mount points."""
    old = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    entries = [entry for entry in os.scandir(directory) if not only_mounts or os.path.ismount(entry)]
    entries = [entry for entry in entries if entry.name not in ENGINES]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "shadow", directory], check=True)
    for entry in entries:
        new = directory / entry.name
        source = f"/proc/{os.getpid()}/fd/{old}/{entry.name}"
        if entry.is_symlink():
            new.symlink_to(os.readlink(source))
            continue
        if entry.is_dir():
            new.mkdir(exist_ok=True)  # mount(8) makes /run/mount
        else:
            new.touch()
        subprocess.run(["mount", "--no-canonicalize", "--rbind", source, new], check=True)
    os.close(old)


@pytest.fixture(scope="session", autouse=True)
def private_host(request: pytest.FixtureRequest) -> Iterator[None]:
    """Private mounts, interfaces and packet filters: the engines leave nothing on the machine."""
    if any("cri" in getattr(item, "fixturenames", ()) for item in request.session.items):
        crictl()  # the private network cannot fetch its modules
        containerd.path()
    become_subreaper()
    if os.geteuid() != 0:
        yield
        return
    host = Untouched([runtime_path()])
    make_private(WRITABLE + CONFIGURATION, ())
    remove_those_of_dead_sessions()
    for directory in SHADOWED:
        if Path(directory).is_dir():
            shadow(Path(directory))
    # podman treats each directory there as a hierarchy, even an empty one left by a systemd in a container.
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        shadow(Path("/sys/fs/cgroup"), only_mounts=True)
    unshare(CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # podman would do this itself with its first container, and not undo it.
    Path("/run/netns").mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", "/run/netns", "/run/netns"], check=True)
    subprocess.run(["mount", "--make-shared", "/run/netns"], check=True)
    host.begin()
    yield
    assert remove_cgroups(CGROUP_PARENT) == []
    changed = host.thorough()
    if changed:
        host.restore()
        pytest.fail("the session has changed the host:\n  " + "\n  ".join(changed), pytrace=False)


@pytest.fixture(scope="session")
def tested(private_host: None) -> str:
    """The path of the runtime under test."""
    path = runtime_path()
    if not runtime_version(path):
        pytest.fail(f"the runtime {path} does not run; build it (make setup) or set OCI_RUNTIME", pytrace=False)
    return path


@pytest.fixture(scope="session")
def make_home(private_host: None) -> Iterator[Callable[[str], Path]]:
    """Makes directories for engines, on disk; removes them at the end with their mounts."""
    made: list[Path] = []

    def make(name: str) -> Path:
        made.append(Path(tempfile.mkdtemp(prefix=f"{TOKEN}-{name}-", dir=os.environ.get("TMPDIR", "/var/tmp"))))
        made[-1].chmod(0o755)
        return made[-1]

    yield make
    for home in made:
        for mount in reversed(proc_mounts()):
            if str(home) in mount.point:
                umount(mount.point)
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def rootfs(make_home: Callable[[str], Path]) -> BusyboxRootfs:
    """The files of the tests' image."""
    return BusyboxRootfs(make_home("image") / "rootfs", busybox_applets())


@pytest.fixture
def name() -> Iterator[str]:
    """A container name."""
    yield f"{TOKEN}-{secrets.token_hex(3)}"


class Check:
    """The leak check of an engine's test. `parents` (cgroups) and `mountpoints` may come and go."""

    def __init__(self, parents: set[str], mountpoints: set[str]) -> None:
        # BuildKit's stays as long as its daemon.
        self.leaks = Leaks(TOKEN, {CGROUP_PARENT, "buildkit", *parents}, mountpoints)

    def nothing_left(self) -> None:
        """Call this once the engine has removed its containers. If anything remains, remove it, and fail the test."""
        left = self.leaks.found([], patience=10)
        if left:
            self.leaks.clean([])
            pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
        reap()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", type=Path, help="write the outcome of each engine's features to this file, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "feature(name): the row in the table of features, if it is not the test's name")
    config.addinivalue_line("markers", "engine(name): the engine, if it is not the directory's name")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    engine, feature = item.get_closest_marker("engine"), item.get_closest_marker("feature")
    named = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
    key = (engine.args[0] if engine else item.path.parent.name, feature.args[0] if feature else named)
    rows.setdefault(key, Row(*key)).add(report)
    return report


rows: dict[tuple[str, str], Row] = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    file = session.config.getoption("--table")
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        document = {"runtime": runtime_version(runtime_path()), "rows": [row.document() for row in rows.values()]}
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
