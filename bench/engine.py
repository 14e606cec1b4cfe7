"""`podman run --network=none` with each runtime, from the call to the end: what an engine's user waits for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from bench.measure import timed
from bench.runtimes import Contestant, MissingError

CONTAINERS_CONF = """\
[containers]
default_ulimits = []
log_driver = "k8s-file"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"

[network]
network_backend = "netavark"
network_config_dir = "{home}/networks"
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{home}/storage"
runroot = "{home}/run"
"""
IMAGE = "localhost/bench"


class Podman:
    """podman with storage and configuration of its own below a folder, and an image of a busybox root."""

    def __init__(self, home: Path, rootfs: Path) -> None:
        self.path = shutil.which("podman") or ""
        if not self.path:
            raise MissingError("no podman here: install podman")
        self.home = home
        home.mkdir()
        (home / "containers.conf").write_text(CONTAINERS_CONF.format(home=home))
        (home / "storage.conf").write_text(STORAGE_CONF.format(home=home))
        self.variables = {
            "CONTAINERS_CONF": str(home / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(home / "storage.conf"),
        }
        with tarfile.open(home / "image.tar", "w") as archive:
            archive.add(rootfs, arcname=".")
        self._quietly("import", str(home / "image.tar"), IMAGE)

    def _quietly(self, *words: str) -> None:
        environment = {"PATH": os.environ["PATH"], **self.variables}
        done = subprocess.run([self.path, *words], capture_output=True, text=True, check=False, env=environment)
        if done.returncode != 0:
            raise MissingError(f"podman {words[0]}: {done.stderr.strip()}")

    def run_once(self, contestant: Contestant, out: Path) -> float:
        """`podman run --rm --network=none IMAGE true`, in ms. Raises CallError."""
        command = [self.path, "--runtime", contestant.path, "run", "--rm", "--network=none", IMAGE, "true"]
        return timed(command, out, self.variables)

    def remove(self) -> None:
        """Remove all that it has stored, and its mounts."""
        self._quietly("system", "reset", "--force")
