"""podman with its own storage, networks and configuration, in a mount and a network namespace of the session."""

from __future__ import annotations

import ctypes
import os
import pty
import re
import secrets
import select
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import runtime_path, runtime_version
from tests.harness import BusyboxRootfs, cgroup_dirs, scaled, wait_until
from tests.harness.host import become_subreaper, umount, unshare_mounts
from tests.harness.leaks import Leaks, reap

TOKEN = f"e{os.getpid()}{secrets.token_hex(2)}"
CGROUP_PARENT = f"ocipy-test-{TOKEN}"
CLONE_NEWNET = 0x40000000

CONTAINERS_CONF = """\
[containers]
default_ulimits = []
log_driver = "k8s-file"
cgroupns = "private"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["ocipy", "runc", "crun"]

[engine.runtimes]
tested = ["{runtime}"]

[network]
network_backend = "netavark"
network_config_dir = "{home}/networks"
"""

STORAGE_CONF = """\
[storage]
driver = "{driver}"
graphroot = "{home}/storage"
runroot = "{home}/run"
"""


class Answer:
    """What a call of podman gave."""

    def __init__(self, argv: list[str], status: int, stdout: str, stderr: str) -> None:
        self.argv, self.status, self.stdout, self.stderr = argv, status, stdout, stderr

    def __repr__(self) -> str:
        return f"{' '.join(self.argv)}\n→ status {self.status}\nstdout: {self.stdout!r}\nstderr: {self.stderr!r}"

    def ok(self) -> Answer:
        """Assert success."""
        assert self.status == 0, repr(self)
        return self

    @property
    def text(self) -> str:
        """Standard output of a successful call, stripped."""
        return self.ok().stdout.strip()


class Podman:
    """podman on the runtime under test."""

    def __init__(self, home: Path, runtime: str, driver: str) -> None:
        self.home = home
        self.runtime = runtime
        conf = home / "containers.conf"
        conf.write_text(CONTAINERS_CONF.format(runtime=runtime, home=home))
        storage = home / "storage.conf"
        storage.write_text(STORAGE_CONF.format(driver=driver, home=home))
        (home / "networks").mkdir()
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "CONTAINERS_CONF": str(conf),
            "CONTAINERS_STORAGE_CONF": str(storage),
        }

    def argv(self, *words: str, runtime: str | None = None) -> list[str]:
        """The command line: `run` and `create` get a cgroup parent of ours."""
        command = list(words)
        if command[0] in ("run", "create"):
            command[1:1] = ["--cgroup-parent", f"/{CGROUP_PARENT}"]
        return ["podman", "--runtime", runtime or self.runtime, "--tmpdir", f"{self.home}/tmp", *command]

    def __call__(self, *words: str, stdin: bytes = b"", timeout: float = 90, runtime: str | None = None) -> Answer:
        """A whole call. Its streams are files: a pipe would be held open by the container's monitor."""
        argv = self.argv(*words, runtime=runtime)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as source:
            source.write(stdin)
            source.seek(0)
            # conmon leaves a file named oom where it was started, if the container ran out of memory.
            process = subprocess.Popen(argv, cwd=self.home, stdin=source, stdout=out, stderr=err, env=self.env)
            try:
                status = process.wait(scaled(timeout))
            except subprocess.TimeoutExpired:
                process.kill()
                status = process.wait()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return Answer(argv, status, *texts)

    def terminal(self, *words: str) -> Terminal:
        """A call under a pseudo-terminal."""
        return Terminal(self.argv(*words), self.env)


