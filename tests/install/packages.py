"""The source distribution and the wheels that the ways install. uv makes them, since its environments take no time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.install.system import expect, run

TOP = Path(__file__).resolve().parents[2]
DIST = TOP / "dist"


def uv() -> Path:
    """uv, installed once."""
    program = Path("/tmp/uv/bin/uv")
    if not program.exists():
        run(sys.executable, "-m", "venv", "/tmp/uv")
        run("/tmp/uv/bin/pip", "install", "-q", "uv")
    return program


def commit() -> None:
    """Commit the sources, once: meson dist and a clone take what is committed."""
    git = ("git", "-C", TOP, "-c", "user.name=test", "-c", "user.email=test@localhost")
    if not run(*git, "log", "--oneline", "-1", "--grep", "^all of it$", check=False).endswith("all of it\n"):
        run(*git, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", "all of it")


def sdist() -> Path:
    """The source distribution; made once."""
    found = list(DIST.glob("ocipy-*.tar.gz"))
    if not found:
        commit()
        run(uv(), "build", "--no-python-downloads", "--python", sys.executable, "--sdist", "--out-dir", DIST, TOP)
        found = list(DIST.glob("ocipy-*.tar.gz"))
    return found[0]


def wheel(python: Path) -> Path:
    """The wheel for a Python, made from the source distribution; made once. Its tag names that Python."""
    tag = run(python, "-c", "import sys; print('cp%d%d' % sys.version_info[:2], end='')")
    # By the Python's path too: a wheel is for one Python.
    directory = DIST / f"wheel-{str(python.resolve()).replace('/', '-')}"
    if not directory.exists():
        run(uv(), "build", "--no-python-downloads", "--python", python, "--wheel", "--out-dir", directory, sdist())
    (found,) = directory.glob("*.whl")
    expect(re.fullmatch(rf"ocipy-[\d.]+-{tag}-{tag}-linux_x86_64\.whl", found.name), f"the wheel's tag: {found.name}")
    return found


def audit(python: Path) -> None:
    """auditwheel's verdict on the wheel's tag."""
    words = ("--no-python-downloads", "--python", sys.executable)
    said = run(uv(), "tool", "run", *words, "auditwheel", "show", wheel(python), stderr=subprocess.DEVNULL)
    print(said, flush=True)
    expect('"linux_x86_64"' in " ".join(said.split()), "auditwheel knows another tag")


def of_a_python_that_is_gone(python: Path) -> None:
    """Check the error of a wheel for another Python of the same minor version, in an environment of Debian's Python,
    when that other Python is gone."""
    show = "import sys, sysconfig as s; print(sys.version_info[:2], sys.base_prefix, s.get_path('stdlib'), sep='\\n')"
    version, prefix, library = run(python, "-c", show).splitlines()
    if prefix == sys.base_prefix or version != str(sys.version_info[:2]):
        return
    place = Path("/tmp/of another Python")
    run(sys.executable, "-m", "venv", place)
    run(place / "bin/pip", "install", "-q", "--no-deps", wheel(python))
    run("mount", "-t", "tmpfs", "tmpfs", prefix)
    try:
        # `run`, `state` and others need none of Python's files, and keep working.
        for words in (["--help"], ["validate", "/nonexistent"], ["spec"], ["features"]):
            said = run(place / "bin/ocipy", *words, check=False)
            expect(f"built for the Python in {library}, which is gone\n" in said, f"{words}: {said}")
    finally:
        run("umount", prefix)
