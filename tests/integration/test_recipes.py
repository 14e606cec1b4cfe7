"""The commands of docs/networking.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.harness.host import scaled

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/networking.md").read_text()

pytestmark = [
    pytest.mark.ocipy_only(reason="its own page"),
    pytest.mark.needs_capability("CAP_SYS_ADMIN"),
    pytest.mark.needs_program("ip"),
    pytest.mark.needs_program("jq"),
]


def test_a_network_and_an_overlay_by_hand(tmp_path: Path) -> None:
    """In network and mount namespaces of its own, with a /run of its own."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    script = "set -e\nmount -t tmpfs tmpfs /run\nmkdir /run/netns\nip link set lo up\n" + "".join(blocks)
    runtime = os.environ.get("OCI_RUNTIME") or str(TOP / ".venv/bin/ocipy")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ocipy").symlink_to(runtime)
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    command = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=scaled(60),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "inet 10.88.7.2/24" in done.stdout
    assert (tmp_path / "upper/written").exists()
    assert not (tmp_path / "image/written").exists()
