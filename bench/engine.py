"""`podman run --network=none` with each runtime, from call to end: the time that an engine's user waits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from bench.measure import timed
from bench.runtimes import Contestant, MissingError
from conformance.host import cgroups, remove_cgroups, unmount_below

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
    """podman with private storage and configuration below a folder, and an image with a busybox root."""

    def __init__(self, home: Path, rootfs: Path) -> None:
        self.path = shutil.which("podman") or ""
        if not self.path:
            raise MissingError("no podman here: install podman")
        self.home = home
        # podman leaves the cgroup that it makes itself, and it would keep a hierarchy busy that the benchmark mounted.
        self.cgroup_parent = f"ocipy-bench-{os.getpid()}"
        home.mkdir()
        (home / "containers.conf").write_text(CONTAINERS_CONF.format(home=home))
        (home / "storage.conf").write_text(STORAGE_CONF.format(home=home))
        self.variables = {
            "CONTAINERS_CONF": str(home / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(home / "storage.conf"),
        }
        with tarfile.open(home / "image.tar", "w") as archive:
            archive.add(rootfs, arcname=".")
        failure = self._quietly("import", str(home / "image.tar"), IMAGE)
        if failure:
            raise MissingError(failure)

    def _quietly(self, *words: str) -> str:
        """Call it. Return its messages if it fails."""
        environment = {"PATH": os.environ["PATH"], **self.variables}
        done = subprocess.run([self.path, *words], capture_output=True, text=True, check=False, env=environment)
        return f"podman {words[0]}: {done.stderr.strip()}" if done.returncode != 0 else ""

    def run_once(self, contestant: Contestant, out: Path) -> float:
        """`podman run --rm --network=none IMAGE true`, in ms. Raises CallError."""
        parent = f"--cgroup-parent=/{self.cgroup_parent}"
        command = [self.path, "--runtime", contestant.path, "run", "--rm", "--network=none", parent, IMAGE, "true"]
        return timed(command, out, self.variables)

    def remove(self) -> None:
        """Remove its storage, mounts and cgroups. Raises nothing: a measurement may have failed already."""
        failure = self._quietly("system", "reset", "--force")
        if failure:
            print(f"warning: {failure}", file=sys.stderr)
        unmount_below(self.home)
        remove_cgroups([path for path in cgroups() if self.cgroup_parent in path.split("/")])
