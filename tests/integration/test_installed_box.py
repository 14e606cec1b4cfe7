"""ocipy box installed by make and by pip: boxes, pages, the library, without access to the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.host import scaled

TOP = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.ocipy_only(reason="its own installation"),
    pytest.mark.needs_network,
    pytest.mark.needs_program("conmon"),
]


def called(*words: str | Path, places: Path, status: int = 0) -> str:
    """The output of a command, called from another directory with a fixed environment."""
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, cwd="/", timeout=scaled(120), stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "OCIPY_BOX": str(places)},
    )  # fmt: skip
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def source(place: Path) -> Path:
    """A copy of the package's sources, because a build writes into it."""
    copy = place / "source"
    copy.mkdir()
    listed = subprocess.run(["git", "-C", TOP, "ls-files", "-z"], check=True, capture_output=True).stdout
    for name in listed.rstrip(b"\0").split(b"\0"):
        path = TOP / os.fsdecode(name)
        if path.is_file():
            (copy / path.relative_to(TOP)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy / path.relative_to(TOP))
    return copy


@pytest.fixture
def places() -> Iterator[Path]:
    """A directory with a short path, for sockets."""
    path = Path(tempfile.mkdtemp(prefix="box-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module", params=["make", "pip", "uv"])
def installed(request: pytest.FixtureRequest) -> Iterator[tuple[Path, Path]]:
    """An installation's executable, and the Python that can import it."""
    place = Path(tempfile.mkdtemp(prefix="installed-"))
    place.chmod(0o755)
    if request.param == "uv" and shutil.which("uv") is None:
        shutil.rmtree(place)
        pytest.skip("uv is not installed")
    copy = source(place)
    if request.param == "make":
        variables = [f"PREFIX={place}/prefix", f"ENGINES_CONF={place}/ocipy.conf"]
        subprocess.run(["make", "-s", "-C", copy, "install", *variables], check=True, capture_output=True)
        found = place / "prefix/bin/ocipy", place / "prefix/lib/ocipy/bin/python"
    else:
        subprocess.run(["/usr/bin/python3", "-m", "venv", place / "venv"], check=True)
        pip = [f"{place}/venv/bin/pip", "install", "-q"]
        if request.param == "uv":
            pip = ["uv", "pip", "install", "-q", "--python", f"{place}/venv/bin/python"]
        subprocess.run([*pip, str(copy)], check=True, capture_output=True)
        found = place / "venv/bin/ocipy", place / "venv/bin/python"
    shutil.rmtree(copy)
    yield found
    shutil.rmtree(place)


def test_boxes_run(installed: tuple[Path, Path], places: Path) -> None:
    """In the foreground, in the background, explained; and by a renamed executable."""
    ocipy, _ = installed
    words = (ocipy, "box", "run", "--network", "none")
    assert called(*words, "--rm", "busybox", "echo", "hi", places=places) == "hi\n"
    called(*words, "-d", "--name", "web", "busybox", "sleep", "1000", places=places)
    assert "pid: its processes see no others" in called(ocipy, "box", "explain", "web", places=places)
    assert "no_pivot" not in called(ocipy, "box", "run", "--dry-run", "busybox", places=places)
    called(ocipy, "box", "stop", "-t", "0", "web", places=places)
    assert "exited (137)" in called(ocipy, "box", "ps", "-a", places=places)
    called(ocipy, "box", "rm", "web", places=places)


@pytest.mark.parametrize("how", ["renamed", "symlink"])
def test_by_another_name(installed: tuple[Path, Path], places: Path, how: str) -> None:
    real = installed[0].resolve()
    other = real.with_name("runtime")
    real.rename(other)
    try:
        if how == "symlink":
            real.symlink_to(other)
        words = (
            real if how == "symlink" else other,
            "box",
            "run",
            "--rm",
            "--network",
            "none",
            "busybox",
            "echo",
            "hi",
        )
        assert called(*words, places=places) == "hi\n"
    finally:
        other.rename(real)


def test_the_page_of_a_plan(installed: tuple[Path, Path], places: Path) -> None:
    """With its style sheet and script, which are not modules."""
    ocipy, _ = installed
    (places / "bundle/rootfs").mkdir(parents=True)
    called(ocipy, "spec", "--bundle", places / "bundle", places=places)
    page = called(ocipy, "plan", "--html", places / "bundle", places=places)
    for name in ("page.css", "page.js"):
        text = (TOP / "ocipy/picture" / name).read_text().strip() if (TOP / "ocipy/picture").is_dir() else ""
        assert text and text.split("\n")[0] in page


def test_a_program_with_types(installed: tuple[Path, Path], places: Path) -> None:
    """The example of docs/library.md: a strict checker accepts it, and it runs."""
    _, python = installed
    example = places / "one_box.py"
    shutil.copy(TOP / "examples/one_box.py", example)
    checked = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--python-executable={python}"]
    called(*checked, "--cache-dir", places / "mypy", example, places=places)
    said = called(python, "-I", example, places / "example", places=places)
    for line in ("it ended with 0", "web is started: running", "it was ended with 137", "boxes: 0"):
        assert line in said


def test_import_alone(installed: tuple[Path, Path], places: Path) -> None:
    program = (
        "import json, ocipy.box; print(json.dumps([bool(getattr(ocipy.box, name)) for name in ocipy.box.__all__]))"
    )
    assert all(json.loads(called(installed[1], "-I", "-c", program, places=places)))