class Terminal:
    """A program whose terminal the test holds the other end of."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(argv[0], argv, {**env, "TERM": "xterm"})
            finally:
                os._exit(127)
        self.text = ""

    def expect(self, pattern: str, timeout: float = 30) -> re.Match[str]:
        """Read until the pattern is seen; what was read up to its end is dropped."""
        deadline = time.monotonic() + scaled(timeout)
        while True:
            match = re.search(pattern, self.text)
            if match is not None:
                self.text = self.text[match.end() :]
                return match
            ready, _, _ = select.select([self.master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{pattern!r} did not come; there is {self.text!r}"
            try:
                data = os.read(self.master, 4096)
            except OSError:
                data = b""
            assert data, f"{pattern!r} did not come before the end; there is {self.text!r}"
            self.text += data.decode(errors="replace")

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self, timeout: float = 30) -> int:
        """Read to the end and return the exit status."""
        deadline = time.monotonic() + scaled(timeout)
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.master], [], [], 0.1)
            if ready:
                try:
                    if not os.read(self.master, 4096):
                        break
                except OSError:
                    break  # EIO: the last process on the terminal has gone
        done: list[int] = []

        def gone() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                done.append(os.waitstatus_to_exitcode(status))
            return bool(pid)

        try:
            wait_until(gone, "end of the program on the terminal", timeout)
        finally:
            os.close(self.master)
        return done[0]


@pytest.fixture(scope="session", autouse=True)
def private_host() -> Iterator[None]:
    """Mounts, interfaces and packet filters of the session's own: nothing of podman's stays on the machine."""
    become_subreaper()
    if os.geteuid() != 0:
        yield
        return
    unshare_mounts()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # podman would do this itself with its first container, once, and leave it.
    Path("/run/netns").mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", "/run/netns", "/run/netns"], check=True)
    subprocess.run(["mount", "--make-shared", "/run/netns"], check=True)
    yield
    for path in reversed(cgroup_dirs(CGROUP_PARENT)):
        path.rmdir()


@pytest.fixture(scope="session")
def podman(private_host: None) -> Iterator[Podman]:
    """podman, with the busybox image as localhost/alpine and alpine."""
    path = runtime_path()
    if not runtime_version(path):
        pytest.fail(f"the runtime {path} does not run; build it (make setup) or set OCI_RUNTIME", pytrace=False)
    if shutil.which("podman") is None:
        pytest.fail("podman is not installed; tests/engines/run installs it", pytrace=False)
    home = Path(tempfile.mkdtemp(prefix=f"{TOKEN}-", dir="/var/tmp"))
    one = Podman(home, path, "overlay")
    rootfs = BusyboxRootfs(home / "rootfs")
    with tarfile.open(home / "image.tar", "w") as archive:
        archive.add(rootfs.path, arcname="/")
    if one("info").status != 0:  # no overlay on this file system
        one = Podman(_fresh(home), path, "vfs")
    environment = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    one("import", "--change", environment, "--change", "CMD sh", str(home / "image.tar"), "localhost/alpine").ok()
    one("tag", "localhost/alpine", "docker.io/library/alpine").ok()
    yield one
    one("rm", "--all", "--force", "--time", "0")
    one("rmi", "--all", "--force")
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if str(home) in line.split()[4]:
            umount(line.split()[4])
    shutil.rmtree(home)


def _fresh(home: Path) -> Path:
    """The same directory without what the first attempt put there."""
    for name in ("networks", "storage", "run", "tmp"):
        shutil.rmtree(home / name, ignore_errors=True)
    return home


@pytest.fixture
def name() -> Iterator[str]:
    """A container name."""
    yield f"{TOKEN}-{secrets.token_hex(3)}"


@pytest.fixture(autouse=True)
def no_leaks(podman: Podman) -> Iterator[None]:
    """After each test, when podman has removed its containers, nothing of them is left."""
    # podman mounts its storage directory on itself with the first container and takes that away after the last.
    leaks = Leaks(TOKEN, {CGROUP_PARENT, "conmon"}, {f"{podman.home}/storage/overlay"})
    yield
    # podman 4 itself races here, with any runtime: its monitor's clean-up unmounts the container's shm in a mount
    # namespace of its own, and calls it done. The second rm always succeeds.
    if podman("rm", "--all", "--force", "--time", "0").status != 0:
        podman("rm", "--all", "--force", "--time", "0").ok()
    left = leaks.found([], patience=5)
    if left:
        leaks.clean([])
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
    reap()


@pytest.fixture
def inspect(podman: Podman) -> Callable[[str, str], str]:
    """inspect(name, template): one value of podman inspect."""
    return lambda name, template: podman("inspect", "--format", template, name).text
