"""Nothing that commands import needs the modules that a static libpython may lack (inittab.py)."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ocipy
from ocipy.launcher import blake2, inittab

# The modules that Debian's libpython3.14.a lacks, and 3.14's module with all of HACL*'s authentication codes.
LACKING = {"_blake2", "_hmac", "_md5", "_sha1", "_sha2", "_sha3"}
# Run in a separate Python: imports all our modules, and with them everything that they import.
EVERYTHING = """
import importlib, pkgutil, sys
sys.path[:0] = {places!r}
for name in {lacking!r}:
    sys.modules[name] = None
if {ours}:
    from ocipy.launcher import blake2
    sys.modules["_blake2"] = blake2
import hashlib, hmac, random, secrets, tempfile, uuid
import jsonschema, pyroute2, rich.progress
import ocipy
for found in pkgutil.walk_packages(ocipy.__path__, "ocipy."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
print(hashlib.sha256(b"").hexdigest()[:8], hashlib.blake2b(b"x").hexdigest()[:8])
"""


def left_out() -> set[str]:
    """The modules that inittab.py leaves out of this Python's archive; none without an archive."""
    archive = Path(sysconfig.get_config_var("LIBPL") or "/", sysconfig.get_config_var("LIBRARY") or "none")
    if not archive.exists():
        return set()
    words = ["nm", "--extern-only", "--format=posix", str(archive)]
    listing = subprocess.run(words, check=True, capture_output=True).stdout.decode(errors="replace")
    chosen = inittab.choose(inittab.read_symbols(listing)).keys() | set(inittab.WITHOUT_FUNCTION)
    return set(sys.builtin_module_names) - chosen


def imported(*, ours: bool) -> subprocess.CompletedProcess[str]:
    places = [str(Path(ocipy.__file__).parents[1]), *(path for path in sys.path if path.endswith("-packages"))]
    script = EVERYTHING.format(places=places, lacking=sorted(LACKING | left_out()), ours=ours)
    environment = {name: os.environ[name] for name in ("LD_PRELOAD", "ASAN_OPTIONS") if name in os.environ}
    words = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", script]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def test_everything_is_imported_without_complaints() -> None:
    done = imported(ours=True)
    assert (done.stdout, done.stderr) == ("e3b0c442 " + hashlib.blake2b(b"x").hexdigest()[:8] + "\n", "")


def test_without_blake2_hashlib_complains() -> None:
    """If it no longer does, blake2.py is not needed."""
    assert "blake2b" in imported(ours=False).stderr


def test_the_functions_agree_with_hashlib() -> None:
    for ours, python in ((blake2.blake2b, hashlib.blake2b), (blake2.blake2s, hashlib.blake2s)):
        for text in (b"", b"some words"):
            assert ours(text).digest() == python(text).digest()
        assert ours(b"", usedforsecurity=False).digest_size == python().digest_size
        with pytest.raises(ValueError, match="not 16"):
            ours(b"", digest_size=16)


def test_pythons_own_is_not_replaced() -> None:
    blake2.stand_in()
    assert sys.modules.get("_blake2") is not blake2
