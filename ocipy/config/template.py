"""The config.json that `ocipy spec` writes: a shell in a terminal, confined as usual. Cold and pure."""

from __future__ import annotations

from typing import Any

from ocipy.version import SPEC_VERSION

_NAMESPACES = ("pid", "network", "ipc", "uts", "mount", "cgroup")

_MASKED_PATHS = (
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
)

_READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def template() -> dict[str, Any]:
    """A config for a container made by root."""
    # No inheritable or ambient set: a program's own file capabilities decide (CVE-2022-29162).
    capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": SPEC_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: list(capabilities) for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "ocipy",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": kind} for kind in _NAMESPACES],
            "maskedPaths": list(_MASKED_PATHS),
            "readonlyPaths": list(_READONLY_PATHS),
        },
    }


def rootless_template(uid: int, gid: int) -> dict[str, Any]:
    """A config for a container made by a user: this uid and gid are root inside, and no other ids exist."""
    config = template()
    linux = config["linux"]
    del linux["resources"]  # the user may have no delegated cgroup to limit
    # Mounting sysfs needs a new network namespace, and in one a user would have no network.
    spaces = [space for space in linux["namespaces"] if space["type"] != "network"]
    linux["namespaces"] = [*spaces, {"type": "user"}]
    linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": gid, "size": 1}]
    for mount in config["mounts"]:
        if mount["destination"] == "/sys":
            mount.update(type="none", source="/sys", options=["rbind", *mount["options"]])
        elif "options" in mount:
            mount["options"] = [option for option in mount["options"] if not option.startswith(("uid=", "gid="))]
    return config


def _mounts() -> list[dict[str, Any]]:
    inert = ["nosuid", "noexec", "nodev"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/dev/shm", "tmpfs", "shm", [*inert, "mode=1777", "size=65536k"]),
        _mount("/dev/mqueue", "mqueue", "mqueue", inert),
        _mount("/sys", "sysfs", "sysfs", [*inert, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*inert, "relatime", "ro"]),
    ]


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}
