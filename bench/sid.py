"""Programs of Debian sid that run on this host, with sid's own libraries, in the cache.

Such an executable names its loader and the directory of its libraries itself (patchelf(1)), so it starts as on sid: no
shell, environment or chroot adds to its times. An installed program would take as long: the loader opens the same
number of libraries, from one directory.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.runtimes import MissingError
from conformance.suite import cache_root
from tests.hosts import root

SUITE = "sid"
# In a root of sid: the program, and the files that its loader opens.
FETCH = """set -e
apt-get -qq update
apt-get -qq install -y --no-install-recommends "$1" >/dev/null
command -v "$1"
ldd "$(command -v "$1")"
"""


def program(name: str) -> str:
    """Return the path of sid's program of a package of that name, in the cache. Raises MissingError.

    The first call fetches it, and may make a root of sid (debootstrap).
    """
    folder = cache_root() / f"{name}-{SUITE}"
    path = folder / name
    if not path.exists():
        for tool in ("patchelf", "debootstrap"):
            if shutil.which(tool) is None:
                raise MissingError(f"no {tool} here, which makes Debian sid's {name} run on this host: install {tool}")
        print(f"fetching Debian {SUITE}'s {name} into {folder}", flush=True)
        try:
            _make(name, folder)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise MissingError(f"Debian {SUITE}'s {name} could not be fetched: {error}") from error
    return str(path)


def _make(name: str, folder: Path) -> None:
    with root.copy_of(root.make(SUITE)) as top:
        enter = ["unshare", "--mount", "--propagation", "private", "chroot", str(top), "sh", "-c", FETCH, "sh", name]
        listing = subprocess.run(enter, check=True, capture_output=True, text=True).stdout
        where, _, listing = listing.partition("\n")
        libraries = folder / "lib"
        libraries.mkdir(parents=True, exist_ok=True)
        loader = ""
        for library, file in libraries_of(listing):
            shutil.copy(_inside(top, file), libraries / library)
            loader = library if library.startswith("ld-") else loader
        made = folder / f"{name}.new"
        shutil.copy(_inside(top, where), made)
    interpreter = ["--set-interpreter", str(libraries / loader)]
    subprocess.run(["patchelf", *interpreter, "--force-rpath", "--set-rpath", str(libraries), str(made)], check=True)
    made.rename(folder / name)


def libraries_of(listing: str) -> list[tuple[str, str]]:
    """Return (name, file) of each library in the output of ldd(1), the loader among them."""
    found = []
    for line in listing.split("\n"):
        words = line.split()
        files = [word for word in words if word.startswith("/")]
        if files:
            found.append((files[0].rpartition("/")[2], files[0]))
    return found


def _inside(top: Path, file: str) -> Path:
    """Return the path of a file in a root; absolute links are followed inside that root."""
    path = top / file.lstrip("/")
    while path.is_symlink():
        target = path.readlink()
        path = top / str(target).lstrip("/") if target.is_absolute() else path.parent / target
    return path
