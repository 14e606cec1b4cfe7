"""Install ocipy in this Debian in each way, and print a row for each: whether it installs, starts, is fast, and leaves
nothing. It needs root, and changes the Debian: tests/install/run calls it in clean ones.

    python3 -m tests.install.ways [--python PATH] [--without NAME …] [NAME …]

The last line of each way is "way: " and its row as JSON. The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.install.checks import Bundle, Way, leaves_nothing, tried
from tests.install.packages import DIST, TOP, audit, commit, of_a_python_that_is_gone, sdist, uv, wheel
from tests.install.system import Failure, expect, install, run, say
from tests.install.users import PipUser, PipxUser, UvUser

# What a build needs, and what the rows are compared with.
BUILD = (
    "gcc libc6-dev libcap-dev libseccomp-dev libyajl-dev make musl-tools pkg-config "
    "python3-dev python3-venv libexpat1-dev"
)
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
        self.place.rename(self.moved)
        return self.moved / "bin/ocipy"

    def uninstall(self) -> None:
        python = self.moved / "bin/python"
        for name in ("ocipy", "python-prctl", "pyseccomp", "pyroute2", "jsonschema", "rich"):
            run(python, "-m", "pip", "uninstall", "-q", "-y", name)
        leaves_nothing(self.moved, "pip uninstall")


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
        install("python3-pip")
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
        install("pipx")
        self.package = wheel(self.python)
        places = {"PIPX_HOME": "", "PIPX_BIN_DIR": "/commands", "PIPX_MAN_DIR": "/man"}
        self.environment = {**os.environ, **{name: f"{self.place}{where}" for name, where in places.items()}}

    def install(self) -> Path:
        run("pipx", "install", "--python", self.python, self.package, env=self.environment)
        return self.place / "commands/ocipy"

    def uninstall(self) -> None:
        run("pipx", "uninstall", "ocipy", env=self.environment)
        leaves_nothing(self.place, "pipx uninstall")


class UvTool(Way):
    """uv tool install, from a wheel."""

    name = "uv tool"

    def prepare(self) -> None:
        self.package = wheel(self.python)
        places = {"UV_TOOL_DIR": f"{self.place}/tools", "UV_TOOL_BIN_DIR": f"{self.place}/commands"}
        self.environment = {**os.environ, **places, "UV_PYTHON_DOWNLOADS": "never"}

    def install(self) -> Path:
        run(uv(), "tool", "install", "--python", self.python, self.package, env=self.environment)
        return self.place / "commands/ocipy"

    def uninstall(self) -> None:
        run(uv(), "tool", "uninstall", "ocipy", env=self.environment)
        leaves_nothing(self.place, "uv tool uninstall")


class UvPip(Way):
    """uv pip in a virtual environment that uv makes, from a wheel."""

    name = "uv pip"

    def prepare(self) -> None:
        self.package = wheel(self.python)
        run(uv(), "venv", "--no-python-downloads", "--python", self.python, self.place)

    def install(self) -> Path:
        run(uv(), "pip", "install", "--python", self.place, self.package)
        return self.place / "bin/ocipy"

    def move(self) -> Path:
        self.place.rename(self.moved)
        return self.moved / "bin/ocipy"

    def uninstall(self) -> None:
        run(uv(), "pip", "uninstall", "--python", self.moved, "ocipy")
        leaves_nothing(self.moved, "uv pip uninstall")


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
        self.place.rename(self.moved)
        return self.moved / "bin/ocipy"

    def uninstall(self) -> None:
        self.moved.rename(self.place)
        self.call("uninstall", self.place)
        expect(not self.place.exists(), "make uninstall leaves the prefix")


class MakeSystem(Make):
    """make install without a network, with Debian's packages."""

    name = "make, offline"
    offline = True

    def prepare(self) -> None:
        install(*SYSTEM)


class Checkout(Way):
    """make setup, in a checkout that is then moved: the build belongs to its place, and says so."""

    name = "make setup"
    first = "snapshot"
    of_moved = "snapshot"

    def make(self, place: Path, *targets: str) -> str:
        return run("make", "-s", "-C", place, *targets, f"PYTHON={self.python}")

    def prepare(self) -> None:
        commit()
        run("git", "clone", "--quiet", TOP, self.place)
        # These packages are the user's, and stay.
        self.make(self.place, "packages")

    def install(self) -> Path:
        self.make(self.place, "setup")
        return self.place / ".venv/bin/ocipy"

    def move(self) -> Path:
        self.place.rename(self.moved)
        ocipy = self.moved / ".venv/bin/ocipy"
        said = run(ocipy, "--version", check=False)
        expect(f"was built in {self.place}; this checkout is a copy, or was moved: run `make build`" in said, said)
        said = self.make(self.moved, "build")
        expect(f"this checkout was built in {self.place}: building it again" in said, said)
        return ocipy

    def uninstall(self) -> None:
        self.make(self.moved, "clean")
        left = run("git", "-C", self.moved, "status", "--porcelain", "--ignored")
        expect(not left, f"make clean leaves {left}")


