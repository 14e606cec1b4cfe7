"""The bridge: host and boxes reach each other, NAT reaches the outside, ports are published, nothing is left behind."""

from __future__ import annotations

import concurrent.futures
import functools
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.box.conftest import NAME, PYTHON, UDP_CLIENT, UDP_SERVER, V4, V6, Box, Neighbour, left_behind
from tests.harness.host import wait_until

ECHO = "while :; do echo hello | nc -l -p {port}; done"


def address(box: Box, name: str, which: int = 0) -> str:
    """A box's address: IPv4, or IPv6 for 1."""
    found: str = box.inspect(name)["addresses"][which]
    return found.partition("/")[0]


def test_a_box_with_a_user_namespace_owns_its_network(box: Box) -> None:
    """It may mount sysfs, set parameters, and ping. It could not if the host's user namespace owned its network."""
    port = "net.ipv4.ip_unprivileged_port_start"
    words = ["cat /proc/sys/" + port.replace(".", "/"), "ls /sys/class/net", "ping -c 1 -W 5 10.77.0.1"]
    flags = ("--network", "bridge", "--userns", "auto", "--sysctl", f"{port}=0")
    shown = box.run(*flags, "busybox", "sh", "-c", " && ".join(words)).split("\n")
    assert shown[:3] == ["0", "eth0", "lo"] and "1 packets received" in "".join(shown)


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


def test_the_outside_is_reached_by_nat_and_by_name(
    box: Box, neighbour: Neighbour, server: Callable[..., Any], tmp_path: Path
) -> None:
    """A name server and a web server on another network; they see the host's address, not the box's."""
    neighbour.serve(server, tmp_path)
    look_up = ["busybox", "nslookup", NAME]
    told = box("run", "--rm", *look_up).stdout
    assert V4[1] in told and V6[1] in told
    box("run", "--rm", "busybox", "nslookup", "none.example.test", status=1)
    for url, seen in ((f"http://{V4[1]}/", V4[0]), (f"http://[{V6[1]}]/", V6[0])):
        assert box("run", "--rm", "busybox", "wget", "-q", "-O", "-", url).stdout == seen
    by_name = box("run", "--rm", "busybox", "wget", "-q", "-O", "-", f"http://{NAME}/").stdout
    assert by_name in (V4[0], V6[0])
    # --dns names another server, which does not answer.
    done = box("run", "--rm", "--dns", "192.0.2.77", "busybox", "timeout", "2", "nslookup", NAME, status=None)
    assert done.returncode != 0


def test_a_published_port(box: Box, neighbour: Neighbour) -> None:
    box("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", ECHO.format(port=80))

    def asked(*words: str) -> str:
        return subprocess.run(words, check=False, capture_output=True, text=True, timeout=30).stdout

    def answers(words: list[str]) -> bool:
        return asked(*words) == "hello\n"

    from_here, to_us = ["busybox", "nc", "-w", "2"], ["192.0.2.1", "8080"]
    ways = ([*from_here, "127.0.0.1", "8080"], [*from_here, *to_us], neighbour.words(*from_here, *to_us))
    for words in ways:
        # Between two connections there is no listener for a moment.
        wait_until(functools.partial(answers, words), f"it answers {words}", timeout=20)
    done = box("run", "--rm", "-p", "8080:81", "busybox", "true", status=125)
    assert "8080" in done.stderr and done.stderr.count("\n") == 2


def test_dns_is_the_hosts(box: Box) -> None:
    told = box("run", "--rm", "busybox", "cat", "/etc/resolv.conf").stdout
    expected = re.findall(r"^nameserver (\S+)$", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    assert re.findall(r"^nameserver (\S+)$", told, re.MULTILINE) == [
        one for one in expected if not one.startswith("127.")
    ]


def test_the_hosts_own_network(box: Box) -> None:
    ours = subprocess.run(["readlink", "/proc/self/ns/net"], check=True, capture_output=True, text=True).stdout
    assert box.run("--network", "host", "busybox", "readlink", "/proc/self/ns/net") == ours


def test_forwarding_is_restored_after_the_last_box(box: Box, sleeper: str) -> None:
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
def test_rm_clears_a_box_killed_at_any_step(box: Box, milliseconds: int) -> None:
    box.run("busybox", "true")
    for flags in (["-d"], []):
        process = box.begin("run", *flags, "--name", f"killed{len(flags)}", "-p", "8081:80", "busybox", "sleep", "1000")
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGKILL)
        process.wait()
        names = box("ps", "-aq").stdout.split()
        if names:
            box("rm", "-f", *names)
    # The fixture looks for leftovers.


def asked(words: list[str], say: str = "") -> str:
    """The output of a command, which is ended after five seconds."""
    done = subprocess.run(["timeout", "5", *words], check=False, capture_output=True, text=True, input=say)
    return done.stdout


@pytest.mark.parametrize("to", ["127.0.0.1", V4[0], V6[0]])
def test_a_published_udp_port(box: Box, neighbour: Neighbour, to: str) -> None:
    box("run", "-d", "--name", "u", "-p", "8053:53/udp", *PYTHON, UDP_SERVER, "53")
    words = ["python3", "-c", UDP_CLIENT, to, "8053"]
    ask = words if to.startswith("127") else neighbour.words(*words)
    wait_until(lambda: asked(ask) == "hello from udp\n", "the box answers by UDP", timeout=30)


