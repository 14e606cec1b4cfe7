"""Fixtures of the box's tests: the command in the session's namespaces, and the leak check."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import runtime_path
from tests.harness.host import Host, become_subreaper, scaled, setns, unshare, wait_until
from tests.harness.leaks import reap
from tests.harness.private import make_private
from tests.harness.user import FIRST_GID, FIRST_UID, RANGE, USER, opened
from tests.harness.user import NAME as USER_NAME

CLONE_NEWNET = 0x40000000
SECONDS = 60
NEEDED = ("conmon", "dnsmasq", "nft", "skopeo", "umoci", "unshare")


@pytest.fixture(scope="package", autouse=True)
def private_host() -> Iterator[None]:
    """Private mounts and networks: the session changes nothing on the host, and leaves nothing behind. At the end it
    returns to the old ones: another suite in the same session checks that they are unchanged."""
    if os.geteuid() != 0:
        pytest.skip("needs root, also for the tests that become an ordinary user")
    missing = [name for name in NEEDED if shutil.which(name) is None]
    assert not missing, f"install {' '.join(missing)}: make setup"
    become_subreaper()
    before = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("mnt", "net", "ipc", "uts")]
    make_private()
    for device in (Path("/dev/fuse"), Path("/dev/net/tun")):
        if device.exists():
            device.chmod(0o666)  # as udev does, which not every host has
    unshare(CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # A new network namespace inherits the first one's settings (ip-sysctl.rst, devconf_inherit_init_net).
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", name).write_text("0")
    yield
    for fd in before:
        setns(fd)
        os.close(fd)


def needs(controller: str) -> None:
    """Skip if the only hierarchy is v2 without the controller, as on a hybrid host."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    if controllers.exists() and controller not in controllers.read_text().split():
        pytest.skip(f"the v2 hierarchy of this host does not have the controller {controller}")


