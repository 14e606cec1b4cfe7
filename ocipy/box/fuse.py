"""A box's root on fuse-overlayfs(1), for a user to whom the kernel refuses overlayfs.

Three processes are forked for it, all of them the user's:

- The *holder* makes a user namespace with the box's ids, opens /dev/fuse in it (the kernel accepts the mount only from
  where the device was opened), and mounts the root in a new mount namespace. The runtime starts in there,
  as rootless podman does.
- The *server* executes fuse-overlayfs with that open device, in the user namespace, but outside the mount namespace.
  So it ends with the box: the last mount is in the box's mount namespace, and the kernel tells the server when it is
  gone. If the server is killed, the kernel aborts the mount: each access fails with ENOTCONN, and nothing hangs,
  because no other process has the device open. The server has only the capabilities that it needs, over the user's
  ids, and no_new_privs.
- The *inner* process makes the box's own user namespace below the holder's, and its network namespace if pasta connects
  it. So root in the box has no rights over the server.

The holder and the inner process end when the box has joined its namespaces, or with the caller.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from ocipy import Error
from ocipy.box.copy_on_write import DEVICE, FUSE
from ocipy.box.id_maps import IdMap, map_ids
from ocipy.box.pids import open_noted, wait_for_end
from ocipy.box.tools import check_installed
from ocipy.errors import caused_by
from ocipy.linux import _kernel
from ocipy.linux.capabilities import NAMES
from ocipy.linux.constants import (
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    MS_NODEV,
    MS_REC,
    MS_SLAVE,
    PR_CAPBSET_DROP,
)

GO = b"\n"
# The server acts for all of the box's users: it changes owners, modes, set-group-ID bits and file capabilities, and
# opens files that root may not. It needs nothing else, not even for device nodes or whiteouts.
NEEDED = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP")


class PreparedRoot:
    """A box's root while its container is being created: an overlay, which the runtime itself mounts.

    before: words to put before the runtime's own, which start it where it sees the root. inner: the pid of a process
    in the box's user namespace, and in its network namespace; 0 if the runtime makes them.
    """

    before: tuple[str, ...] = ()
    inner = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release what was needed only to create the container."""


class FuseRoot(PreparedRoot):
    """The same, on fuse-overlayfs.

    directory: the box's, with root, upper and work. pid_path: where to write the server's pid. network: whether the
    inner process makes a network namespace. Entering it raises Error.
    """

    def __init__(
        self, directory: Path, lower: str, pid_path: Path, id_maps: tuple[IdMap, IdMap], *, network: bool
    ) -> None:
        self._directory = directory
        self._lower = lower
        self._pid_path = pid_path
        self._id_maps = id_maps
        self._network = network
        self._held = -1
        self._pid = 0

    def __enter__(self) -> Self:
        program = check_installed(FUSE, "cannot copy the box's root on write")
        nsenter = check_installed("nsenter", "cannot enter the namespaces that have the box's root")
        told, telling = os.pipe()
        waiting, self._held = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(told)
            os.close(self._held)
            self._hold(program, telling, waiting)
        os.close(telling)
        os.close(waiting)
        try:
            with os.fdopen(told, "rb") as pipe:
                _pid_in(pipe.readline())  # the holder is in its user namespace
                map_ids(self._pid, self._id_maps)
                os.write(self._held, GO)
                self.inner = _pid_in(pipe.readline())
        except BaseException:
            self._let_go()
            raise
        namespaces = [f"--{kind}=/proc/{self._pid}/ns/{file}" for kind, file in (("user", "user"), ("mount", "mnt"))]
        self.before = (nsenter, *namespaces, "--preserve-credentials", "--")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        os.close(self._held)
        os.waitpid(self._pid, 0)

    def _hold(self, program: str, telling: int, waiting: int) -> NoReturn:
        """What the holder does, from its fork to its end."""
        try:
            _detach(telling, waiting)
            _kernel.unshare(CLONE_NEWUSER)
            _tell(telling, 0)
            if os.read(waiting, 1) != GO:
                os._exit(1)
            _become_root()
            self._mount(program)
            inner, release = self._make_inner()
            _tell(telling, inner)
            os.read(waiting, 1)
            os.close(release)
            os.waitpid(inner, 0)
        except Error as error:
            os.write(telling, json.dumps(error.to_message()).encode())
        except OSError as error:
            told = caused_by(error, f"cannot mount the box's root for {FUSE}", pointer=str(error.filename or ""))
            os.write(telling, json.dumps(told.to_message()).encode())
        finally:
            os._exit(0)

    def _mount(self, program: str) -> None:
        """Mount the root, in the holder's own mount namespace, and start the server."""
        device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        said = os.memfd_create("fuse-overlayfs")
        waiting, mounted = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(mounted)
            self._serve(program, device, said, waiting)
        self._pid_path.write_text(f"{pid}\n")
        _kernel.unshare(CLONE_NEWNS)
        # What the host unmounts is unmounted here too: in the foreground the holder lives as long as the box.
        _kernel.mount(None, "/", None, MS_REC | MS_SLAVE, None)
        root = str(self._directory / "root")
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
        _kernel.mount(FUSE, root, "fuse", MS_NODEV, options)
        os.close(device)
        os.write(mounted, GO)
        refusal = _refusal(root)
        if refusal is not None:
            words = _last_words(os.pread(said, 4096, 0))
            raise caused_by(refusal, f"{FUSE} cannot serve the box's root" + (words and f" ({words})"))

    def _serve(self, program: str, device: int, said: int, waiting: int) -> NoReturn:
        """What the server does, from its fork to its exec."""
        try:
            if os.read(waiting, 1) == GO:
                os.dup2(said, 2)
                os.umask(0)
                _drop_privileges()
                os.set_inheritable(device, True)
                places = f"lowerdir={self._lower},upperdir={self._directory}/upper,workdir={self._directory}/work"
                os.execv(program, [FUSE, "-f", "-o", places, f"/dev/fd/{device}"])
        finally:
            os._exit(1)

    def _make_inner(self) -> tuple[int, int]:
        """Start the inner process. Return its pid, and a descriptor; closing that ends it."""
        ready, making = os.pipe()
        waiting, release = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(release)
                _kernel.unshare(CLONE_NEWUSER | (CLONE_NEWNET if self._network else 0))
                _permit_inspection()
                os.write(making, GO)
                os.read(waiting, 1)
            finally:
                os._exit(0)
        os.close(making)
        os.close(waiting)
        if os.read(ready, 1) != GO:
            raise Error("cannot make the box's user namespace inside another one", hint="see user.max_user_namespaces")
        for file, entries in zip(("uid_map", "gid_map"), self._id_maps, strict=True):
            own = "".join(f"{inside} {inside} {size}\n" for inside, _, size in entries)
            Path(f"/proc/{pid}/{file}").write_text(own)
        return pid, release


