"""Engines whose cgroups systemd creates: podman --cgroup-manager=systemd, Docker native.cgroupdriver=systemd."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import runtime_path
from tests.harness import BusyboxRootfs, proc_mounts
from tests.harness.host import scaled, wait_until
from tests.harness.systemd import MIB, V2, need, shown, systemctl

pytestmark = pytest.mark.needs_systemd


class Engine:
    """A command line with private directories and, for Docker, a private daemon."""

    def __init__(self, command: list[str], environment: dict[str, str], work: Path) -> None:
        self.command = command
        self.environment = {**os.environ, "HOME": str(work), **environment}
        self.work = work

    def begin(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=scaled(60),
            env=self.environment,
            cwd=self.work,
        )

    def __call__(self, *words: str) -> str:
        done = self.begin(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def import_image(self, busybox: BusyboxRootfs) -> None:
        archive = self.work / "image.tar"
        subprocess.run(["tar", "-C", busybox.path, "-cf", archive, "."], check=True)
        self("import", str(archive), "localhost/busybox")


@pytest.fixture
def podman(work: Path, busybox: BusyboxRootfs) -> Engine:
    if shutil.which("podman") is None:
        pytest.skip("needs the program podman")
    conf = work / "containers.conf"
    # The host's directory is read-only, and does not exist before podman's first run.
    network = f'[network]\nnetwork_config_dir = "{work}/networks"\n'
    engine_conf = '[engine]\nevents_logger = "file"\n'
    conf.write_text('[containers]\ndefault_ulimits = []\nlog_driver = "k8s-file"\n' + engine_conf + network)
    command = ["podman", "--root", f"{work}/root", "--runroot", f"{work}/run", "--storage-driver", "vfs"]
    command += ["--cgroup-manager=systemd", "--runtime", runtime_path()]
    engine = Engine(command, {"CONTAINERS_CONF": str(conf)}, work)
    engine.import_image(busybox)
    return engine


@pytest.fixture
def docker(work: Path, busybox: BusyboxRootfs) -> Iterator[Engine]:
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        pytest.skip("needs the programs dockerd and docker")
    socket = work / "d.sock"
    command = ["dockerd", "--data-root", f"{work}/data", "--exec-root", f"{work}/exec", "-H", f"unix://{socket}"]
    command += ["-p", f"{work}/pid", "--add-runtime", f"tested={runtime_path()}", "--default-runtime", "tested"]
    command += ["--exec-opt", "native.cgroupdriver=systemd", "--iptables=false", "--bridge=none"]
    command += ["--storage-driver", "vfs", "--ip-forward=false"]  # the network namespace is the host's
    with (work / "dockerd.log").open("w") as log:
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    engine = Engine(["docker", "-H", f"unix://{socket}"], {}, work)
    try:
        wait_until(lambda: engine.begin("info").returncode == 0, "dockerd", 60)
        engine.import_image(busybox)
        yield engine
    finally:
        daemon.terminate()
        daemon.wait(scaled(60))
        for mount in reversed(proc_mounts()):
            if str(work) in mount.point:
                subprocess.run(["umount", "-l", mount.point], check=False)


def drive(engine: Engine, unit_of: str) -> None:
    """run, exec, pause, update, rm: each uses the scope that run has made."""
    need("memory", "pids")
    flags = ["--network", "none", "--memory", "64m", "--pids-limit", "50"]
    id = engine("run", "-d", "--name", "tested", *flags, "localhost/busybox", "/bin/sleep", "1000").split()[-1]
    unit = unit_of.format(id)
    limit = "MemoryMax" if V2 else "MemoryLimit"
    assert shown(unit, "ActiveState", "TasksMax", limit) == {
        "ActiveState": "active",
        "TasksMax": "50",
        limit: str(64 * MIB),
    }
    assert "1000" in engine("exec", "tested", "/bin/ps")
    engine("pause", "tested")
    engine("unpause", "tested")
    engine("update", "--memory", "80m", "--memory-swap", "80m", "tested")
    assert shown(unit, limit) == {limit: str(80 * MIB)}
    engine("rm", "-f", "tested")
    wait_until(lambda: systemctl("status", unit).returncode == 4, f"the end of {unit}")
    assert engine("run", "--rm", "--network", "none", "localhost/busybox", "/bin/echo", "once") == "once\n"


def test_podman(podman: Engine) -> None:
    drive(podman, "libpod-{}.scope")


def test_docker(docker: Engine) -> None:
    drive(docker, "docker-{}.scope")
