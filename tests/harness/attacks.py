"""What the tests of published vulnerabilities have in common."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.harness.runtime import Runtime

OPENS = re.compile(r"^(\d+) +(?:[\d:.]+ )?(\w+)\((.*)$")
SUSPICIOUS = re.compile(
    r'"[^"]*(\.so\b|\.so\.|\.pyc?\b|\.pth\b|python|gconv|locale|nsswitch|/nss|ld\.so|zoneinfo|localtime)[^"]*"'
)
PLANTED = (
    "lib/x86_64-linux-gnu/libnss_files.so.2",
    "usr/lib/x86_64-linux-gnu/gconv/gconv-modules",
    "usr/lib/python3/dist-packages/traceback.py",
    "etc/nsswitch.conf",
    "encodings/__init__.py",
    "json/__init__.py",
)
"""Files that a library of ours might look for in the image."""

LURING = [
    "LANG=de_DE.UTF-8",
    "GCONV_PATH=/usr/lib",
    "PYTHONPATH=/",
    "TZ=Europe/Berlin",
    "LD_LIBRARY_PATH=/lib",
]
"""An environment that would have it look there."""


def installed(runtime: Runtime) -> list[Path]:
    """The files that a container would want to overwrite: the executable, its libraries, our modules, Python."""
    executable = Path(runtime.path).resolve()
    files = {executable}
    listing = subprocess.run(["ldd", executable], check=False, capture_output=True, text=True)
    files.update(Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", listing.stdout))
    if runtime.is_ocipy:
        package = Path(__file__).resolve().parents[2] / "ocipy"
        files.update(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        files.update(path.resolve() for path in executable.parent.glob("python*"))
    return sorted(files)


def fingerprint(files: list[Path]) -> dict[Path, tuple[str, int]]:
    """A digest and the size of each."""
    return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size) for path in files}


def unchanged_installation(runtime: Runtime) -> Iterator[None]:
    """Asserts that no installed file has changed at the end of the test. A runtime that fails here gets its files back:
    the attacks are real."""
    before = {path: path.read_bytes() for path in installed(runtime)}
    yield
    changed = [path for path, content in before.items() if path.read_bytes() != content]
    for path in changed:
        copy = path.with_name(path.name + ".restored")
        copy.write_bytes(before[path])
        shutil.copymode(path, copy)
        copy.rename(path)
    assert not changed


def leaked_directory(work: Path) -> Iterator[tuple[Path, list[int]]]:
    """A directory of the host with a secret, held open by the caller as fourteen descriptors."""
    directory = work / "outside"
    (directory / "bin").mkdir(parents=True)
    (directory / "secret").write_text("of the host")
    (directory / "bin/sh").write_text("#!/bin/echo reached\n")
    (directory / "bin/sh").chmod(0o755)
    first = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    descriptors = []
    for _ in range(14):
        descriptors.append(os.dup(first))
    os.close(first)
    yield directory, descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def likely_numbers(descriptors: list[int]) -> list[int]:
    """The leaked descriptors and those where a runtime's own are likely to be."""
    return sorted({*range(3, 21), *descriptors})
