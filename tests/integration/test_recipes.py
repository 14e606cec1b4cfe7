"""The commands of docs/networking.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Result
from tests.harness.host import scaled

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/networking.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

pytestmark = [
    pytest.mark.ocipy_only(reason="its own page"),
    pytest.mark.needs_capability("CAP_SYS_ADMIN"),
    pytest.mark.needs_program("ip"),
    pytest.mark.needs_program("jq"),
]


def run(place: Path, *commands: str) -> str:
    """Run these in new network and mount namespaces, with a new /run. Return the output."""
    script = "set -e\nmount -t tmpfs tmpfs /run\nmkdir /run/netns\nip link set lo up\n" + "\n".join(commands)
    runtime = os.environ.get("OCI_RUNTIME") or str(TOP / ".venv/bin/ocipy")
    (place / "bin").mkdir()
    (place / "bin/ocipy").symlink_to(runtime)
    environment = {"PATH": f"{place}/bin:{os.environ['PATH']}"}
    command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=scaled(60),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_network_and_an_overlay_by_hand(tmp_path: Path) -> None:
    assert len(BLOCKS) == 3
    said = run(tmp_path, *BLOCKS)
    assert "inet 10.88.7.2/24" in said
    assert (tmp_path / "upper/written").exists()
    assert not (tmp_path / "image/written").exists()


@pytest.mark.needs_program("nft")
def test_the_way_outside(tmp_path: Path) -> None:
    """The neighbour has no route back to the bridge's addresses. The sysctl is that of the network namespace."""
    (indented,) = re.findall(r"^reach the outside.*\n\n((?:    .*\n)+)", PAGE, re.MULTILINE)
    neighbour = """
        ip netns add neighbour
        ip link add outside type veth peer name eth0 netns neighbour
        ip address add 192.0.2.1/24 dev outside
        ip link set outside up
        ip -n neighbour address add 192.0.2.2/24 dev eth0
        ip -n neighbour link set eth0 up"""
    said = run(tmp_path, BLOCKS[0], neighbour, indented, "ip netns exec hand busybox ping -c 1 -W 5 192.0.2.2")
    assert "1 packets received" in said


def test_a_new_network_namespace_has_loopback_and_nothing_else(sh: Callable[..., Result], bundle: Bundle) -> None:
    assert "| without `path` | a new network namespace with only a loopback device, which is up |" in PAGE
    said = sh("ip -o link", bundle).ok().stdout.splitlines()
    assert len(said) == 1
    assert "LOOPBACK,UP" in said[0]