class Meson(Way):
    """meson install, with Debian's meson and packages, into /usr/local."""

    name = "meson"

    def prepare(self) -> None:
        install(*SYSTEM)
        self.build = Path("/tmp/meson-build")
        self.before = set(Path("/usr/local/lib").glob("python3*/**/"))

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
                # meson compiles modules (since 1.2), but does not record the files; docs/install.md says so.
                not [path for path in directory.rglob("*") if not path.is_dir() and path.suffix != ".pyc"],
                f"ninja uninstall leaves files in {directory}",
            )
            shutil.rmtree(directory, ignore_errors=True)  # meson removes no directories
            for parent in (directory.parent, directory.parent.parent):
                if parent.exists() and parent not in self.before:
                    parent.rmdir()


class MesonLib64(Way):
    """meson install as in a distribution with lib64, such as Fedora: below DESTDIR, packed, and unpacked."""

    name = "meson, lib64"

    def prepare(self) -> None:
        install(*SYSTEM)
        self.build, self.stage = Path("/tmp/meson-lib64"), Path("/tmp/stage")
        name = run(self.python, "-c", "import sys; print('python%d.%d' % sys.version_info[:2], end='')")
        self.site = f"{name}/site-packages"

    def install(self) -> Path:
        where = [f"-Dpython.platlibdir=/usr/lib64/{self.site}", f"-Dpython.purelibdir=/usr/lib/{self.site}"]
        run("meson", "setup", self.build, "--prefix", "/usr", "--libdir", "lib64", *where, cwd=TOP)
        run("meson", "install", "-C", self.build, env={**os.environ, "DESTDIR": str(self.stage)})
        run("sh", "-c", f"tar -C {self.stage} -c . | tar -C / -x --keep-directory-symlink")
        return Path("/usr/bin/ocipy")

    def uninstall(self) -> None:
        listed = sorted(self.stage.rglob("*"), reverse=True)
        for path in (Path("/", path.relative_to(self.stage)) for path in listed):
            if not path.is_dir() or path.is_symlink():
                path.unlink()
            elif not list(path.iterdir()):
                path.rmdir()


class Deb(Way):
    """The Debian package, built here."""

    name = "Debian package"
    first = "snapshot"

    def prepare(self) -> None:
        run("packaging/build-deb", cwd=TOP)
        (self.package,) = DIST.glob("ocipy_*.deb")
        depends = run("dpkg-deb", "-f", self.package, "Depends")
        names = [re.sub(r"[:(].*", "", name).strip() for name in depends.split(",")]
        install(*names)

    def install(self) -> Path:
        install(self.package)
        return Path("/usr/bin/ocipy")

    def uninstall(self) -> None:
        run("apt-get", "purge", "-y", "-qq", "ocipy")


WAYS: tuple[type[Way], ...] = (
    Make,
    Pip,
    PipWheel,
    UvPip,
    UvTool,
    Pipx,
    PipSystem,
    PipUser,
    PipxUser,
    UvUser,
    MakeSystem,
    Checkout,
    Meson,
    MesonLib64,
    Deb,
)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path("/usr/bin/python3"))
    parser.add_argument("--without", metavar="NAME", action="append", default=[], help="all ways but this one")
    parser.add_argument("names", nargs="*", help=f"of: {'; '.join(way.name for way in WAYS)}; by default all")
    arguments = parser.parse_args()
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    names = arguments.names or [way.name for way in WAYS if way.name not in arguments.without]
    unknown = {*names, *arguments.without} - {way.name for way in WAYS}
    if unknown:
        parser.error(f"no such way: {', '.join(sorted(unknown))}")
    chosen: list[Callable[[Path], Way]] = [way for way in WAYS if way.name in names]
    say("apt-get install")
    if not shutil.which("runc"):  # the first call in this Debian
        run("apt-get", "update", "-qq")
    install(*BUILD.split(), *USED)
    os.chdir("/")
    bundle = Bundle()
    rows = [tried(way(arguments.python), bundle) for way in chosen]
    python = run(arguments.python, "-c", "import platform; print(platform.python_version(), end='')")
    for what, check in (("auditwheel show", audit), ("a Python gone", of_a_python_that_is_gone)):
        try:
            check(arguments.python)
        except Failure as problem:
            print(problem, flush=True)
            rows.append({"way": what, "installs": "FAILED"})
    for row in rows:
        print("way: " + json.dumps({"python": python, **row}), flush=True)
    return 1 if any("FAILED" in row.values() for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