class Box:
    """Calls `ocipy box` with its places in the test's directory."""

    def __init__(self, places: Path, before: Sequence[str] = ()) -> None:
        """before: words before the command line, to call it as another user."""
        self.places = places
        self.before = list(before)
        self.is_users = bool(before)
        self.environment = {"PATH": os.environ["PATH"], "OCIPY_BOX": str(places), "HOME": "/root"}

    def __call__(
        self, *words: str, input: str = "", status: int | None = 0, timeout: float = SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Call it, and wait until it ends; status None accepts any exit status."""
        words = (*self.before, runtime_path(), "box", *words)
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, errors="replace", env=self.environment, input=input,
            timeout=scaled(timeout),
        )  # fmt: skip
        assert status is None or done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def run(self, *words: str, **options: Any) -> str:
        """`box run --rm`, by default without a network. Return its output."""
        network = [] if any(word.startswith("--network") for word in words) else ["--network", "none"]
        return self("run", "--rm", *network, *words, **options).stdout

    def inspect(self, name: str) -> dict[str, Any]:
        """The output of `box inspect` for one box."""
        found: list[dict[str, Any]] = json.loads(self("inspect", "--format", "json", name).stdout)
        return found[0]

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Call it in the background."""
        return subprocess.Popen(
            [*self.before, runtime_path(), "box", *words], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture
def places() -> Iterator[Path]:
    """A short path, for sockets, on a disk that overlayfs accepts."""
    path = Path(tempfile.mkdtemp(prefix="box-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


def left_behind(places: Path, ids: set[str]) -> list[str]:
    """What the boxes have left behind: links, rules, mounts, cgroups, processes and files."""
    found = [line for line in _lines("ip", "-o", "link") if "ocipy0" in line or ": box" in line]
    found += [line for line in _lines("nft", "list", "tables") if "ocipy" in line]
    found += [line for line in Path("/proc/self/mountinfo").read_text().split("\n") if str(places) in line]
    for pattern in ("ocipy-box-*", "*/ocipy-box-*"):
        there = {path: path.name.removeprefix("ocipy-box-") for path in Path("/sys/fs/cgroup").glob(pattern)}
        cgroups = [path for path, name in there.items() if name.removesuffix(".scope") in ids]
        found += [str(path) for path in cgroups]
    # Processes that work for a box have its environment: conmon, what conmon calls at the end, pasta, fuse-overlayfs.
    mark = b"OCIPY_BOX=" + os.fsencode(places)
    found += [f"pid {pid}" for pid in Path("/proc").iterdir() if pid.name.isdecimal() and mark in environment_of(pid)]
    inner = [f" {word} {one}" for one in ids for word in ("_ended", "_watch")]
    found += [
        line
        for line in _lines("ps", "-e", "-ww", "-o", "pid,args")
        if str(places) in line or any(words in line for words in inner)
    ]
    found += [str(path) for path in (places / "run").glob("[lp]*") if path.suffix != ".lock"]
    found += [str(path) for path in (places / "run/runtime").glob("[!@.]*")]
    return found


def environment_of(process: Path) -> list[bytes]:
    """The variables of a process in /proc; none if it has ended."""
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _lines(*words: str) -> list[str]:
    return subprocess.run(words, check=True, capture_output=True, text=True, errors="replace").stdout.split("\n")


@pytest.fixture
def box(root_box: Box) -> Box:
    """The command, as root calls it unless a file says otherwise."""
    return root_box


@pytest.fixture
def root_box(places: Path) -> Iterator[Box]:
    """The command. At the end, remove all boxes; nothing may remain."""
    made = Box(places)
    yield made
    ids = {path.name for path in (places / "data/boxes").glob("[!.]*")}
    if ids:
        made("rm", "-f", *ids)
    left: list[str] = []

    def nothing_left() -> bool:
        reap()
        left[:] = left_behind(places, ids)
        return not left

    try:
        wait_until(nothing_left, "nothing is left of the boxes", timeout=5)
    except AssertionError:
        pytest.fail("left behind:\n  " + "\n  ".join(left))
    assert list((places / "data/boxes").glob("[!.]*")) == []


MANAGER = f"user@{USER}.service"
DIRECTORY = f"/run/user/{USER}"


def systemctl(*words: str) -> None:
    """Call it. Raises CalledProcessError."""
    subprocess.run(["systemctl", *words], check=True, timeout=scaled(120))


def has_user_systemd() -> bool:
    """Whether users of this host can set limits: systemd is init, and the hierarchy is v2."""
    return Host().cgroup == "v2" and Path("/run/systemd/system").is_dir()


@pytest.fixture(scope="module")
def login() -> Iterator[dict[str, str]]:
    """The environment of the user's login session, whose systemd is started if the host can; otherwise empty."""
    if not has_user_systemd():
        yield {}
        return
    systemctl("start", MANAGER)
    yield {"XDG_RUNTIME_DIR": DIRECTORY}
    systemctl("stop", MANAGER)


def box_of(who: str, request: pytest.FixtureRequest, login: dict[str, str]) -> Box:
    """The command of root, or of an ordinary user, in a login session if the host has one."""
    if who == "root":
        made: Box = request.getfixturevalue("root_box")
        return made
    made = request.getfixturevalue("user_box")
    made.environment |= login
    return made


@pytest.fixture
def user_places() -> Iterator[Path]:
    """A directory that the user owns."""
    path = Path(tempfile.mkdtemp(prefix="box-"))
    path.chmod(0o755)
    subprocess.run(["chown", f"{USER}:{USER}", path], check=True)
    yield path
    subprocess.run(["rm", "-rf", "--", path], check=True)


@pytest.fixture
def allotted(tmp_path: Path) -> Iterator[None]:
    """An entry for the user in /etc/passwd, and subordinate ids; only in the session's mount namespace."""
    texts = {
        "passwd": Path("/etc/passwd").read_text() + f"{USER_NAME}:x:{USER}:{USER}::/:/bin/sh\n",
        "subuid": f"{USER_NAME}:{FIRST_UID}:{RANGE}\n",
        "subgid": f"{USER_NAME}:{FIRST_GID}:{RANGE}\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        subprocess.run(["mount", "--bind", tmp_path / name, f"/etc/{name}"], check=True)
    yield
    for name in texts:
        subprocess.run(["umount", f"/etc/{name}"], check=True)


@pytest.fixture
def user_box(user_places: Path, allotted: None) -> Iterator[Box]:
    """The command as an ordinary user calls it, without a login session."""
    become = ["setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", "--"]
    made = Box(user_places, [*opened(Path(runtime_path())), *become])
    made.environment |= {"XDG_RUNTIME_DIR": str(user_places), "HOME": str(user_places)}
    yield made
    names = made("ps", "-aq").stdout.split()
    if names:
        made("rm", "-f", *names)
    wait_until(lambda: not left_behind(user_places, set(names)), "nothing is left of the boxes", timeout=20)
    assert not list((user_places / "data/boxes").glob("[!.]*"))
    assert not list((user_places / "run/runtime").glob("[!@.]*"))


V4 = ("192.0.2.1", "192.0.2.2")
V6 = ("2001:db8::1", "2001:db8::2")
NAME = "www.example.test"
WEB_SERVER = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(self.client_address[0].encode())
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
Server((sys.argv[1], 80), Handler).serve_forever()
"""


# busybox's nc has no UDP, so the host's Python speaks it, in a box and outside.
PYTHON = ("-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "busybox", "/usr/bin/python3", "-c")
UDP_SERVER = """
import socket, sys
one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
one.bind(("::", int(sys.argv[1])))
while True:
    said, who = one.recvfrom(100)
    one.sendto(said + b" from udp", who)
"""
UDP_CLIENT = """
import socket, sys
one = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
one.settimeout(2)
one.connect((sys.argv[1], int(sys.argv[2])))
one.send(b"hello")
print(one.recv(100).decode())
"""


class Neighbour:
    """Another host, 192.0.2.2 next to our 192.0.2.1 (RFC 5737, RFC 3849): the internet of these tests.

    serve() makes it the host's name server, which knows NAME, and a web server that reports the client's address.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.has_names = False

    def words(self, *words: str) -> list[str]:
        """A command line that executes there."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *words]

    def __call__(self, *words: str) -> str:
        """Call a command there. Return its output."""
        return subprocess.run(
            self.words(*words), capture_output=True, text=True, check=True, timeout=scaled(SECONDS)
        ).stdout

    def serve(self, server: Callable[..., subprocess.Popen[bytes]], directory: Path) -> None:
        """Start the servers. directory: for files. The fixture undoes it."""
        for address in (V4[1], V6[1]):
            server(self.words("python3", "-c", WEB_SERVER, address), stderr=subprocess.DEVNULL)
        records = [f"--host-record={NAME},{V4[1]},{V6[1]}"]
        server(
            self.words(
                "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
                "--pid-file=", "--log-facility=/dev/null", *records,
            ),
        )  # fmt: skip
        (directory / "resolv.conf").write_text(f"nameserver {V4[1]}\n")
        subprocess.run(["mount", "--bind", directory / "resolv.conf", "/etc/resolv.conf"], check=True)
        self.has_names = True
        wait_until(self._answers, "the neighbour serves", timeout=20)

    def _answers(self) -> bool:
        words = ["busybox", "wget", "-q", "-O", "-", f"http://{NAME}/"]
        return subprocess.run(words, check=False, capture_output=True).stdout.decode() in (V4[0], V6[0])


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    """A host that is reachable through the default route during the test."""
    holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.write(b"\n")
    holder.stdin.flush()
    holder.stdout.readline()
    made = Neighbour(holder.pid)

    def here(words: str) -> None:
        subprocess.run(words.split(), check=True)

    here(f"ip link add net0 type veth peer name eth0 netns {holder.pid}")
    here(f"ip addr add {V4[0]}/24 dev net0")
    here(f"ip addr add {V6[0]}/64 dev net0 nodad")
    here("ip link set net0 up")
    here(f"ip route add default via {V4[1]}")
    here(f"ip route add default via {V6[1]} dev net0")
    for words in (f"addr add {V4[1]}/24 dev eth0", f"addr add {V6[1]}/64 dev eth0 nodad", "link set eth0 up"):
        made("ip", *words.split())
    made("ip", "link", "set", "lo", "up")
    yield made
    if made.has_names:
        here("umount /etc/resolv.conf")
    here("ip link del net0")
    holder.kill()
    holder.communicate()


@pytest.fixture
def server() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts programs that end with the test."""
    begun: list[subprocess.Popen[bytes]] = []

    def begin(words: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, **options))
        return begun[-1]

    yield begin
    for one in begun:
        one.kill()
        one.wait()
