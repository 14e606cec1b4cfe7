"""config.json of the container that plays another Debian. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.hosts.root import CERTIFICATES

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
# Environment variables about the network and about the test machine, by name or prefix.
PASSED_ON = ("OCIPY_TEST_TIMEOUT_FACTOR", "PIP_", "GOPROXY", "GONOSUMDB", "GOSUMDB", *PROXIES)
CERTIFICATE_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
# Device nodes for tests and engines, in addition to the defaults. No block device: it would expose the host's files.
DEVICES = {"/dev/fuse": (10, 229), "/dev/net/tun": (10, 200), "/dev/kmsg": (1, 11)}


def environment(of_host: Mapping[str, str]) -> list[str]:
    """The environment of the container's processes."""
    passed = {name: value for name, value in of_host.items() if name.startswith(PASSED_ON)}
    passed.pop("PIP_FIND_LINKS", None)  # a directory of the host
    ours = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    certificates = dict.fromkeys(CERTIFICATE_VARIABLES, CERTIFICATES)
    return [f"{name}={value}" for name, value in sorted({**passed, **ours, **certificates}.items())]


def make(
    root: Path, suite: str, args: list[str], env: list[str], capabilities: list[str], shown: Sequence[Path] = ()
) -> dict[str, Any]:
    """A privileged container with the host's network and cgroups, in its caller's cgroup, without the host's files.

    shown: directories of the host that it sees at the same path, read-only.
    """
    held = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
    return {
        "ociVersion": "1.2.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": args, "env": env, "cwd": "/", "capabilities": held},
        "root": {"path": str(root)},
        "hostname": suite,
        "mounts": [
            _mount("/proc", "proc"),
            _mount("/sys", "none", "/sys", ["rbind", "rprivate"]),
            _mount("/dev", "tmpfs", options=["nosuid", "mode=755"]),
            _mount(
                "/dev/pts", "devpts", options=["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
            ),
            _mount("/dev/shm", "tmpfs", options=["nosuid", "nodev", "mode=1777"]),
            _mount("/dev/mqueue", "mqueue", options=["nosuid", "noexec", "nodev"]),
            _mount("/run", "tmpfs", options=["nosuid", "mode=755"]),
            *(_mount(str(path), "none", str(path), ["bind", "ro", "nosuid", "nodev"]) for path in shown),
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
            "rootfsPropagation": "private",
            "devices": [
                {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666}
                for path, (major, minor) in DEVICES.items()
            ],
        },
    }


def _mount(destination: str, kind: str, source: str | None = None, options: list[str] | None = None) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source or kind, "options": options or []}