def _detach(*kept: int) -> None:
    """Leave the caller's terminal, whose keys send signals, and close all descriptors except these: some are locks."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def _become_root() -> None:
    """Become root of the new user namespace."""
    with suppress(OSError):
        os.setgroups([])  # it may be denied (user_namespaces(7))
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    _permit_inspection()


def _drop_privileges() -> None:
    """Limit the server, in case an attacker takes it over. It is root of its user namespace, so the exec gives it all
    capabilities of the bounding set (capabilities(7))."""
    import prctl

    for number, name in enumerate(NAMES):
        if name not in NEEDED:
            with suppress(OSError):  # the kernel does not know it yet
                _kernel.prctl(PR_CAPBSET_DROP, number)  # python-prctl does not know CAP_CHECKPOINT_RESTORE
    prctl.set_no_new_privs(1)


def _permit_inspection() -> None:
    """Let the owner of our user namespace inspect this process, in order to enter its namespaces (ptrace(2))."""
    import prctl

    prctl.set_dumpable(True)


def _refusal(root: str) -> OSError | None:
    """Why the root cannot be read; None if it can. Waits for the server's first answer."""
    try:
        os.stat(root)
    except OSError as error:
        return error
    return None


def _last_words(said: bytes) -> str:
    """The last line of the server's messages, except the one that it always prints, about an argument for mount(8)."""
    lines = [line for line in said.decode("utf-8", "replace").split("\n") if line and "argument ignored" not in line]
    return lines[-1].removeprefix(f"{FUSE}: ") if lines else ""


def _tell(pipe: int, pid: int) -> None:
    os.write(pipe, json.dumps({"pid": pid}).encode() + GO)


def _pid_in(line: bytes) -> int:
    """The pid in a line from the holder. Raises the Error that the line holds instead."""
    document = json.loads(line or b'{"what": "the process that mounts the box\'s root has ended"}')
    if "pid" not in document:
        raise Error.from_message(document)
    return int(document["pid"])


def open_server(directory: Path, pid_path: Path) -> int | None:
    """A pidfd of the server of the box in this directory; None if it has ended."""
    mark = os.fsencode(f"upperdir={directory}/upper,")
    return open_noted(pid_path, lambda words: any(mark in word for word in words))


def check_served(directory: Path, pid_path: Path, name: str) -> None:
    """Raise Error if the server of the running box of this name has ended."""
    fd = open_server(directory, pid_path)
    if fd is None:
        raise Error(
            f"the {FUSE} that served the root of box {name} has ended, and the box cannot read its files",
            hint=f"ocipy box restart {name}",
        )
    os.close(fd)


def release(directory: Path, pid_path: Path) -> None:
    """Wait until the server of an ended box is gone: it may still have data to write. Kill it if it takes too long."""
    fd = open_server(directory, pid_path)
    if fd is not None:
        with suppress(OSError):
            if not wait_for_end(fd):
                signal.pidfd_send_signal(fd, signal.SIGKILL)
                wait_for_end(fd)
        os.close(fd)
    pid_path.unlink(missing_ok=True)
