"""Docker's networks: dockerd's own hook sets them up in the namespace that the runtime creates."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.engines.docker.conftest import Docker
from tests.harness import wait_until

Inspect = Callable[[str, str], str]

SERVE = "mkdir -p /tmp/www; echo {} > /tmp/www/index.html; exec httpd -f -h /tmp/www -p 8000"


@pytest.mark.feature("--network: bridge, none, host")
def test_networks(docker: Docker) -> None:
    text = docker("run", "--rm", "alpine", "sh", "-c", "ip -o -4 addr show eth0; ip route").text
    assert "inet 172." in text
    assert "dev eth0" in text
    assert "eth0" not in docker("run", "--rm", "--network=none", "alpine", "ip", "link").text
    assert "docker0" in docker("run", "--rm", "--network=host", "alpine", "ip", "link").text


@pytest.mark.feature("--publish")
def test_published_port(docker: Docker, name: str) -> None:
    docker("run", "-d", "--name", name, "-p", "127.0.0.1:18001:8000", "alpine", "sh", "-c", SERVE.format("served")).ok()
    fetch = docker.nsenter("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:18001/")

    def served() -> bool:
        return subprocess.run(fetch, check=False, capture_output=True, text=True).stdout == "served\n"

    wait_until(served, timeout=20)


@pytest.mark.smoke
@pytest.mark.feature("three containers on a network, by name")
def test_three_on_a_network(docker: Docker, name: str) -> None:
    """An application like compose's: a store, a service that asks it, and a user of the service."""
    docker("network", "create", name).ok()
    store = ["--network-alias", "store", "alpine", "sh", "-c", SERVE.format("stored")]
    docker("run", "-d", "--name", f"{name}-store", "--network", name, *store).ok()
    script = """
        until wget -q -O /tmp/got http://store:8000/; do sleep 0.1; done
        mkdir /tmp/www; sed s/^/service:/ /tmp/got > /tmp/www/index.html; exec httpd -f -h /tmp/www -p 80"""
    service = ["--network-alias", "service", "--link", f"{name}-store", "alpine", "sh", "-c", script]
    docker("run", "-d", "--name", f"{name}-service", "--network", name, *service).ok()
    user = "for i in $(seq 50); do wget -q -O - http://service/ && exit; sleep 0.2; done; exit 1"
    assert docker("run", "--rm", "--network", name, "alpine", "sh", "-c", user).text == "service:stored"
    docker("stop", "--time", "0", f"{name}-store", f"{name}-service").ok()


@pytest.mark.feature("network connect, disconnect")
def test_connect(docker: Docker, name: str, sleeping: Callable[..., str]) -> None:
    one = sleeping()
    docker("network", "create", f"{name}-net").ok()
    docker("network", "connect", f"{name}-net", one).ok()
    assert docker("exec", one, "ip", "-o", "-4", "addr", "show", "eth1").text
    docker("network", "disconnect", f"{name}-net", one).ok()
    docker("exec", one, "ip", "addr", "show", "eth1").fails()
