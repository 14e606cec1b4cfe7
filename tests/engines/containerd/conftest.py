"""containerd: a private daemon in a private network namespace, and its clients ctr and crictl."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines import docs, image
from tests.engines.conftest import CGROUP_PARENT, TOKEN, Check
from tests.engines.containerd import program
from tests.engines.crictl import crictl
from tests.engines.engine import IN_NAMESPACE, Daemon, Engine
from tests.harness import BusyboxRootfs, Host, cgroup_dirs

COMMON = """\
root = "{home}/root"
state = "{home}/state"
{recipe}
[grpc]
  address = "{home}/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
"""
# By containerd's major version; the second since 2.1.
CONFIGS = {
    1: """\
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:latest"
  restrict_oom_score_adj = {restricted}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{home}/cni"
""",
    2: """\
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:latest"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = {restricted}
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{home}/cni"
""",
}

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
        # containerd 2.2 calls cgroup v1 deprecated at each call of ctr; the tests compare the process's own output.
        self.env |= {"PATH": program.path(), "CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS": "true"}
        self.socket = f"{home}/c.sock"
        self.daemon: Daemon | None = None

    def argv(self, *words: str) -> list[str]:
        """The command line; `run` gets the runtime and one of our cgroups."""
        command = list(words)
        if command[0] == "run":
            command[1:1] = ["--runc-binary", self.runtime]
            # The id follows the image.
            at = next(number for number, word in enumerate(command) if word in ("localhost/alpine:latest", "--rootfs"))
            id = command[at + (2 if command[at] == "--rootfs" else 1)]
            command[1:1] = ["--cgroup", f"/{CGROUP_PARENT}/{id}"]
        return ["ctr", "--address", self.socket, "--namespace", "tests", *command]

    def start(self) -> None:
        """Start the daemon, with the file from docs/containerd.md."""
        recipe = docs.file("containerd.md", program.forms()[-1], self.runtime)
        # Sandboxes have -998, and lowering it needs a capability.
        restricted = "false" if Host().has_capability("CAP_SYS_RESOURCE") else "true"
        text = COMMON + CONFIGS[program.major()]
        (self.home / "config.toml").write_text(text.format(home=self.home, recipe=recipe, restricted=restricted))
        (self.home / "cni").mkdir()
        (self.home / "cni/10-tests.conflist").write_text(json.dumps(NETWORK))
        command = ["containerd", "--config", f"{self.home}/config.toml"]
        environment = {"PATH": program.path(), "HOME": str(self.home)}
        self.daemon = Daemon([*IN_NAMESPACE, *command], self.home / "log", environment, self.answers)

    def answers(self) -> bool:
        """Whether the daemon answers."""
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
    if shutil.which("containerd", path=program.path()) is None:
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
    """After each test of ctr, when its containers are removed, nothing remains of them."""
    check = Check(set(), set())
    yield
    ctr.remove_all()
    check.nothing_left()


@pytest.fixture
def id() -> Iterator[str]:
    """A short id: ctr uses it in a host name."""
    numbers.append(len(numbers) + 1)
    yield f"{TOKEN}-c{numbers[-1]}"


numbers: list[int] = []


class Cri(Engine):
    """crictl, which calls the daemon as the kubelet does. It names the recipe's handler for pods."""

    def __init__(self, ctr: Ctr, program: str) -> None:
        super().__init__(ctr.home, ctr.runtime)
        assert ctr.daemon is not None
        self.program = program
        self.process = ctr.daemon.process.pid
        self.socket = f"unix://{ctr.socket}"
        (self.home / "crictl.yaml").write_text("")
        (self.home / "logs").mkdir()

    def argv(self, *words: str) -> list[str]:
        # exec and port-forward use a port of the daemon.
        enter = ["nsenter", "-t", str(self.process), "-n"]
        flags = ["--config", f"{self.home}/crictl.yaml", "--runtime-endpoint", self.socket, "--timeout", "60s"]
        return [*enter, self.program, *flags, *words]

    def file(self, name: str, document: dict[str, Any]) -> str:
        """The path of a file with the document."""
        path = self.home / name
        path.write_text(json.dumps(document))
        return str(path)

    def remove_all(self) -> None:
        """Remove every pod with its containers."""
        for pod in self("pods", "--quiet").lines:
            self("stopp", pod)
            self("rmp", "--force", pod)
        assert self("pods", "--quiet").text == ""


@pytest.fixture(scope="session")
def cri(ctr: Ctr) -> Cri:
    """crictl."""
    return Cri(ctr, crictl())


class Pod:
    """A sandbox, with the documents for its containers."""

    def __init__(self, cri: Cri, name: str, **linux: Any) -> None:
        self.cri = cri
        self.config: dict[str, Any] = {
            "metadata": {"name": name, "namespace": "tests", "uid": name, "attempt": 1},
            # A pod on the node's network has the node's name.
            "hostname": ""
            if linux.get("security_context", {}).get("namespace_options", {}).get("network")
            else "named",
            "log_directory": str(cri.home / "logs"),
            "linux": {"cgroup_parent": f"/{CGROUP_PARENT}/{name}", **linux},
        }
        self.name = name
        self.id = ""

    def run(self) -> Pod:
        """Make the sandbox with the recipe's handler."""
        self.id = self.cri("runp", "--runtime=ocipy", self.cri.file("pod.json", self.config)).text
        return self

    def create(self, *command: str, **members: Any) -> str:
        """The id of a new container."""
        name = f"c{len(list((self.cri.home / 'logs').iterdir()))}"
        config: dict[str, Any] = {
            "metadata": {"name": name, "attempt": 1},
            "image": {"image": "localhost/alpine:latest"},
            "command": list(command),
            "log_path": f"{self.name}-{name}.log",
            **members,
        }
        (self.cri.home / "logs" / config["log_path"]).touch()
        files = self.cri.file("container.json", config), self.cri.file("pod.json", self.config)
        return self.cri("create", self.id, *files).text

    def start(self, *command: str, **members: Any) -> str:
        """The id of a new running container."""
        id = self.create(*command, **members)
        self.cri("start", id).ok()
        return id

    def status(self, id: str) -> dict[str, Any]:
        """The output of `crictl inspect`."""
        found: dict[str, Any] = json.loads(self.cri("inspect", id).text)
        return found

    def state(self, id: str) -> str:
        """Its state's name without the common prefix."""
        return str(self.status(id)["status"]["state"]).removeprefix("CONTAINER_")

    def pid(self, id: str) -> int:
        """Its first process."""
        return int(self.status(id)["info"]["pid"])


@pytest.fixture
def make_pod(cri: Cri, name: str) -> Callable[..., Pod]:
    """make_pod(**linux): a running pod."""
    return lambda **linux: Pod(cri, f"{name}-{secrets.token_hex(2)}", **linux).run()


@pytest.fixture
def cri_check(cri: Cri) -> Iterator[None]:
    """After each test of the CRI plugin, when its pods are removed, nothing remains of them."""
    check = Check(set(), set())
    yield
    cri.remove_all()
    # The kubelet removes the parents of pods.
    for path in reversed(cgroup_dirs(CGROUP_PARENT)):
        if path.parent.name == CGROUP_PARENT:
            path.rmdir()
    check.nothing_left()
