"""Commands on images killed with SIGKILL at each step: the next command removes leftovers, and all images are complete.

The images have a layer in common, so a new one shares files with the other; one is a tar, which becomes a layout first.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.box.conftest import Box
from tests.box.test_images import layout, minirootfs  # noqa: F401  fixtures
from tests.box.test_killed import killed_at

pytestmark = pytest.mark.needs_program("strace")

# The calls at which to kill it: every one, or every so many.
CALLS = {"mkdir": 3, "rename": 1, "renameat": 1, "linkat": 1, "vfork": 1, "wait4": 1, "flock": 1, "unlinkat": 9}


@pytest.fixture
def images(box: Box, layout: Path, tmp_path: Path) -> tuple[str, str]:  # noqa: F811
    """Two images with a layer in common. The first one is stored."""
    with tarfile.open(tmp_path / "more.tar", "w") as archive:
        entry = tarfile.TarInfo("etc/more")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"more\n"))
    words = ["raw", "add-layer", "--image", f"{layout}:v1", "--tag", "v2", str(tmp_path / "more.tar")]
    subprocess.run(["umoci", *words], check=True, capture_output=True)
    box("pull", f"oci:{layout}:v1")
    return f"oci:{layout}:v1", f"oci:{layout}:v2"


def whole(box: Box, image: str, file: str, text: str) -> None:
    """The image is there and can be run, and the store contains nothing but images."""
    box("pull", image)
    assert box.run("--entrypoint", "cat", image, file) == text
    there = set(os.listdir(box.places / "data/images"))
    assert not [name for name in there if not name.startswith("sha256-") and name not in ("lock", "names.json")]
    assert box("images").stderr == ""


def kill_everywhere(box: Box, words: tuple[str, ...], image: str, file: str, text: str, *, pulled: bool) -> int:
    """Kill the command at each step, and look at the image each time. Return the number of steps."""
    steps = 0
    for call, stride in CALLS.items():
        number, killed = 1, True
        while killed:
            if pulled:
                box("pull", image)
            killed = killed_at(box, call, number, words)
            print(f"killed at {call} {number}" if killed else f"not killed at {call} {number}")
            assert box("images").stderr == ""
            whole(box, image, file, text)
            box("rmi", image)
            number += stride
            steps += killed
    return steps


def test_pull_of_an_image_that_shares_files(box: Box, images: tuple[str, str]) -> None:
    first, second = images
    assert kill_everywhere(box, ("pull", second), second, "/etc/more", "more\n", pulled=False) > 10
    whole(box, first, "/etc/os", "mini\n")


def test_pull_of_an_archive(box: Box, minirootfs: Path) -> None:  # noqa: F811
    assert kill_everywhere(box, ("pull", str(minirootfs)), str(minirootfs), "/etc/os", "mini\n", pulled=False) > 10


def test_rmi(box: Box, images: tuple[str, str]) -> None:
    first, second = images
    assert kill_everywhere(box, ("rmi", second), second, "/etc/more", "more\n", pulled=True) > 3
    whole(box, first, "/etc/os", "mini\n")
