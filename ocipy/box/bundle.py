"""The bundle of a box: config.json and the files it refers to, rewritten at each start."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocipy import Error, State
from ocipy.box import seccomp
from ocipy.box.config import Host, Root, User, capabilities_of, make_config
from ocipy.box.copy_on_write import FUSE
from ocipy.box.inside import read_inside
from ocipy.box.network import hosts, resolv_conf, without_name_servers
from ocipy.box.network.connection import Connection
from ocipy.box.places import USERNS_BASE, USERNS_SIZE
from ocipy.box.record import Directory, Record
from ocipy.box.request import Request
from ocipy.box.runtime import is_made_by_systemd
from ocipy.box.sizes import is_number
from ocipy.box.users import resolve
from ocipy.errors import reported_as

INIT_PROGRAMS = ("/usr/bin/catatonit", "/usr/libexec/podman/catatonit", "/usr/bin/tini-static", "/sbin/docker-init")
# The idle process's program in the box. As an annotation whose value is the box's id, it marks a container as idle.
IDLE = "/run/busybox"


def id_map_for_images(request: Request, rootless: bool) -> tuple[int, int] | None:
    """(first, count) of the host ids that own the image's files; None for the caller's."""
    return (USERNS_BASE, USERNS_SIZE) if request.userns == "auto" and not rootless else None


def id_maps(
    request: Request, rootless: bool
) -> tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]]:
    """(uid map, gid map) of the box's user namespace; empty without one. Raises Error."""
    if rootless:
        if request.userns == "host":
            raise Error("--userns host needs root: without root a box always has a user namespace", status=2)
        name, uid, gid = _user_name(), os.geteuid(), os.getegid()
        return ((0, uid, 1), *allotted("/etc/subuid", name, uid)), ((0, gid, 1), *allotted("/etc/subgid", name, uid))
    if request.userns == "auto":
        return ((0, USERNS_BASE, USERNS_SIZE),), ((0, USERNS_BASE, USERNS_SIZE),)
    return (), ()


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def allotted(path: str, name: str, uid: int) -> tuple[tuple[int, int, int], ...]:
    """A user's ranges in subuid(5) or subgid(5), as map entries that start at 1."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError:
        return ()
    made, first = [], 1
    for line in lines:
        owner, _, numbers = line.decode("utf-8", "replace").partition(":")
        start, _, count = numbers.partition(":")
        if owner and owner in (name, str(uid)) and is_number(start) and is_number(count) and int(count) > 0:
            made.append((first, int(start), int(count)))
            first += int(count)
    return tuple(made)


def is_idle(state: State) -> bool:
    """Whether the container is only an idle process. No user's label can fake that: the id is not known in advance."""
    return state.annotations.get(IDLE) == state.id


