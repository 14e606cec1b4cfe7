"""The newest crun, Debian sid's, made to run on this host: with sid's C library and others, in the cache.

The executable names its loader and its libraries' directory itself (patchelf(1)), so it starts as on sid: no shell, no
environment and no chroot that would count. What this adds to its time is nothing that a crun installed by a package
would not have: the loader opens as many libraries, from one directory.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.runtimes import MissingError
from conformance.suite import cache_root
from tests.hosts import root

SUITE = "sid"
# In a root of sid: the packages that crun needs, and the files that its loader opens.
FETCH = """set -e
apt-get -qq update
apt-get -qq install -y --no-install-recommends crun >/dev/null
ldd /usr/bin/crun
"""


def newest_crun() -> str:
    """Return the path of sid's crun in the cache; the first call fetches it (debootstrap). Raises MissingError."""
    folder = cache_root() / f"crun-{SUITE}"
    path = folder / "crun"
    if not path.exists():
        for tool in ("patchelf", "debootstrap"):
            if shutil.which(tool) is None:
                raise MissingError(f"no {tool} here, which makes Debian sid's crun run on this host: install {tool}")
        print(f"fetching Debian {SUITE}'s crun into {folder}")
        try:
            _make(folder)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise MissingError(f"Debian {SUITE}'s crun could not be fetched: {error}") from error
    return str(path)


def _make(folder: Path) -> None:
    with root.copy_of(root.make(SUITE)) as top:
        enter = ["unshare", "--mount", "--propagation", "private", "chroot", str(top), "sh", "-c", FETCH]
        listing = subprocess.run(enter, check=True, capture_output=True, text=True).stdout
        libraries = folder / "lib"
        libraries.mkdir(parents=True, exist_ok=True)
        loader = ""
        for name, file in libraries_of(listing):
            shutil.copy(_inside(top, file), libraries / name)
            loader = name if name.startswith("ld-") else loader
        made = folder / "crun.new"
        shutil.copy(top / "usr/bin/crun", made)
    interpreter = ["--set-interpreter", str(libraries / loader)]
    subprocess.run(["patchelf", *interpreter, "--force-rpath", "--set-rpath", str(libraries), str(made)], check=True)
    made.rename(folder / "crun")


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
    """Return the place of a root's file, which absolute links in it do not lead out of."""
    path = top / file.lstrip("/")
    while path.is_symlink():
        target = path.readlink()
        path = top / str(target).lstrip("/") if target.is_absolute() else path.parent / target
    return path
