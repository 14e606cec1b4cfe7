"""pasta's network, as an ordinary user: the outside, published ports, IPv6, and unreachable parts of the host."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.box.conftest import NAME, PYTHON, UDP_CLIENT, UDP_SERVER, V4, V6, Box, Neighbour
from tests.box.test_network import ECHO, asked
from tests.harness.host import wait_until


@pytest.fixture
def box(user_box: Box) -> Box:
    """The command as the user calls it."""
    return user_box


def test_the_outside_by_address_and_by_name(
    box: Box, neighbour: Neighbour, server: Callable[..., Any], tmp_path: Path
) -> None:
    """The outside sees the host's addresses, IPv4 and IPv6; the name server is the host's."""
    neighbour.serve(server, tmp_path)
    told = box.run("--network", "pasta", "busybox", "nslookup", NAME)
    assert V4[1] in told and V6[1] in told
    for url, seen in ((f"http://{V4[1]}/", V4[0]), (f"http://[{V6[1]}]/", V6[0])):
        assert box.run("--network", "pasta", "busybox", "wget", "-q", "-O", "-", url) == seen
    assert box.run("--network", "pasta", "busybox", "wget", "-q", "-O", "-", f"http://{NAME}/") in (V4[0], V6[0])


def test_a_name_server_on_the_hosts_loopback(
    box: Box, neighbour: Neighbour, server: Callable[..., Any], tmp_path: Path
) -> None:
    server(
        ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
         "--pid-file=", "--log-facility=/dev/null", "--host-record=loop.example.test,192.0.2.7"],
    )  # fmt: skip
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    subprocess.run(["mount", "--bind", tmp_path / "resolv.conf", "/etc/resolv.conf"], check=True)
    try:
        wait_until(lambda: "192.0.2.7" in asked(["busybox", "nslookup", "loop.example.test"]), "it serves", timeout=20)
        # It has no IPv6 address, so nslookup exits with 1.
        assert "192.0.2.7" in box.run("--network", "pasta", "busybox", "nslookup", "loop.example.test", status=None)
    finally:
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)


def test_a_published_port(box: Box, neighbour: Neighbour) -> None:
    """From the host and from outside, by IPv4 and IPv6; a port published at an address is reachable only there."""
    ports = ["-p", "8080:80", "-p", "127.0.0.1:8081:80"]
    box("run", "-d", "--name", "web", *ports, "busybox", "sh", "-c", ECHO.format(port=80))
    for words in (
        ["busybox", "nc", "-w", "2", "127.0.0.1", "8080"],
        ["busybox", "nc", "-w", "2", "127.0.0.1", "8081"],
        neighbour.words("busybox", "nc", "-w", "2", V4[0], "8080"),
        neighbour.words("busybox", "nc", "-w", "2", V6[0], "8080"),
    ):
        wait_until(lambda words=words: asked(words) == "hello\n", f"it answers {words}", timeout=30)  # type: ignore[misc]
    assert asked(neighbour.words("busybox", "nc", "-w", "2", V4[0], "8081")) == ""
    done = box("run", "--rm", "-p", "8080:80", "busybox", "true", status=125)
    assert "8080" in done.stderr


@pytest.mark.parametrize("to", [V4[0], V6[0]])
def test_a_published_udp_port(box: Box, neighbour: Neighbour, to: str) -> None:
    box("run", "-d", "--name", "u", "-p", "8053:5353/udp", *PYTHON, UDP_SERVER, "5353")
    ask = neighbour.words("python3", "-c", UDP_CLIENT, to, "8053")
    wait_until(lambda: asked(ask) == "hello from udp\n", "the box answers by UDP", timeout=30)


def test_the_hosts_loopback_is_not_reached(box: Box, neighbour: Neighbour, server: Callable[..., Any]) -> None:
    """Neither at its own address nor at the gateway's, which pasta would map to the host."""
    server(["busybox", "nc", "-ll", "-p", "8096", "-e", "echo", "secret"])
    here = ["busybox", "nc", "-w", "2", "127.0.0.1", "8096"]
    wait_until(lambda: asked(here) == "secret\n", "the host listens", timeout=20)
    for to in ("127.0.0.1", V4[1], V6[1]):
        done = box("run", "--rm", "busybox", "timeout", "4", "nc", "-w", "2", to, "8096", status=None)
        assert "secret" not in done.stdout and done.returncode != 0


def test_pasta_lasts_as_long_as_the_box(box: Box, neighbour: Neighbour, server: Callable[..., Any]) -> None:
    """Some versions check every second that the paths of the namespaces still exist."""
    server(neighbour.words("busybox", "nc", "-ll", "-p", "8096", "-e", "echo", "outside"))
    from_outside = neighbour.words("busybox", "nc", "-w", "2", V4[0], "8080")
    box("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", ECHO.format(port=80))
    time.sleep(3)
    wait_until(lambda: asked(from_outside) == "hello\n", "it answers", timeout=10)
    # busybox's nc -ll may answer a connection more than once.
    assert box("exec", "web", "timeout", "5", "nc", V4[1], "8096", status=None).stdout.startswith("outside\n")


def test_pasta_ends_with_the_box(box: Box, neighbour: Neighbour) -> None:
    box("run", "-d", "--name", "one", "-p", "8080:80", "busybox", "sleep", "1000")

    def pastas() -> list[str]:
        lines = subprocess.run(
            ["ps", "-e", "-ww", "-o", "args"], check=True, capture_output=True, text=True
        ).stdout.split("\n")
        return [line for line in lines if str(box.places / "run/pasta-") in line]

    assert len(pastas()) == 1
    box("rm", "-f", "one")
    wait_until(lambda: not pastas(), "it has ended", timeout=20)
