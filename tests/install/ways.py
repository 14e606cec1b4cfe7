"""Install ocipy in this Debian in each way, and print a row for each: whether it installs, starts, is fast, and leaves
nothing. As root, in a Debian that may be changed: tests/install/run calls it in clean ones.

    python3 -m tests.install.ways [--python PATH] [NAME …]

The last line of each way is "way: " and its row as JSON. The exit status is 1 if something does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median

TOP = Path(__file__).resolve().parents[2]
DIST = TOP / "dist"
ROUNDS = 15
# What a build needs, and what the rows are compared with.
BUILD = "gcc libc6-dev libcap-dev libseccomp-dev libyajl-dev make pkg-config python3-dev python3-venv libexpat1-dev"
USED = ("busybox-static", "procps", "runc")
SYSTEM = (
    "meson",
    "ninja-build",
    "python3-jsonschema",
    "python3-prctl",
    "python3-pyroute2",
    "python3-rich",
    "python3-seccomp",
)
# Not part of an installation: what the kernel and apt keep, downloads, this test's own.
LEFT_OUT = (
    "/dev",
    "/proc",
    "/run",
    "/src",
    "/sys",
    "/tmp",
    "/var/cache",
    "/var/lib/apt",
    "/var/log",
    "/root/.cache",
    "/root/.local/state",
)


class Failure(Exception):
    """Something does not hold."""


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*words: str | Path, check: bool = True, **options: object) -> str:
    """A command's output. Raises Failure with its end if it fails."""
    done = subprocess.run(
        [str(word) for word in words],
        **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options},  # type: ignore[call-overload]
    )
    output = done.stdout.decode(errors="replace")
    if check and done.returncode:
        raise Failure(f"{' '.join(map(str, words))}: exit status {done.returncode}\n{output[-3000:]}")
    return str(output)


def expect(holds: object, what: str) -> None:
    if not holds:
        raise Failure(what)


def files() -> set[str]:
    """Every file, directory and link of this Debian, without what is left out and the system's compiled modules."""
    found = set()
    for place, directories, names in os.walk("/"):
        inside = [name for name in directories if os.path.join(place, name) not in LEFT_OUT]
        directories[:] = [name for name in inside if name != "__pycache__"]
        found |= {os.path.join(place, name) for name in (*directories, *names)}
    return found


class Bundle:
    """A container that ends at once."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="bundle-"))
        root = self.path / "rootfs"
        for name in ("bin", "dev", "proc", "sys"):
            (root / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", root / "bin/true")
        run("runc", "spec", "--bundle", self.path)
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
        theirs.append(bundle.call("runc"))
    return median(ours) / median(theirs)


def start_of(ocipy: Path) -> str:
    """How it says that it starts."""
    line = run(ocipy, "--version").splitlines()[-1]
    expect(line.startswith("start: "), f"--version has no line about the start: {line}")
    return line.removeprefix("start: ")


def comes_to_a_snapshot(ocipy: Path, first: str) -> None:
    """Its first start says what is expected; a moment later it starts from a snapshot."""
    said = start_of(ocipy)
    expect(said.startswith(first), f"the first start says {said!r}, not {first!r}")
    for _ in range(600):
        if start_of(ocipy) == "snapshot":
            return
        time.sleep(0.05)
    raise Failure(f"it still says {start_of(ocipy)!r}")


def wait_for_makers() -> None:
    """Until no process makes a snapshot."""
    for _ in range(600):
        if not run("pgrep", "-f", "^ocipy _(renew|touched)", check=False):
            return
        time.sleep(0.05)


NONE_YET = "slow (there is no snapshot yet"


class Way:
    """A way of installing. Each step raises Failure."""

    name = ""
    place = Path("/opt/a place é")
    first = NONE_YET

    def __init__(self, python: Path) -> None:
        self.python = python

    def prepare(self) -> None:
        """What is there before, such as an environment or the installer."""

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
        for path in (self.place, self.place.with_name("moved è")):
            if path.is_dir():
                shutil.rmtree(path)


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


class Pip(Way):
    """pip in a virtual environment, from the source distribution."""

    name = "pip, sdist"

    def prepare(self) -> None:
        run(self.python, "-m", "venv", self.place)
        self.package = sdist()

    def install(self) -> Path:
        run(self.place / "bin/pip", "install", "-q", "--no-compile", self.package)
        return self.place / "bin/ocipy"

    def move(self) -> Path:
        self.place.rename(self.place.with_name("moved è"))
        return self.place.with_name("moved è") / "bin/ocipy"

    def uninstall(self) -> None:
        environment = self.place.with_name("moved è")
        python = environment / "bin/python"
        for name in ("ocipy", "python-prctl", "pyseccomp", "pyroute2", "jsonschema", "rich"):
            run(python, "-m", "pip", "uninstall", "-q", "-y", name)
        left = [str(path) for path in environment.rglob("*") if "ocipy" in path.name or "_snapshot" in path.name]
        expect(not left, f"pip uninstall leaves {left}")


class PipWheel(Pip):
    """pip in a virtual environment, from a wheel."""

    name = "pip, wheel"

    def prepare(self) -> None:
        run(self.python, "-m", "venv", self.place)
        self.package = wheel(self.python)


class PipSystem(Way):
    """pip as root without an environment: Debian's dist-packages in /usr/local."""

    name = "pip as root"

    def prepare(self) -> None:
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-pip")
        self.package = wheel(self.python)
        self.pip = (self.python, "-m", "pip")

    def install(self) -> Path:
        run(*self.pip, "install", "-q", "--break-system-packages", "--no-compile", self.package)
        return Path("/usr/local/bin/ocipy")

    def uninstall(self) -> None:
        listed = json.loads(
            run(*self.pip, "list", "--path", self.directory(), "--format", "json", "--disable-pip-version-check")
        )
        run(*self.pip, "uninstall", "-q", "-y", "--break-system-packages", *(each["name"] for each in listed))

    def directory(self) -> str:
        return run(
            self.python,
            "-c",
            "import ocipy, os; print(os.path.dirname(os.path.dirname(ocipy.__file__)), end='')",
            cwd="/",
        )


