"""Docker: a private daemon in a private network namespace; the runtime under test is its default."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines import alike, docs, image
from tests.engines.conftest import CGROUP_PARENT, Check
from tests.engines.engine import IN_NAMESPACE, PATH, Daemon, Engine
from tests.harness import BusyboxRootfs


class Docker(Engine):
    """The command docker, and its daemon."""

    def __init__(self, home: Path, runtime: str) -> None:
        super().__init__(home, runtime)
        # Debian's; PATH may find another one first.
        self.program = "/usr/bin/docker" if os.access("/usr/bin/docker", os.X_OK) else "docker"
        self.socket = f"unix://{home}/d.sock"
        self.env |= {"DOCKER_CONFIG": str(home), "DOCKER_BUILDKIT": "0"}
        self.daemon: Daemon | None = None

    def argv(self, *words: str) -> list[str]:
        return [self.program, "--host", self.socket, *words]

    def start(self) -> None:
        """Start the daemon, with the file from docs/docker.md."""
        settings = json.loads(docs.file("docker.md", "/etc/docker/daemon.json", self.runtime))
        settings["runtimes"]["with-args"] = {"path": self.runtime, "runtimeArgs": ["--systemd-cgroup=false"]}
        (self.home / "daemon.json").write_text(json.dumps(settings))
        # BuildKit executes the program named runc; here, a script that records the call.
        (self.home / "bin").mkdir()
        (self.home / "bin/runc").write_text(f'#!/bin/sh\necho "$@" >> {self.home}/calls\nexec {self.runtime} "$@"\n')
        (self.home / "bin/runc").chmod(0o755)
        command = ["dockerd", "--config-file", f"{self.home}/daemon.json", "--host", self.socket]
        command += ["--data-root", f"{self.home}/data", "--exec-root", f"{self.home}/exec"]
        command += ["--pidfile", f"{self.home}/pid", "--cgroup-parent", f"/{CGROUP_PARENT}"]
        environment = {"PATH": f"{self.home}/bin:{PATH}", "HOME": str(self.home)}
        self.daemon = Daemon([*IN_NAMESPACE, *command], self.home / "log", environment, self.answers)

    def answers(self) -> bool:
        """Whether the daemon answers."""
        return self("info").status == 0

    def runc_calls(self) -> int:
        """How often the runtime was called as runc."""
        calls = self.home / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    def nsenter(self, *words: str) -> list[str]:
        """A command line in the daemon's network namespace, which is the host's for its containers."""
        assert self.daemon is not None
        return ["nsenter", "-t", str(self.daemon.process.pid), "-n", *words]

    def remove_all(self) -> None:
        """Remove every container and network."""
        ids = self("ps", "--all", "--quiet").text.split()
        if ids:
            self("rm", "--force", "--volumes", *ids).ok()
        self("network", "prune", "--force").ok()


@pytest.fixture(scope="session")
def docker(tested: str, rootfs: BusyboxRootfs, make_home: Callable[[str], Path]) -> Iterator[Docker]:
    """Docker, with the busybox image as alpine."""
    if shutil.which("dockerd") is None:
        pytest.fail("Docker is not installed; tests/engines/run installs it", pytrace=False)
    one = Docker(make_home("docker"), tested)
    one.start()
    assert one.daemon is not None
    archive = one.home / "image.tar"
    image.save(rootfs, archive, "alpine:latest")
    one("load", "--quiet", "--input", str(archive)).ok()
    archive.unlink()
    yield one
    one.daemon.end()


@pytest.fixture(autouse=True)
def no_leaks(docker: Docker) -> Iterator[None]:
    """After each test, when Docker has removed its containers, nothing remains of them."""
    # The namespace files of the containers' networks, and of the last network.
    check = Check(set(), {f"{docker.home}/exec/netns/default"})
    yield
    docker.remove_all()
    check.nothing_left()


@pytest.fixture
def inspect(docker: Docker) -> Callable[[str, str], str]:
    """inspect(name, template): one value from docker inspect."""
    return alike.inspecting(docker)


@pytest.fixture
def sleeping(docker: Docker, name: str) -> Callable[..., str]:
    """sleeping(*flags): the name of a sleeping container."""
    return alike.sleeper(docker, name)
