"""The bundle that all runtimes run: `runc spec`'s namespaces, mounts and masked paths on a busybox root."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

_KILL_NET_MKNOD = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
]
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_LOCKED = ["nosuid", "noexec", "nodev"]


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def config(args: list[str]) -> dict[str, Any]:
    """A config.json as data. Version 1.0.2, which every runtime here accepts."""
    sets = dict.fromkeys(("bounding", "effective", "permitted"), _KILL_NET_MKNOD)
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": args,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": sets,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "bench",
        "mounts": [
            _mount("/proc", "proc", "proc", []),
            _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
            _mount(
                "/dev/pts",
                "devpts",
                "devpts",
                ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            _mount("/dev/shm", "tmpfs", "shm", [*_LOCKED, "mode=1777", "size=65536k"]),
            _mount("/dev/mqueue", "mqueue", "mqueue", _LOCKED),
            _mount("/sys", "sysfs", "sysfs", [*_LOCKED, "ro"]),
            _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*_LOCKED, "relatime", "ro"]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": _MASKED,
            "readonlyPaths": _READONLY,
        },
    }


def make(folder: Path, args: list[str]) -> Path:
    """Write a bundle into `folder`; needs a static busybox (busybox-static). Returns the folder."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("no busybox here: install busybox-static")
    programs = folder / "rootfs" / "bin"
    programs.mkdir(parents=True)
    shutil.copy(busybox, programs / "busybox")
    for applet in ("true", "sleep", "sh"):
        (programs / applet).symlink_to("busybox")
    (folder / "config.json").write_text(json.dumps(config(args), indent=1))
    return folder