class Pipx(Way):
    """pipx, from a wheel."""

    name = "pipx"

    def prepare(self) -> None:
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "pipx")
        self.package = wheel(self.python)
        self.environment = {**os.environ, "PIPX_HOME": str(self.place), "PIPX_BIN_DIR": str(self.place / "commands")}

    def install(self) -> Path:
        run("pipx", "install", self.package, env=self.environment)
        return self.place / "commands/ocipy"

    def uninstall(self) -> None:
        run("pipx", "uninstall", "ocipy", env=self.environment)
        left = [str(path) for path in self.place.rglob("*") if path.name.startswith("ocipy")]
        expect(not left, f"pipx uninstall leaves {left}")


class Uv(Way):
    """uv tool install, from a wheel."""

    name = "uv tool"

    def prepare(self) -> None:
        run(sys.executable, "-m", "venv", "/tmp/uv")
        run("/tmp/uv/bin/pip", "install", "-q", "uv")
        self.package = wheel(self.python)
        places = {"UV_TOOL_DIR": f"{self.place}/tools", "UV_TOOL_BIN_DIR": f"{self.place}/commands"}
        self.environment = {**os.environ, **places, "UV_PYTHON_DOWNLOADS": "never"}

    def install(self) -> Path:
        run("/tmp/uv/bin/uv", "tool", "install", "--python", self.python, self.package, env=self.environment)
        return self.place / "commands/ocipy"

    def uninstall(self) -> None:
        run("/tmp/uv/bin/uv", "tool", "uninstall", "ocipy", env=self.environment)
        left = [str(path) for path in self.place.rglob("*") if path.name.startswith("ocipy")]
        expect(not left, f"uv tool uninstall leaves {left}")


class Make(Way):
    """make install, with the packages from the index."""

    name = "make install"
    first = "snapshot"
    offline = False

    def call(self, target: str, prefix: Path) -> str:
        alone = ["unshare", "--net"] if self.offline else []
        return run(*alone, "make", "-s", "-C", TOP, target, f"PREFIX={prefix}", f"PYTHON={self.python}")

    def install(self) -> Path:
        self.call("install", self.place)
        return self.place / "bin/ocipy"

    def move(self) -> Path:
        self.place.rename(self.place.with_name("moved è"))
        return self.place.with_name("moved è") / "bin/ocipy"

    def uninstall(self) -> None:
        self.place.with_name("moved è").rename(self.place)
        self.call("uninstall", self.place)
        expect(not self.place.exists(), "make uninstall leaves the prefix")


class MakeSystem(Make):
    """make install without a network, with Debian's packages."""

    name = "make, offline"
    offline = True

    def prepare(self) -> None:
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *SYSTEM)


