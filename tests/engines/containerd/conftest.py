"""containerd: a daemon of the session's own, in a network namespace of its own, and its clients ctr and crictl."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines import docs, image
from tests.engines.conftest import CGROUP_PARENT, TOKEN, Check
from tests.engines.engine import PATH, Daemon, Engine
from tests.harness import BusyboxRootfs

IN_NAMESPACE = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]

CONFIG = """\
root = "{home}/root"
state = "{home}/state"
{recipe}
[grpc]
  address = "{home}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:latest"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{home}/cni"
"""

NETWORK = {
    "cniVersion": "0.4.0",
    "name": "tests",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


class Ctr(Engine):
    """The command ctr, and the daemon."""

    def __init__(self, home: Path, runtime: str) -> None:
        super().__init__(home, runtime)
        self.socket = f"{home}/c.sock"
        self.daemon: Daemon | None = None

    def argv(self, *words: str) -> list[str]:
        """The command line: `run` gets the runtime and a cgroup of ours."""
        command = list(words)
        if command[0] == "run":
            command[1:1] = ["--runc-binary", self.runtime]
            # The id is what stands after the image.
            at = next(number for number, word in enumerate(command) if word in ("localhost/alpine:latest", "--rootfs"))
            id = command[at + (2 if command[at] == "--rootfs" else 1)]
            command[1:1] = ["--cgroup", f"/{CGROUP_PARENT}/{id}"]
        return ["ctr", "--address", self.socket, "--namespace", "tests", *command]

    def start(self) -> None:
        """Start the daemon, with the file of docs/containerd.md."""
        recipe = docs.file("containerd.md", "/etc/containerd/config.toml", self.runtime)
        (self.home / "config.toml").write_text(CONFIG.format(home=self.home, recipe=recipe))
        (self.home / "cni").mkdir()
        (self.home / "cni/10-tests.conflist").write_text(json.dumps(NETWORK))
        command = ["containerd", "--config", f"{self.home}/config.toml"]
        environment = {"PATH": PATH, "HOME": str(self.home)}
        self.daemon = Daemon([*IN_NAMESPACE, *command], self.home / "log", environment, self.answers)

    def answers(self) -> bool:
        """Whether the daemon does."""
        return self("version").status == 0

    def load(self, archive: Path) -> None:
        """Import an image for ctr and for the CRI plugin."""
        for namespace in ("tests", "k8s.io"):
            argv = ["ctr", "--address", self.socket, "--namespace", namespace, "images", "import", str(archive)]
            self.call(argv).ok()
        archive.unlink()

    def remove_all(self) -> None:
        """Remove every container."""
        for id in self("task", "list", "--quiet").text.split():
            self("task", "kill", "--all", "--signal", "KILL", id)
            self("task", "delete", "--force", id)
        for id in self("container", "list", "--quiet").text.split():
            self("container", "delete", id)
        assert self("container", "list", "--quiet").text == ""


@pytest.fixture(scope="session")
def ctr(tested: str, rootfs: BusyboxRootfs, make_home: Callable[[str], Path]) -> Iterator[Ctr]:
    """ctr, with the busybox image as localhost/alpine:latest, and one that pauses for the CRI plugin."""
    if shutil.which("containerd") is None:
        pytest.fail("containerd is not installed; tests/engines/run installs it", pytrace=False)
    one = Ctr(make_home("containerd"), tested)
    one.start()
    assert one.daemon is not None
    archive = one.home / "image.tar"
    image.save(rootfs, archive, "localhost/alpine:latest")
    one.load(archive)
    image.save(rootfs, archive, "localhost/pause:latest", command=("sleep", "2147483647"))
    one.load(archive)
    yield one
    one.daemon.end()


@pytest.fixture
def ctr_check(ctr: Ctr) -> Iterator[None]:
    """After each test of ctr, when its containers are removed, nothing of them is left."""
    check = Check(set(), set())
    yield
    ctr.remove_all()
    check.nothing_left()


@pytest.fixture
def id() -> Iterator[str]:
    """An id that is short: ctr puts it in a host name."""
    numbers.append(len(numbers) + 1)
    yield f"{TOKEN}-c{numbers[-1]}"


numbers: list[int] = []
