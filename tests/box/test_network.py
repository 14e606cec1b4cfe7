"""The bridge: host and boxes reach each other, the outside is reached by NAT, ports are published, nothing is left."""

from __future__ import annotations

import functools
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.box.conftest import Box, Neighbour
from tests.harness.host import wait_until

ECHO = "while :; do echo hello | nc -l -p {port}; done"


def address(box: Box, name: str, which: int = 0) -> str:
    """Of a box: IPv4, or IPv6 for 1."""
    found: str = box.inspect(name)["addresses"][which]
    return found.partition("/")[0]


@pytest.fixture
def sleeper(box: Box) -> str:
    """A box in the background, on the bridge."""
    box("run", "-d", "--name", "sleeper", "busybox", "sleep", "1000")
    return "sleeper"


def ping(where: str) -> list[str]:
    return ["busybox", "ping", "-c", "1", "-W", "5", where]


def test_host_and_boxes_reach_each_other(box: Box, sleeper: str) -> None:
    assert subprocess.run(ping(address(box, sleeper)), check=False, capture_output=True).returncode == 0
    box("exec", sleeper, *ping("10.77.0.1"))
    box("run", "--rm", "busybox", *ping(address(box, sleeper)))


def test_boxes_know_each_other_by_name(box: Box, sleeper: str) -> None:
    box("run", "--rm", "busybox", *ping(sleeper))
    box("run", "-d", "--name", "later", "busybox", "sleep", "1000")
    box("exec", sleeper, *ping("later"))


def test_ipv6(box: Box, sleeper: str) -> None:
    def answers() -> bool:
        return box("run", "--rm", "busybox", *ping(address(box, sleeper, 1)), status=None).returncode == 0

    wait_until(answers, "the box answers by IPv6", timeout=20)


def test_the_outside_is_reached_by_nat(box: Box, neighbour: Neighbour, server: Callable[..., Any]) -> None:
    """A web server on another network; it sees the host's address, not the box's."""
    script = (
        "import http.server, sys\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(self.client_address[0].encode())\n"
        "http.server.HTTPServer(('192.0.2.2', 80), Handler).serve_forever()\n"
    )
    server(neighbour.words("python3", "-c", script), stderr=subprocess.DEVNULL)

    def fetched() -> str:
        return box("run", "--rm", "busybox", "wget", "-q", "-O", "-", "http://192.0.2.2/", status=None).stdout

    wait_until(lambda: fetched() == "192.0.2.1", "the server has seen the host's address", timeout=30)


def test_a_published_port(box: Box, neighbour: Neighbour) -> None:
    box("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", ECHO.format(port=80))

    def asked(*words: str) -> str:
        return subprocess.run(words, check=False, capture_output=True, text=True, timeout=30).stdout

    def answers(words: list[str]) -> bool:
        return asked(*words) == "hello\n"

    from_here, to_us = ["busybox", "nc", "-w", "2"], ["192.0.2.1", "8080"]
    ways = ([*from_here, "127.0.0.1", "8080"], [*from_here, *to_us], neighbour.words(*from_here, *to_us))
    for words in ways:
        # Between two connections nobody listens for a moment.
        wait_until(functools.partial(answers, words), f"it answers {words}", timeout=20)
    done = box("run", "--rm", "-p", "8080:81", "busybox", "true", status=125)
    assert "8080" in done.stderr


def test_dns_is_the_hosts(box: Box) -> None:
    told = box("run", "--rm", "busybox", "cat", "/etc/resolv.conf").stdout
    expected = re.findall(r"^nameserver (\S+)$", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    assert re.findall(r"^nameserver (\S+)$", told, re.MULTILINE) == [
        one for one in expected if not one.startswith("127.")
    ]


def test_the_hosts_own_network(box: Box) -> None:
    ours = subprocess.run(["readlink", "/proc/self/ns/net"], check=True, capture_output=True, text=True).stdout
    assert box.run("--network", "host", "busybox", "readlink", "/proc/self/ns/net") == ours


def test_forwarding_is_as_before_when_the_last_box_has_gone(box: Box, sleeper: str) -> None:
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    assert forwarding.read_text() == "1\n"
    box("rm", "-f", sleeper)
    assert forwarding.read_text() == "0\n"


def test_other_networks_and_tables_are_left_alone(box: Box) -> None:
    subprocess.run(["nft", "add", "table", "inet", "theirs"], check=True)
    subprocess.run(["ip", "link", "add", "docker0", "type", "bridge"], check=True)
    try:
        box("run", "--rm", "busybox", "true")
        tables = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
        assert tables == "table inet theirs\n"
        subprocess.run(["ip", "link", "show", "docker0"], check=True, capture_output=True)
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "theirs"], check=True)
        subprocess.run(["ip", "link", "del", "docker0"], check=True)


@pytest.mark.parametrize("milliseconds", [50, 150, 300, 450, 600, 800, 1000, 1400])
def test_killed_at_any_step_rm_clears_it(box: Box, milliseconds: int) -> None:
    box.run("busybox", "true")
    for flags in (["-d"], []):
        process = box.begin("run", *flags, "--name", f"killed{len(flags)}", "-p", "8081:80", "busybox", "sleep", "1000")
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGKILL)
        process.wait()
        names = box("ps", "-aq").stdout.split()
        if names:
            box("rm", "-f", *names)
    # The fixture looks for what is left.
