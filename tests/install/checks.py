"""The checks for each way: it installs, starts from a snapshot, is fast, can be moved, leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from statistics import median

from tests.install.system import Failure, expect, files, run, say

ROUNDS = 15
NONE_YET = "slow (there is no snapshot yet"


class Bundle:
    """A container that ends at once. runc: the executable that ocipy is compared with. user: whose container it is."""

    def __init__(self, runc: str | Path = "runc", user: str | None = None) -> None:
        self.runc = runc
        self.path = Path(tempfile.mkdtemp(prefix="bundle-"))
        root = self.path / "rootfs"
        for name in ("bin", "dev", "proc", "sys"):
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin/true")
        if user:
            run("chown", "-R", f"{user}:", self.path)
        run(runc, "spec", "--bundle", self.path, *(["--rootless"] if user else []))
        config = json.loads((self.path / "config.json").read_text())
        config["process"] |= {"args": ["/bin/true"], "terminal": False}
        config["process"].pop("rlimits", None)
        (self.path / "config.json").write_text(json.dumps(config))

    def call(self, runtime: str | Path) -> float:
        """Run it. Return the seconds."""
        words = [runtime, "--root", self.path / "state", "run", "--bundle", self.path, f"way-{os.getpid()}"]
        began = time.monotonic()
        run(*words)
        return time.monotonic() - began


def ratio(bundle: Bundle, ocipy: Path) -> float:
    """The time of `run true`, relative to runc's: medians of interleaved calls."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(bundle.call(ocipy))
        theirs.append(bundle.call(bundle.runc))
    return median(ours) / median(theirs)


def start_of(ocipy: Path) -> str:
    """The line of --version about the start."""
    line = run(ocipy, "--version").splitlines()[-1]
    expect(line.startswith("start: "), f"--version has no line about the start: {line}")
    return line.removeprefix("start: ")


def gets_a_snapshot(ocipy: Path, first: str, last: str) -> None:
    """--version begins with `first` at the first start; a moment later it is `last`. Raises Failure."""
    said = start_of(ocipy)
    expect(said.startswith(first), f"the first start says {said!r}, not {first!r}")
    # The snapshot is made only while the processor is idle, so do not keep it busy with asking.
    for _ in range(300):
        if start_of(ocipy) == last:
            return
        time.sleep(0.2)
    raise Failure(f"it still says {start_of(ocipy)!r}")


def wait_for_makers() -> None:
    """Wait until no process makes a snapshot."""
    for _ in range(600):
        if not run("pgrep", "-f", "^ocipy _(renew|touched)", check=False):
            return
        time.sleep(0.05)


class Way:
    """A way of installing. Each step raises Failure."""

    name = ""
    place = Path("/opt/a place é")
    moved = place.with_name("moved è")
    # What --version says about the first start, and about the last.
    first = NONE_YET
    last = "snapshot"
    # What it says at the first start after it has been moved.
    of_moved = "slow (the snapshot was made in another directory"

    def __init__(self, python: Path) -> None:
        self.python = python

    def prepare(self) -> None:
        """Prepare the way, such as an environment or the installer."""

    def bundle(self, ordinary: Bundle) -> Bundle:
        """What to run in the comparison with runc."""
        return ordinary

    def install(self) -> Path:
        """Install. Return the executable."""
        raise NotImplementedError

    def move(self) -> Path | None:
        """Move the installation, if that is possible. Return the executable."""
        return None

    def uninstall(self) -> None:
        raise NotImplementedError

    def clean(self) -> None:
        """Remove what prepare has made."""
        for path in (self.place, self.moved):
            if path.is_dir():
                shutil.rmtree(path)


def leaves_nothing(place: Path, what: str) -> None:
    """Raises Failure if ocipy's files are left in an environment."""
    left = [str(path) for path in place.rglob("*") if path.name.startswith("ocipy") or "_snapshot" in path.name]
    expect(not left, f"{what} leaves {left}")


def wrong(ocipy: Path, bundle: Bundle) -> str:
    """The findings of validate for a config that breaks the schema."""
    config = json.loads((bundle.path / "config.json").read_text())
    config["process"]["args"] = 3
    (bundle.path / "wrong.json").write_text(json.dumps(config))
    return run(ocipy, "validate", "--config", bundle.path / "wrong.json", bundle.path, check=False)


def tried(way: Way, bundle: Bundle) -> dict[str, str]:
    """The row of a way: each check with its result, up to the first failure."""
    row = {"way": way.name, "installs": "", "starts": "", "run": "", "moved": "", "uninstalls": "", "in all": ""}
    column = "installs"
    start, used = time.monotonic(), os.times().children_user + os.times().children_system
    try:
        say(f"{way.name}: prepare")
        way.prepare()
        bundle = way.bundle(bundle)
        before = files()
        say(f"{way.name}: install")
        began = time.monotonic()
        ocipy = way.install()
        row[column] = f"{time.monotonic() - began:.0f} s"
        column = "starts"
        gets_a_snapshot(ocipy, way.first, way.last)
        run(ocipy, "validate", bundle.path, check=False)
        expect("/process/args" in (said := wrong(ocipy, bundle)), f"validate does not name the fault: {said}")
        row[column] = "snapshot"
        column = "run"
        row[column] = f"{ratio(bundle, ocipy):.2f}"
        column = "moved"
        moved = way.move()
        if moved:
            gets_a_snapshot(moved, way.of_moved, way.last)
            bundle.call(moved)
        row[column] = "yes" if moved else "-"
        column = "uninstalls"
        wait_for_makers()
        way.uninstall()
        # Installers keep their own files here; each way has looked for ocipy's.
        own = (way.place, way.moved)
        left = {path for path in files() - before if not any(Path(path).is_relative_to(place) for place in own)}
        expect(not left, f"left: {sorted(left)[:10]}")
        row[column] = "yes"
    except (Failure, OSError, ValueError) as problem:
        row[column] = "FAILED"
        print(f"{way.name}: {column}: {problem}", flush=True)
        if not isinstance(problem, Failure):
            traceback.print_exc()
    finally:
        way.clean()
        row["in all"] = f"{time.monotonic() - start:.0f} s"
        spent = os.times()
        say(f"{way.name}: {row['in all']}, of processors {spent.children_user + spent.children_system - used:.0f} s")
    return row
