"""Roots of other Debians: debootstrap makes them once; each run uses a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUITES = ("trixie", "sid")
# The Debian that ocipy is developed on needs no separate run, but packages are built on it.
KNOWN = ("bookworm", *SUITES)
MIRROR = "http://deb.debian.org/debian"
# The packages that a user has before README's commands.
INCLUDED = "ca-certificates,make,git,python3"
# Where the root has the host's certificates: Debian's bundle lacks a private one of the host's network.
CERTIFICATES = "/etc/ssl/host.crt"
KEEP_DAYS = 30
# Packages would apply these during installation, and the kernel is shared.
NOT_INSTALLED = ("/usr/lib/sysctl.d/*", "/etc/sysctl.d/*", "/etc/sysctl.conf")


def cache() -> Path:
    """Where the roots are kept: on disk, outside the checkout."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve()
    directory = base / "ocipy" / "hosts"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def remove(directory: Path) -> None:
    """Remove one of the cache's directories. Raises ValueError if it is anything else, or contains a mount point."""
    if directory.parent != cache() or not directory.name or directory.name in (".", ".."):
        raise ValueError(f"{directory} is not one of our directories")
    mounted = mounts_below(directory)
    if mounted:
        raise ValueError(f"not removed: {', '.join(mounted)} is mounted")
    subprocess.run(["rm", "-rf", "--one-file-system", "--", str(directory)], check=True)


def mounts_below(directory: Path) -> list[str]:
    """The mount points in a directory, as written in proc_pid_mountinfo(5)."""
    lines = Path("/proc/self/mountinfo").read_bytes().split(b"\n")
    points = [line.split(b" ")[4].decode(errors="surrogateescape") for line in lines if line]
    return [point for point in points if Path(point).is_relative_to(directory)]


def make(suite: str, mirror: str = MIRROR) -> Path:
    """The kept root of a suite; nothing runs in it. Raises CalledProcessError with debootstrap's status."""
    kept = cache() / suite
    made = kept / "etc" / "debian_version"
    if kept.exists() and (not made.exists() or _age_in_days(kept) > KEEP_DAYS):
        remove(kept)
    if not kept.exists():
        print(f"hosts: debootstrap makes a root of {suite}", flush=True)
        new = Path(tempfile.mkdtemp(prefix=f"{suite}.", dir=cache()))
        try:
            # It mounts /proc and /sys in the root; in a separate namespace these mounts end with it.
            _run_debootstrap(suite, new, mirror)
            new.chmod(0o755)
            new.rename(kept)
        except BaseException:
            remove(new)
            raise
    return kept


def _age_in_days(directory: Path) -> float:
    return (os.stat("/proc/self").st_ctime - directory.stat().st_mtime) / 86400


def _run_debootstrap(suite: str, root: Path, mirror: str) -> None:
    if shutil.which("debootstrap") is None:
        raise FileNotFoundError("debootstrap is not installed: make setup")
    log = root.with_name(root.name + ".log")
    command = ["unshare", "--mount", "--propagation", "private", "--"]
    command += ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", suite, str(root), mirror]
    try:
        with log.open("wb") as output:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    except subprocess.CalledProcessError:
        print(log.read_text(errors="replace")[-2000:], flush=True)
        raise
    finally:
        log.unlink()


def _adapt(root: Path) -> None:
    """Copy the host's network settings to the root; exclude packages' sysctl files; do not wait for the disk, since no
    root outlives its run."""
    settings = subprocess.run(["apt-config", "dump"], check=True, stdout=subprocess.PIPE).stdout
    wanted = (b"Acquire::Check-", b"Acquire::http::", b"Acquire::https::")
    lines = [line for line in settings.split(b"\n") if line.startswith(wanted)]
    (root / "etc/apt/apt.conf.d/90host").write_bytes(b"\n".join(lines) + b"\n")
    (root / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True, exist_ok=True)
    (root / "etc/dpkg/dpkg.cfg.d/90host").write_text(
        "force-unsafe-io\n" + "".join(f"path-exclude={path}\n" for path in NOT_INSTALLED)
    )
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    if Path("/etc/pip.conf").exists():
        shutil.copy("/etc/pip.conf", root / "etc/pip.conf")
    certificates = Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt")
    if certificates.exists():
        shutil.copy(certificates, str(root) + CERTIFICATES)


@contextmanager
def copy_of(kept: Path) -> Iterator[Path]:
    """A disposable copy of a kept root, removed at the end in any case. One at a time."""
    for left in cache().glob("*-run.*"):  # of a killed run, whose processes and mounts ended with its namespaces
        remove(left)
    copy = Path(tempfile.mkdtemp(prefix=f"{kept.name}-run.", dir=cache()))
    try:
        copy.chmod(0o755)
        subprocess.run(["cp", "-a", "--reflink=auto", f"{kept}/.", str(copy)], check=True)
        _adapt(copy)
        yield copy
    finally:
        remove(copy)