class Bundle:
    """A bundle from a record and a connection. rootless: the caller is not root. v2: the host has only cgroup v2.

    inner: the pid of a process in the box's user namespace; 0 if the runtime or the connection makes the namespace.
    """

    def __init__(
        self, directory: Directory, record: Record, connection: Connection, *, rootless: bool, v2: bool, inner: int = 0
    ) -> None:
        self.inner = inner
        self.directory = directory
        self.record = record
        self.connection = connection
        self.rootless = rootless
        self.v2 = v2

    def config(self) -> dict[str, Any]:
        """config.json. Raises Error."""
        request = self.record.request
        uid_map, gid_map = id_maps(request, self.rootless)
        host = Host(
            rootless=self.rootless,
            uid_map=uid_map,
            gid_map=gid_map,
            binds=tuple(
                (str(self.directory.path / "etc" / name), f"/etc/{name}")
                for name in ("hosts", "hostname", "resolv.conf")
            ),
            network=self.connection.path,
            user_namespace=f"/proc/{self.inner}/ns/user" if self.inner else self.connection.user_path,
            init=_init_program() if request.init else "",
            cgroup=cgroup_path(self.record.id, rootless=self.rootless),
            v2=self.v2,
            seccomp=self._seccomp(request),
        )
        config = make_config(request, self.record.image, self._user(request), self._root(), host)
        if request.privileged or request.devices:
            with_devices(config, _devices(request), rootless=self.rootless, bound=bool(uid_map))
        return config

    def write(self) -> None:
        """Write config.json, and the files of /etc that tell the box about its network. Raises Error."""
        self._write_etc()
        replace_file(self.directory.bundle / "config.json", json.dumps(self.config()) + "\n", 0o600)

    def _write_etc(self) -> None:
        record, etc = self.record, self.directory.path / "etc"
        servers = record.request.name_servers or self.connection.name_servers
        hostname = record.request.hostname
        try:
            host = Path("/etc/resolv.conf").read_text(errors="replace")
        except OSError:
            host = ""
        if record.request.network == "bridge" and not servers:
            host = without_name_servers(host)
        replace_file(etc / "resolv.conf", resolv_conf(servers, host))
        replace_file(etc / "hostname", hostname + "\n")
        replace_file(etc / "hosts", hosts(hostname, self.connection.addresses, ()))

    def write_idle(self, program: str) -> None:
        """Write the bundle for an idle process in the same box: our busybox, which sleeps, so that the files can be
        reached."""
        self._write_etc()
        config = self.config()
        config["process"] |= {"args": [IDLE, "sleep", "1000000"], "user": {"uid": 0, "gid": 0}, "terminal": False}
        config["process"]["cwd"] = "/"
        config["annotations"] = {IDLE: self.record.id}
        config["mounts"].append({"destination": IDLE, "type": "bind", "source": program, "options": ["bind", "ro"]})
        replace_file(self.directory.bundle / "config.json", json.dumps(config), 0o600)

    def _user(self, request: Request) -> User:
        rootfs = self.record.rootfs
        files = [read_inside(rootfs, f"/etc/{name}") for name in ("passwd", "group")]
        return resolve(request.user or self.record.image.user, *files)

    def _root(self) -> Root:
        path = self.directory.path
        words = ("userxattr",) if self.rootless or self.record.request.userns == "auto" else ()
        places = (str(path / "root"), self.record.rootfs, str(path / "upper"), str(path / "work"))
        return Root(*places, words, is_mounted=self.record.copy_on_write.by == FUSE)

    def _seccomp(self, request: Request) -> dict[str, Any] | None:
        wanted = next(
            (word.partition("=")[2] for word in reversed(request.security) if word.startswith("seccomp=")), ""
        )
        if wanted == "unconfined" or request.privileged:
            return None
        return seccomp.of_file(wanted or seccomp.PROFILE, capabilities_of(request))


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file under a temporary name, then rename it. Raises Error.

    A file of etc/ is overwritten in place, since a box may have it mounted, and would keep the old inode.
    """
    with reported_as("cannot write a file of the box", pointer=str(path)):
        if path.parent.name == "etc" and path.exists():
            path.write_text(text, encoding="utf-8")
            return
        new = path.with_name(f".{path.name}.new")  # nobody else writes it: the caller holds the box's lock
        with open(new, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        new.rename(path)


def cgroup_path(box_id: str, *, rootless: bool) -> str:
    """cgroupsPath: at the top, so no parent is left behind when the box ends; a scope if systemd creates the cgroups.

    "" for a user without systemd: the runtime then makes a cgroup wherever the user may, if anywhere.
    """
    if is_made_by_systemd():
        return f":ocipy-box:{box_id}"
    return "" if rootless else f"/ocipy-box-{box_id}"


def _init_program() -> str:
    for path in INIT_PROGRAMS:
        if os.access(path, os.X_OK):
            return path
    raise Error("--init: no small init is installed", hint="install catatonit")


def _devices(request: Request) -> Iterator[tuple[str, str, str]]:
    """(path on the host, path in the box, access) of each requested device."""
    import glob

    for source, destination, access in request.devices:
        if os.path.isdir(source):
            found = [path for path in sorted(glob.glob(f"{glob.escape(source)}/*")) if is_device(path)]
            if not found:
                raise Error("--device: there are no devices in the directory", pointer=source)
            for path in found:
                yield path, destination + path.removeprefix(source), access
        else:
            yield source, destination, access


def is_device(path: str) -> bool:
    """Whether the path exists and is a device."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISBLK(mode) or stat.S_ISCHR(mode)


def with_devices(
    config: dict[str, Any], devices: Iterator[tuple[str, str, str]], *, rootless: bool, bound: bool
) -> None:
    """Add host devices, and the rules that allow them. Raises Error if a path is not a device.

    bound: bind-mount the host's device: in a user namespace, which the box has, none can be made (mknod(2)).
    """
    made = config["linux"].setdefault("devices", [])
    rules = config["linux"]["resources"].setdefault("devices", [])
    for source, destination, access in devices:
        with reported_as("the device does not exist", pointer=source):
            status = os.stat(source)
        kind = "b" if stat.S_ISBLK(status.st_mode) else "c" if stat.S_ISCHR(status.st_mode) else ""
        if not kind:
            raise Error("--device: this is not a device", pointer=source)
        if rootless and not {"r", "w"} <= set(access):
            raise Error(
                f"--device: without root the access to a device cannot be limited to {access}",
                pointer=source,
                hint="leave it out: the host's permissions apply",
            )
        numbers = {"type": kind, "major": os.major(status.st_rdev), "minor": os.minor(status.st_rdev)}
        if bound:
            bind = {"type": "bind", "source": source, "options": ["bind", "nosuid", "noexec"]}
            config["mounts"].append({"destination": destination, **bind})
        else:
            mode = {"fileMode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
            made.append({"path": destination, **numbers, **mode})
        if not rootless:
            rules.append({"allow": True, **numbers, "access": access})


def check_overlay(path: str) -> None:
    """Raise Error if the directory is on an overlay filesystem: it cannot be the upper layer of another overlay."""
    with open("/proc/self/mountinfo", "rb") as file:
        if filesystem_of(os.stat(path).st_dev, file.read()) != "overlay":
            return
    raise Error(
        "the directory for boxes is on an overlay filesystem, which cannot hold the upper directory of another overlay",
        pointer=path,
        hint="set OCIPY_BOX to a directory on a disk or a tmpfs",
    )


def filesystem_of(device: int, mountinfo: bytes) -> str:
    """The type of the filesystem with this st_dev in /proc/self/mountinfo; "" if no line has it, as for a btrfs
    subvolume (proc_pid_mountinfo(5)). Pure."""
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    for line in mountinfo.split(b"\n"):
        fields, _, rest = line.partition(b" - ")
        if fields.split(b" ", 3)[2:3] == [number]:
            return rest.partition(b" ")[0].decode("ascii", "replace")
    return ""
