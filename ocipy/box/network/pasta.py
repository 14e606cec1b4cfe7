"""pasta(1): a network for boxes without root, from the host's sockets.

As with podman, the namespaces are made before the box: the runtime's init is not dumpable (PR_SET_DUMPABLE), so pasta
could not join namespaces that the runtime has made.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ocipy import Error
from ocipy.box.network.connection import Connection, IdMap
from ocipy.box.network.name_servers import name_servers
from ocipy.box.places import Places
from ocipy.box.request import Port
from ocipy.errors import reported_as

# The address of pasta's name server for the box, if the host's is on its loopback.
NAME_SERVER = "169.254.1.1"


class Pasta(Connection):
    """A user and a network namespace, held by a process until the box has joined them. pasta stays until release.

    id_maps: the user namespace's uid map and gid map. held: the pid of a process that holds both already, or 0.
    """

    def __init__(
        self, box_id: str, ports: Sequence[Port], places: Places, id_maps: tuple[IdMap, IdMap], held: int = 0
    ) -> None:
        self._held = held
        self._box_id = box_id
        self._ports = ports
        self._places = places
        self._id_maps = id_maps
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            namespaces = f"/proc/{self._held or self._hold()}/ns"
            servers = name_servers()
            words = [] if servers else ["--dns-forward", NAME_SERVER]
            begin(namespaces, pid_file(self._box_id, self._places), [*words, *words_of_ports(self._ports)])
        except BaseException:
            self._let_go()
            release(self._box_id, self._places)
            raise
        self.user_path, self.path = f"{namespaces}/user", f"{namespaces}/net"
        self.name_servers = servers or (NAME_SERVER,)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()
        if error is not None:
            release(self._box_id, self._places)

    def _hold(self) -> int:
        """The pid of a process that holds new namespaces."""
        self._holder = hold_namespaces()
        for file, entries in zip(("uid_map", "gid_map"), self._id_maps, strict=True):
            map_ids(self._holder.pid, file, entries)
        return self._holder.pid

    def _let_go(self) -> None:
        if self._holder is not None:
            self._holder.kill()
            self._holder.communicate()


def hold_namespaces() -> subprocess.Popen[bytes]:
    """A process in new user and network namespaces, which ends with us. Raises Error."""
    words = ["unshare", "--user", "--net", "cat"]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    with suppress(BrokenPipeError):
        holder.stdin.write(b"there\n")
        holder.stdin.flush()
    if holder.stdout.readline() != b"there\n":
        said = holder.communicate()[1].decode("utf-8", "replace").strip().removeprefix("unshare: ")
        raise Error(f"cannot make a user namespace: {said}", hint="docs/rootless.md has the settings that forbid it")
    return holder


def map_ids(pid: int, file: str, entries: IdMap) -> None:
    """Write a map of another process's user namespace (user_namespaces(7)). Raises Error."""
    numbers = [str(number) for entry in entries for number in entry]
    if len(entries) > 1:
        words = ["newuidmap" if file == "uid_map" else "newgidmap", str(pid), *numbers]
        try:
            done = subprocess.run(words, check=False, capture_output=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise Error(f"{words[0]} is not installed", hint="install the package uidmap") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
            raise Error(
                f"cannot write the id map: {said}", hint="/etc/subuid and /etc/subgid list the ids of each user"
            )
        return
    with reported_as(f"cannot write /proc/PID/{file}"):
        if file == "gid_map":  # the only way without CAP_SETGID
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/{file}").write_text(" ".join(numbers))


def words_of_ports(ports: Sequence[Port]) -> list[str]:
    """Ports in pasta's form; "none" without any, because pasta's default publishes all listening ports."""
    made = []
    for flag, protocol in (("-t", "tcp"), ("-u", "udp")):
        words: dict[str, list[str]] = {}
        for port in ports:
            if port.protocol == protocol:
                words.setdefault(port.address, []).append(f"{port.host}:{port.box}")
        for address, pairs in words.items():
            made += [flag, (f"{address}/" if address else "") + ",".join(pairs)]
        made += [] if words else [flag, "none"]
    return made


def begin(namespaces: str, pid_path: Path, words: Sequence[str]) -> None:
    """Have pasta connect the namespaces; it stays in the background. Raises Error with its words."""
    command = ["pasta", "--config-net", "--quiet", "--no-map-gw", "-T", "none", "-U", "none", *words]
    command += ["--pid", str(pid_path), "--userns", f"{namespaces}/user", "--netns", f"{namespaces}/net"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Error("pasta is not installed", hint="install passt, or use --network none or host") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        raise Error(f"pasta failed: {said}")


def pid_file(box_id: str, places: Places) -> Path:
    """pasta's pid file; this path on its command line identifies it."""
    return places.run / f"pasta-{box_id}.pid"


def release(box_id: str, places: Places) -> None:
    """End a box's pasta, if it runs."""
    path = pid_file(box_id, places)
    try:
        pid = int(path.read_bytes())
        fd = os.pidfd_open(pid)
    except (OSError, ValueError):
        path.unlink(missing_ok=True)
        return
    try:
        # Checked once a pidfd holds it: the pid cannot go to another process in the meantime (pidfd_open(2)).
        with suppress(OSError):
            if os.fsencode(path) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
    finally:
        os.close(fd)
    path.unlink(missing_ok=True)
