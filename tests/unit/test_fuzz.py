"""The targets of `make fuzz` still build: CI does not run it, and a new function in the C code may be missing there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / "fuzz" / "run"


@pytest.mark.parametrize("target", ["json", "channel", "frozen", "snapshot"])
def test_a_target_links(target: str) -> None:
    subprocess.run([RUN, "--link", target], check=True)
