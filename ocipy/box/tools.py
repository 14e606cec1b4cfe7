"""The programs that boxes need, and what their failures mean: a line of text, where a system call gives an errno."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

from ocipy import Error
from ocipy.errors import CAUSES, caused_by

# Debian's package, if it does not have the program's name.
PACKAGES = {
    "newgidmap": "uidmap", "newuidmap": "uidmap", "nft": "nftables", "nsenter": "util-linux", "pasta": "passt",
    "ps": "procps", "unshare": "util-linux", "xz": "xz-utils",
}  # fmt: skip
ID_MAPS = (
    (
        "failed: Operation not permitted",
        "newuidmap and newgidmap must be set-uid root or have file capabilities, on a filesystem without nosuid: "
        "reinstall the package uidmap",
    ),
    ("not allowed|not found", "/etc/subuid and /etc/subgid list the ids of each user"),
)
# How skopeo and umoci begin the line that says why they failed. Their other goroutines may print more after it.
FATAL = re.compile("time=[^ ]+ level=fatal |\u2a2f ")
# Where the message is in a line of logrus, the logging library of skopeo and umoci.
QUOTED = re.compile(r'msg=("(?:[^"\\]|\\.)*")')
# What skopeo puts before its reason. Our own message names the image already.
NAMED = re.compile(r'^Error parsing image name "[^"]*": ')
# Programs that need several lines to say why they failed, and how many.
WORDY = {"pasta": 3}
# What pasta says in between on a host without syslog.
NO_SYSLOG = re.compile(r"Failed to send \d+ bytes to syslog$")
# By program: patterns in its message, and the likely cause. The first match counts.
HINTS: dict[str, tuple[tuple[str, str], ...]] = {
    "newgidmap": ID_MAPS,
    "newuidmap": ID_MAPS,
    "nft": (
        ("Operation not permitted", "a bridge needs CAP_NET_ADMIN in the host's network namespace"),
        ("/dev/stdin", "/dev/stdin must lead to /proc/self/fd/0, as udev makes it, and /proc must be mounted"),
        ("", "the kernel may lack nf_tables or nf_nat"),
    ),
    "pasta": (
        (
            "open (/dev/net/)?tun",
            "/dev/net/tun must exist (as root: modprobe tun) and be open to the user: mode 0666, as udev makes it",
        ),
        (
            "(?i)failed to bind|failed to listen|listen on",
            "another program uses the port (see ss -lntup), or it is below net.ipv4.ip_unprivileged_port_start",
        ),
        ("(?i)external (routable )?interface", "the host has no default route: use --network none or host"),
    ),
    "skopeo": (
        ("manifest unknown|name unknown", "the registry has no image of this name and tag"),
        (
            "unauthorized|authentication required|access to the resource is denied",
            "there is no such image, or it needs a login: skopeo login REGISTRY",
        ),
        ("toomanyrequests", "the registry limits the number of pulls: log in (skopeo login REGISTRY), or wait"),
        (
            "x509:|HTTP response to HTTPS client",
            "a registry on another machine needs TLS, and a certificate that this host trusts",
        ),
        (
            "dial tcp|no such host|i/o timeout|Client.Timeout|network is unreachable",
            "the registry cannot be reached: check its name, the network and the name server",
        ),
    ),
    "unshare": (
        ("No space left on device", "the sysctl user.max_user_namespaces or user.max_net_namespaces allows no more"),
        ("", "docs/rootless.md has the settings that forbid it"),
    ),
}


def output_of(words: Sequence[str], what: str, instead: str = "") -> bytes:
    """Run a program. Return its output. Raises Error: `what`, and the message in the program's last line.

    instead: what else to do if the program is not installed.
    """
    with begin(words, what, instead, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output, said = process.communicate()
    if process.returncode:
        raise failed(words[0], what, _message_of(last_words(words[0], said)), process.returncode)
    return bytes(output)


def begin(words: Sequence[str], what: str, instead: str = "", **options: Any) -> subprocess.Popen[bytes]:
    """Start a program, by default without input. Raises Error, as output_of does, if it cannot be executed.

    options: subprocess.Popen's.
    """
    try:
        return subprocess.Popen(words, **{"stdin": subprocess.DEVNULL, **options})
    except OSError as error:
        if isinstance(error, FileNotFoundError) and error.filename == words[0]:
            raise not_installed(words[0], what, instead) from None
        raise caused_by(error, f"{what}: cannot execute {words[0]}") from None


def check_installed(program: str, what: str, instead: str = "") -> str:
    """The program's path. Raises Error, as output_of does, if it is not in PATH."""
    path = shutil.which(program)
    if path is None:
        raise not_installed(program, what, instead)
    return path


def not_installed(program: str, what: str, instead: str = "") -> Error:
    """The Error for a program that is missing."""
    hint = f"install {PACKAGES.get(program, program)}" + (f", or {instead}" if instead else "")
    return Error(f"{what}: {program} is not installed", hint=hint)


def failed(program: str, what: str, said: str, status: int = 1) -> Error:
    """The Error for a program that has failed. said: its last words; if they end with a system call's error, that
    becomes the Error's errno. status: as in subprocess.Popen.returncode."""
    if status < 0:
        hint = "the kernel does that when memory has run out: see dmesg" if status == -signal.SIGKILL else ""
        return Error(f"{what}: {program} was killed by {signal.Signals(-status).name}", hint=hint)
    number = errno_of(said)
    hint = next((hint for pattern, hint in HINTS.get(program, ()) if re.search(pattern, said)), "")
    words = said[: -len(os.strerror(number))].removesuffix(": ") if number else said
    return Error(f"{what}: {words}" if words else what, errno=number, hint=hint)


def check_not_its_input(program: str, what: str, said: str, status: int) -> None:
    """Raise Error if a program that failed was killed, or names a system call's error: its input is not to blame.

    said, status: as in failed.
    """
    if status < 0 or errno_of(said):
        raise failed(program, what, said, status) from None


def errno_of(said: str) -> int:
    """The errno whose description ends a message, in C's or Go's spelling; 0 if there is none."""
    lower = said.lower()
    return next((number for number in CAUSES if lower.endswith(os.strerror(number).lower())), 0)


def last_words(program: str, said: bytes) -> str:
    """Why a program has failed, from what it has printed: in most cases its last line."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").split("\n") if line.strip()]
    lines = [line for line in lines if not NO_SYSLOG.match(line)]
    if program in WORDY:
        return "; ".join(lines[-WORDY[program] :])
    return next((line for line in reversed(lines) if FATAL.match(line)), lines[-1] if lines else "")


def _message_of(line: str) -> str:
    """The message in a line that logrus has written; any other line unchanged."""
    quoted = QUOTED.search(line)
    message = line.strip()
    if quoted is not None:
        try:
            message = str(json.loads(quoted[1]))  # Go quotes almost as JSON does
        except ValueError:
            message = quoted[1].strip('"')
    return NAMED.sub("", message.removeprefix("\u2a2f "))