class Meson(Way):
    """meson install, with Debian's meson and packages, into /usr/local."""

    name = "meson"

    def prepare(self) -> None:
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *SYSTEM)
        self.build = Path("/tmp/meson-build")

    def install(self) -> Path:
        run("meson", "setup", self.build, "--prefix", "/usr/local", cwd=TOP)
        run("ninja", "-C", self.build)
        run("meson", "install", "-C", self.build)
        return Path("/usr/local/bin/ocipy")

    def uninstall(self) -> None:
        run("ninja", "-C", self.build, "uninstall")
        for place in ("lib/python3/dist-packages/ocipy", "lib/python3.11/dist-packages/ocipy"):
            directory = Path("/usr/local", place)
            expect(
                not [path for path in directory.rglob("*") if not path.is_dir()],
                f"ninja uninstall leaves files in {directory}",
            )
            shutil.rmtree(directory, ignore_errors=True)  # meson removes no directories


class Deb(Way):
    """The Debian package, built here."""

    name = "Debian package"
    first = "snapshot"

    def prepare(self) -> None:
        run("packaging/build-deb", cwd=TOP)
        (self.package,) = DIST.glob("ocipy_*.deb")
        depends = run("dpkg-deb", "-f", self.package, "Depends")
        names = [re.sub(r"[:(].*", "", name).strip() for name in depends.split(",")]
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *names)

    def install(self) -> Path:
        run("apt-get", "install", "-y", "-qq", "--no-install-recommends", self.package)
        return Path("/usr/bin/ocipy")

    def uninstall(self) -> None:
        run("apt-get", "purge", "-y", "-qq", "ocipy")


def tried(way: Way, bundle: Bundle) -> dict[str, str]:
    """The row of a way: what holds, or where it failed."""
    row = {"way": way.name, "installs": "", "starts": "", "run": "", "moved": "", "uninstalls": ""}
    column = "installs"
    try:
        say(f"{way.name}: prepare")
        way.prepare()
        before = files()
        say(f"{way.name}: install")
        began = time.monotonic()
        ocipy = way.install()
        row[column] = f"{time.monotonic() - began:.0f} s"
        column = "starts"
        comes_to_a_snapshot(ocipy, way.first)
        run(ocipy, "validate", bundle.path, check=False)
        expect("/process/args" in (said := wrong(ocipy, bundle)), f"validate does not name the fault: {said}")
        row[column] = "snapshot"
        column = "run"
        row[column] = f"{ratio(bundle, ocipy):.2f}"
        column = "moved"
        moved = way.move()
        if moved:
            comes_to_a_snapshot(moved, "slow (the snapshot was made at another place")
            bundle.call(moved)
        row[column] = "yes" if moved else "-"
        column = "uninstalls"
        wait_for_makers()
        way.uninstall()
        # What the installers keep for themselves; the ways look for ocipy's own files there.
        own = (way.place, way.place.with_name("moved è"))
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
    return row


def wrong(ocipy: Path, bundle: Bundle) -> str:
    """What validate says of a config with a fault that a schema finds."""
    config = json.loads((bundle.path / "config.json").read_text())
    config["process"]["args"] = 3
    (bundle.path / "wrong.json").write_text(json.dumps(config))
    return run(ocipy, "validate", "--config", bundle.path / "wrong.json", bundle.path, check=False)


def audit(python: Path) -> None:
    """What auditwheel says of the wheel's tag."""
    run(sys.executable, "-m", "venv", "/tmp/audit")
    run("/tmp/audit/bin/pip", "install", "-q", "auditwheel")
    said = run("/tmp/audit/bin/auditwheel", "show", wheel(python), stderr=subprocess.DEVNULL)
    print(said, flush=True)
    expect('"linux_x86_64"' in " ".join(said.split()), "auditwheel knows another tag")


WAYS: tuple[type[Way], ...] = (Make, Pip, PipWheel, Uv, Pipx, PipSystem, MakeSystem, Meson, Deb)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path("/usr/bin/python3"))
    parser.add_argument("names", nargs="*", help=f"of: {'; '.join(way.name for way in WAYS)}; without: all")
    arguments = parser.parse_args()
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    chosen: list[Callable[[Path], Way]] = [way for way in WAYS if not arguments.names or way.name in arguments.names]
    say("apt-get install")
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *BUILD.split(), *USED)
    os.chdir("/")
    bundle = Bundle()
    rows = [tried(way(arguments.python), bundle) for way in chosen]
    python = run(arguments.python, "-c", "import platform; print(platform.python_version(), end='')")
    try:
        audit(arguments.python)
    except Failure as problem:
        print(problem, flush=True)
        rows.append({"way": "auditwheel show", "installs": "FAILED"})
    for row in rows:
        print("way: " + json.dumps({"python": python, **row}), flush=True)
    return 1 if any("FAILED" in row.values() for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
