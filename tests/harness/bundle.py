"""Bundles: a root filesystem of busybox and a config.json that a test edits as a dictionary."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

_CONFIG: dict[str, Any] = {
    "ociVersion": "1.2.0",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "ocipy-test",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [
            {"type": "pid"},
            {"type": "network"},
            {"type": "ipc"},
            {"type": "uts"},
            {"type": "mount"},
            {"type": "cgroup"},
        ],
        "maskedPaths": [
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
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


# The programs that the integration tests call in a container. Each costs a link in each bundle, so list no others.
APPLETS = """
[ awk cat chmod chown chroot cmp cp cut date dd diff echo env expr false find free grep groups head hostname id ionice
ip kill ln ls mkdir mkfifo mknod mount nc nsenter od passwd pivot_root printf ps pwd readlink reset rm rmdir sed seq
setpriv setsid sh sha256sum sleep sort stat stty swapon sync sysctl tail tar taskset test timeout top touch tr true tty
umount uname unlink unshare uptime wc which xargs yes
""".split()


def default_config() -> dict[str, Any]:
    """A new config like that of `runc spec`, without a terminal."""
    return copy.deepcopy(_CONFIG)


def busybox_applets() -> list[str]:
    """All applets of the host's busybox, except busybox itself."""
    listing = subprocess.run(["/bin/busybox", "--list"], check=True, capture_output=True, text=True, timeout=60)
    return [applet for applet in listing.stdout.split() if applet != "busybox"]


class BusyboxRootfs:
    """A root filesystem from the host's static busybox, created once; bundles get cheap copies."""

    def __init__(self, path: Path, applets: Sequence[str] = APPLETS) -> None:
        """Raises AssertionError if the host has no static busybox, or it lacks an applet."""
        busybox = Path("/bin/busybox")
        assert busybox.exists(), "the tests need /bin/busybox (Debian package busybox-static)"
        self.path = path
        for directory in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr/bin", "var"):
            (path / directory).mkdir(parents=True)
        path.chmod(0o755)  # pytest makes its directories 0700
        (path / "tmp").chmod(0o1777)
        shutil.copy(busybox, path / "bin/busybox")
        missing = set(applets) - set(busybox_applets())
        assert not missing, f"/bin/busybox has no {' '.join(sorted(missing))}"
        for applet in applets:
            (path / "bin" / applet).symlink_to("busybox")
        (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        (path / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")

    def copy_to(self, target: Path, hardlinks: bool = True) -> None:
        """Copy it. Hard links cost next to nothing; without them the copy has its own busybox file."""
        target.mkdir(parents=True)
        for directory, children, files in os.walk(self.path):
            here = os.path.normpath(os.path.join(target, os.path.relpath(directory, self.path)))
            os.makedirs(here, exist_ok=True)
            shutil.copymode(directory, here)
            copied = shutil.copy2 if not hardlinks or directory.endswith("/etc") else os.link
            for name in files + [child for child in children if os.path.islink(os.path.join(directory, child))]:
                copied(os.path.join(directory, name), os.path.join(here, name), follow_symlinks=False)


class Bundle:
    """A bundle in a directory. Edit `config`, then pass it to the runtime, which calls `write()`."""

    def __init__(
        self, path: Path, busybox: BusyboxRootfs | None, cgroups_path: str | None = None, hardlinks: bool = True
    ) -> None:
        """`busybox` None leaves the root filesystem out; `cgroups_path` None leaves linux.cgroupsPath out."""
        self.path = path
        self.config: dict[str, Any] = default_config()
        if cgroups_path is not None:
            self.config["linux"]["cgroupsPath"] = cgroups_path
        path.mkdir(parents=True)
        if busybox is not None:
            busybox.copy_to(self.rootfs, hardlinks)

    @property
    def rootfs(self) -> Path:
        """The root filesystem's place on the host."""
        return self.path / "rootfs"

    @property
    def process(self) -> dict[str, Any]:
        """config.process"""
        process: dict[str, Any] = self.config["process"]
        return process

    @property
    def linux(self) -> dict[str, Any]:
        """config.linux"""
        linux: dict[str, Any] = self.config["linux"]
        return linux

    def args(self, *args: str) -> Bundle:
        """Set process.args."""
        self.process["args"] = list(args)
        return self

    def sh(self, script: str) -> Bundle:
        """Let the container run a shell script."""
        return self.args("sh", "-c", script)

    def capabilities(self, *names: str) -> Bundle:
        """Set the bounding, effective and permitted set."""
        self.process["capabilities"] = {kind: list(names) for kind in ("bounding", "effective", "permitted")}
        return self

    def join_pid_namespace(self, pid: int) -> Bundle:
        """Join a process's namespace instead of a new one."""
        for entry in self.linux["namespaces"]:
            if entry["type"] == "pid":
                entry["path"] = f"/proc/{pid}/ns/pid"
        return self

    def namespaces(self, **paths: str | None) -> Bundle:
        """Set linux.namespaces: namespaces(pid=None, network="/proc/1/ns/net") asks for a new pid namespace and
        joins a network namespace."""
        self.linux["namespaces"] = [
            {"type": kind} if path is None else {"type": kind, "path": path} for kind, path in paths.items()
        ]
        return self

    def without_namespace(self, *kinds: str) -> Bundle:
        """Remove namespaces: the container shares the runtime's."""
        self.linux["namespaces"] = [ns for ns in self.linux["namespaces"] if ns["type"] not in kinds]
        return self

    def user_namespace(self, host_id: int = 100000, size: int = 65536) -> Bundle:
        """Add a user namespace in which root is `host_id` on the host, and give the root filesystem to that id."""
        self.linux["namespaces"].append({"type": "user"})
        self.linux["uidMappings"] = [{"containerID": 0, "hostID": host_id, "size": size}]
        self.linux["gidMappings"] = [{"containerID": 0, "hostID": host_id, "size": size}]
        self.searchable()
        return self

    def searchable(self) -> Bundle:
        """Open the directories above the root filesystem to everybody (pytest's are 0700)."""
        for directory in [self.rootfs, *self.rootfs.parents]:
            if directory.stat().st_uid == os.geteuid() and directory != Path("/"):
                directory.chmod(directory.stat().st_mode | 0o111)
        return self

    def mount(self, destination: str, source: str, *options: str, type: str = "bind") -> Bundle:
        """Append a mount; without a type it is a bind mount (`rbind` unless the options have another)."""
        if type == "bind" and not {"bind", "rbind"} & set(options):
            options = ("rbind", *options)
        self.config["mounts"].append(
            {"destination": destination, "type": type, "source": source, "options": list(options)}
        )
        return self

    def without_mount(self, *destinations: str) -> Bundle:
        """Remove mounts by destination."""
        self.config["mounts"] = [m for m in self.config["mounts"] if m["destination"] not in destinations]
        return self

    def file(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Put a file in the root filesystem. Return its path on the host."""
        target = self.rootfs / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or target.exists():
            target.unlink()  # never write through a hard link into the shared original
        target.write_text(text)
        target.chmod(mode)
        return target

    def write(self) -> Path:
        """Write config.json. Return its path."""
        path = self.path / "config.json"
        path.write_text(json.dumps(self.config, indent=2))
        return path
