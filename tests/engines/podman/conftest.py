"""podman with private storage, networks and configuration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines import alike, docs, image
from tests.engines.conftest import CGROUP_PARENT, Check
from tests.engines.engine import Answer, Engine
from tests.harness import BusyboxRootfs
from tests.harness.criu import CRIU

CONTAINERS_CONF = """\
[containers]
default_ulimits = []
log_driver = "k8s-file"
cgroupns = "private"

[network]
network_backend = "netavark"
network_config_dir = "{home}/networks"

{recipe}"""

ENGINE = """\
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

STORAGE_CONF = """\
[storage]
driver = "{driver}"
graphroot = "{home}/storage"
runroot = "{home}/run"
"""


class Podman(Engine):
    """podman on the runtime under test."""

    def __init__(self, home: Path, runtime: str, driver: str) -> None:
        super().__init__(home, runtime)
        conf = home / "containers.conf"
        recipe = docs.file("podman.md", "/etc/containers/containers.conf.d/ocipy.conf", runtime)
        recipe = recipe.replace("[engine]\n", ENGINE)  # TOML allows a table only once
        conf.write_text(CONTAINERS_CONF.format(home=home, recipe=recipe))
        storage = home / "storage.conf"
        storage.write_text(STORAGE_CONF.format(driver=driver, home=home))
        (home / "networks").mkdir()
        if CRIU:  # the first criu in PATH, for podman and the runtime
            self.env["PATH"] = f"{os.path.dirname(CRIU)}:{self.env['PATH']}"
        self.env |= {"CONTAINERS_CONF": str(conf), "CONTAINERS_STORAGE_CONF": str(storage)}

    def argv(self, *words: str, runtime: str | None = None) -> list[str]:
        """The command line; commands that make containers get one of our cgroups as parent."""
        command = list(words)
        at = 2 if command[0] in ("container", "pod") else 1
        if command[at - 1] in ("run", "create") and not any(word.startswith("--pod=") for word in command):
            command[at:at] = ["--cgroup-parent", f"/{CGROUP_PARENT}"]
        return ["podman", "--runtime", runtime or self.runtime, "--tmpdir", f"{self.home}/tmp", *command]

    def by(self, runtime: str, *words: str) -> Answer:
        """Call it with another name of the runtime, and wait until it ends."""
        return self.call(self.argv(*words, runtime=runtime))


def load_images(one: Podman, rootfs: BusyboxRootfs) -> None:
    """Load the busybox image as localhost/alpine and alpine."""
    archive = one.home / "image.tar"
    image.save(rootfs, archive, "localhost/alpine:latest", "docker.io/library/alpine:latest")
    one("load", "--quiet", "--input", str(archive)).ok()
    archive.unlink()


@pytest.fixture(scope="session")
def podman(tested: str, rootfs: BusyboxRootfs, make_home: Callable[[str], Path]) -> Iterator[Podman]:
    """podman, with the busybox image as localhost/alpine and alpine."""
    if shutil.which("podman") is None:
        pytest.fail("podman is not installed; tests/engines/run installs it", pytrace=False)
    one = Podman(make_home("podman"), tested, "overlay")
    if one("info").status != 0:  # no overlay on this filesystem
        one = Podman(make_home("podman"), tested, "vfs")
    load_images(one, rootfs)
    yield one
    one("pod", "rm", "--all", "--force")
    one("rm", "--all", "--force", "--time", "0")
    one("rmi", "--all", "--force")


@pytest.fixture(autouse=True)
def no_leaks(podman: Podman) -> Iterator[None]:
    """After each test, when podman has removed its containers, nothing remains of them."""
    # podman bind-mounts its storage directory onto itself for the first container, and unmounts it after the last.
    check = Check({"conmon"}, {f"{podman.home}/storage/overlay"})
    yield
    # podman 4 has a race here, with any runtime: its monitor's clean-up unmounts the container's shm only in its
    # own mount namespace. The second rm always succeeds.
    if podman("rm", "--all", "--force", "--time", "0").status != 0:
        podman("rm", "--all", "--force", "--time", "0").ok()
    check.nothing_left()


@pytest.fixture
def inspect(podman: Podman) -> Callable[[str, str], str]:
    """inspect(name, template): one value from podman inspect."""
    return alike.inspecting(podman)


@pytest.fixture
def sleeping(podman: Podman, name: str) -> Callable[..., str]:
    """sleeping(*flags): the name of a sleeping container."""
    return alike.sleeper(podman, name)