def test_a_published_port_by_ipv6_and_a_range(box: Box, neighbour: Neighbour) -> None:
    script = "; ".join(f"(while :; do echo of-{port} | nc -l -p {port}; done) &" for port in (80, 81)).replace(
        "&;", "&"
    )
    box("run", "-d", "--name", "r", "-p", "8080-8081:80-81", "busybox", "sh", "-c", f"{script} sleep 1000")
    for port in (0, 1):
        for to in (V4[0], V6[0]):
            words = neighbour.words("busybox", "nc", "-w", "2", to, str(8080 + port))
            wait_until(lambda words=words, port=port: asked(words) == f"of-{80 + port}\n", str(words), timeout=20)  # type: ignore[misc]


def test_a_port_that_the_host_listens_on_is_not_taken_from_it(box: Box, server: Callable[..., Any]) -> None:
    server(["busybox", "nc", "-l", "-p", "8099"])
    wait_until(lambda: ":8099 " in subprocess.run(["ss", "-lnt"], check=True, capture_output=True, text=True).stdout,
               "it listens", timeout=20)  # fmt: skip
    done = box("run", "-d", "-p", "8099:80", "busybox", "sleep", "1000", status=125)
    assert "port 8099/tcp of the host: Address already in use" in done.stderr and "ss -tlnp" in done.stderr
    assert box("ps", "-aq").stdout == ""
    done = box("run", "--rm", "-p", "192.0.2.99:8098:80", "busybox", "true", status=125)
    assert "Cannot assign requested address" in done.stderr


def test_a_published_port_is_the_boxs_until_its_end(box: Box) -> None:
    """conmon holds the port in the background: a server on the host gets an error."""
    listen = ["timeout", "1", "busybox", "nc", "-l", "-p", "8097"]
    box("run", "-d", "--name", "holder", "-p", "8097:80", "busybox", "sleep", "1000")
    assert subprocess.run(listen, check=False, capture_output=True).returncode == 1
    box("rm", "-f", "holder")
    wait_until(
        lambda: subprocess.run(listen, check=False, capture_output=True).returncode != 1, "it is free", timeout=20
    )


def test_what_is_not_published_is_not_reached(box: Box, neighbour: Neighbour, server: Callable[..., Any]) -> None:
    """A neighbour with a route to the boxes' network does not reach them, nor a box the host's loopback
    (CVE-2020-8558)."""
    box("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", ECHO.format(port=80))
    wait_until(lambda: asked(["busybox", "nc", "127.0.0.1", "8080"]) == "hello\n", "the box listens", timeout=20)
    neighbour("ip", "route", "add", "10.77.0.0/24", "via", V4[0])
    inside = address(box, "web")
    published = neighbour.words("busybox", "nc", "-w", "2", V4[0], "8080")
    wait_until(lambda: asked(published) == "hello\n", "the published port answers", timeout=20)
    assert asked(neighbour.words("busybox", "nc", "-w", "2", inside, "80")) == ""
    server(["busybox", "nc", "-ll", "-p", "8096", "-e", "echo", "secret"])
    here = ["busybox", "nc", "-w", "2", "127.0.0.1", "8096"]
    wait_until(lambda: asked(here) == "secret\n", "the host listens on its loopback", timeout=20)
    pid = box.inspect("web")["state"]["pid"]
    there = ["nsenter", f"--net=/proc/{pid}/ns/net"]
    for words in ("ip addr del 127.0.0.1/8 dev lo", "ip route add 127.0.0.0/8 via 10.77.0.1"):
        subprocess.run([*there, *words.split()], check=True)
    subprocess.run([*there, "sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1"], check=True)
    assert asked([*there, *here]) == ""


def test_a_network_that_the_host_already_routes_is_avoided(box: Box) -> None:
    subprocess.run(["ip", "link", "add", "other", "type", "bridge"], check=True)
    try:
        for words in (
            "addr add 10.77.3.1/16 dev other",
            "link set other up",
            "route add fd6f:6369:7079:78::/64 dev other",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        box("run", "-d", "--name", "one", "busybox", "sleep", "1000")
        assert [address(box, "one"), address(box, "one", 1)] == ["10.79.0.2", "fd6f:6369:7079:79::2"]
    finally:
        subprocess.run(["ip", "link", "del", "other"], check=True)


def test_twenty_boxes_at_once_have_twenty_addresses(box: Box) -> None:
    box.run("busybox", "true")  # fetches the image
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        begun = pool.map(
            lambda one: box("run", "-d", "--name", f"b{one}", "busybox", "sleep", "1000", timeout=240), range(20)
        )
        list(begun)
        addresses = {address(box, f"b{one}") for one in range(20)}
    assert len(addresses) == 20
    box("exec", "b0", *ping("b19"))
    box("exec", "b19", *ping("b0"))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda one: box("rm", "-f", f"b{one}", timeout=240), range(20)))
    assert not left_behind(box.places, set())
