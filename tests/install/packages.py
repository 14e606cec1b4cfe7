"""The source distribution and the wheels that the ways install."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.install.system import expect, run

TOP = Path(__file__).resolve().parents[2]
DIST = TOP / "dist"


def sdist() -> Path:
    """The source distribution; made once."""
    found = list(DIST.glob("ocipy-*.tar.gz"))
    if not found:
        tools = Path("/tmp/build-tools")
        run(sys.executable, "-m", "venv", tools)
        run(tools / "bin/pip", "install", "-q", "build")
        # meson dist takes what is committed.
        identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
        run("git", "-C", TOP, *identity, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", "all of it")
        run(tools / "bin/python", "-m", "build", "--sdist", "--outdir", DIST, TOP)
        found = list(DIST.glob("ocipy-*.tar.gz"))
    return found[0]


def wheel(python: Path) -> Path:
    """The wheel for a Python, made from the source distribution; made once. Its tag names that Python."""
    tag = run(python, "-c", "import sys; print('cp%d%d' % sys.version_info[:2], end='')")
    directory = DIST / f"wheel-{tag}"
    if not directory.exists():
        run(python, "-m", "venv", "/tmp/wheel-tools", "--clear")
        run("/tmp/wheel-tools/bin/pip", "wheel", "-q", "--no-deps", "--wheel-dir", directory, sdist())
    (found,) = directory.glob("*.whl")
    expect(re.fullmatch(rf"ocipy-[\d.]+-{tag}-{tag}-linux_x86_64\.whl", found.name), f"the wheel's tag: {found.name}")
    return found


def uv() -> Path:
    """uv, installed once."""
    program = Path("/tmp/uv/bin/uv")
    if not program.exists():
        run(sys.executable, "-m", "venv", "/tmp/uv")
        run("/tmp/uv/bin/pip", "install", "-q", "uv")
    return program


def audit(python: Path) -> None:
    """auditwheel's verdict on the wheel's tag."""
    run(sys.executable, "-m", "venv", "/tmp/audit")
    run("/tmp/audit/bin/pip", "install", "-q", "auditwheel")
    said = run("/tmp/audit/bin/auditwheel", "show", wheel(python), stderr=subprocess.DEVNULL)
    print(said, flush=True)
    expect('"linux_x86_64"' in " ".join(said.split()), "auditwheel knows another tag")
