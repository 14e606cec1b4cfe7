"""Shared code for the tests of published vulnerabilities."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Container, Iterator
from pathlib import Path

from tests.harness.host import wait_until
from tests.harness.private import TOP, is_protected
from tests.harness.runtime import Runtime
from tests.harness.text import lines

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
"""Files that one of our libraries might look for in the image."""

LURING = [
    "LANG=de_DE.UTF-8",
    "GCONV_PATH=/usr/lib",
    "PYTHONPATH=/",
    "TZ=Europe/Berlin",
    "LD_LIBRARY_PATH=/lib",
]
"""An environment that would make it look there."""

EVERYTHING = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_KILL", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN",
    "CAP_SETUID", "CAP_SETGID", "CAP_MKNOD", "CAP_SYS_CHROOT",
)  # fmt: skip

OVERWRITE = """
echo ready
while :; do
  for p in /proc/[0-9]*; do
    case $p in /proc/1|/proc/self|/proc/$$) continue;; esac
    case $(readlink $p/exe 2>/dev/null) in /bin/busybox|"") continue;; esac
    ( exec 8< $p/exe && n=0 && while [ $n -lt 200 ]; do n=$((n+1)); echo attack > /proc/self/fd/8 && break; done ) &
  done 2>/dev/null
done"""
"""Keeps the executable of each process that enters the pid namespace open, and writes to it when it can."""


def look_for(marker: Path) -> str:
    """A script that looks for a host file through the root, cwd and file descriptors of each process that enters."""
    return f"""
    echo ready
    while :; do
      for p in /proc/[0-9]*; do
        case $p in /proc/1) continue;; esac
        for l in $p/root $p/cwd $p/fd/*; do
          [ -e $l{marker} ] && echo REACHED $l
        done
      done 2>/dev/null
    done"""


def make_entering(place: Path) -> Path:
    """Compile enter.c. Return the program's path."""
    program = place / "enter"
    subprocess.run(["cc", "-static", "-O1", "-Wall", "-o", program, Path(__file__).with_name("enter.c")], check=True)
    return program


def wait_for_overwriting(pid: int, entering: Path, work: Path) -> None:
    """Check that OVERWRITE in this process's container is a real attack: it overwrites unsealed programs.

    Only copies enter, and none of them executes another host program instead."""
    for path in (Path("/bin/sh"), Path("/bin/busybox"), Path(sys.executable)):
        assert is_protected(path), f"{path} could be overwritten; no attack without tests/harness/private.py"
    programs = [Path(shutil.copy(original, work)) for original in (entering, "/bin/busybox")]
    before = fingerprint(programs)

    def overwritten() -> bool:
        try:
            subprocess.run([programs[0], str(pid), programs[1], "sleep", "0.03"], check=False)
        except OSError as error:
            # The attack has overwritten it in the meantime, or is doing so now.
            assert error.errno in (errno.ENOEXEC, errno.ETXTBSY), error
        return fingerprint(programs) != before

    wait_until(overwritten, "an unsealed program overwritten")


def abstract_sockets(text: str) -> set[str]:
    """The abstract names (@…) in the content of /proc/net/unix. A name is the eighth field, and may contain blanks."""
    fields = [line.split(maxsplit=7) for line in lines(text)]
    return {words[7] for words in fields if len(words) == 8 and words[7].startswith("@")}


def assert_nothing_loaded(trace: str, entering: Container[str]) -> None:
    """Assert, in a trace of strace -f, that no process opens a SUSPICIOUS path between `entering` and its exec."""
    inside: set[str] = set()
    seen: set[str] = set()
    succeeded = False
    checked = 0
    for line in lines(trace):
        match = OPENS.match(line)
        if match is None:
            continue
        pid, call, rest = match.groups()
        if succeeded and pid not in seen:
            inside.add(pid)
            succeeded = False
        seen.add(pid)
        if call in entering and "= 0" in rest:
            inside.add(pid)
        elif call in ("clone", "clone3") and pid in inside:
            # Where a child continues in the place of its parent, the parent's call does not return.
            succeeded = "unfinished" in rest
            inside.add(rest.rpartition("= ")[2].strip())
        elif call in ("execve", "execveat"):
            inside.discard(pid)
        elif pid in inside:
            checked += 1
            assert not SUSPICIOUS.search(rest), line
    assert checked > 0, f"the trace holds no call after {entering}"


def installed(runtime: Runtime) -> list[Path]:
    """The files that a container would overwrite: the executable, its libraries, our modules, Python."""
    executable = Path(runtime.path).resolve()
    files = {executable}
    listing = subprocess.run(["ldd", executable], check=False, capture_output=True).stdout
    files.update(Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", os.fsdecode(listing)))
    if runtime.is_ocipy:
        package = Path(__file__).resolve().parents[2] / "ocipy"
        files.update(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        files.update(path.resolve() for path in executable.parent.glob("python*"))
    return sorted(files)


def fingerprint(files: list[Path]) -> dict[Path, tuple[str, int]]:
    """The digest and size of each file."""
    return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size) for path in files}


def copy_of_runtime(runtime: Runtime, place: Path) -> Path:
    """Copy the runtime to a writable filesystem, for an attack. Returns the executable's path.

    An executable that does not depend on its place is copied alone; an installed ocipy, with its environment.
    """
    executable = Path(runtime.path).resolve()
    environment = executable.parents[1]
    if (environment / "pyvenv.cfg").exists() and not executable.is_relative_to(TOP):
        shutil.copytree(environment, place, symlinks=True)
        copy = place / "bin" / executable.name
    else:
        place.mkdir()
        copy = Path(shutil.copy(executable, place))
    assert os.access(copy, os.W_OK), f"{copy} could not be overwritten anyway: the test would show nothing"
    return copy


def unchanged_installation(runtime: Runtime, work: Path, programs: list[Path]) -> Iterator[None]:
    """Makes calls use a copy of the runtime; asserts at the end that neither the copy nor a host file has changed."""
    original, place = runtime.path, work / "attacked"
    runtime.path = str(copy_of_runtime(runtime, place))
    watched = sorted({*installed(runtime), *programs, *(path for path in place.rglob("*") if path.is_file())})
    before = fingerprint(watched)
    yield
    runtime.path = original  # if the copy was overwritten, the original must remove its containers
    after = fingerprint(watched)
    assert [path for path in watched if before[path] != after[path]] == []


def leaked_directory(work: Path) -> Iterator[tuple[Path, list[int]]]:
    """A host directory with a secret; the caller holds it open through fourteen file descriptors."""
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
    """The leaked file descriptors, and the numbers that a runtime's descriptors are likely to have."""
    return sorted({*range(3, 21), *descriptors})
