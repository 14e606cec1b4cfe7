"""One box, from its creation to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ocipy import Container, Error, Plan, Runtime, TimeoutExpired
from ocipy import State as RuntimeState
from ocipy.box import network, oom, roots
from ocipy.box.bundle import Bundle, id_map_for_images, id_maps, is_idle
from ocipy.box.cgroup import Paths, memory_events
from ocipy.box.forwarding import Forwarding
from ocipy.box.limits import named_by_flags
from ocipy.box.network import Network
from ocipy.box.orphans import end_callers
from ocipy.box.peers import tell_peers
from ocipy.box.processes import pids_of, table
from ocipy.box.record import GONE, Directory, Record, now
from ocipy.box.request import ExecRequest
from ocipy.box.roots import root_of
from ocipy.box.runtime import Home, executable_path, is_made_by_systemd, is_v2, make_runtime
from ocipy.box.trees import remove_tree
from ocipy.box.volumes import make_sources

if TYPE_CHECKING:
    from ocipy.box import monitor

STOP_PATIENCE = 10.0  # seconds: docker's
END_PATIENCE = 10.0
POLL = 0.02


class Prepared(NamedTuple):
    """runtime: makes the container. held: descriptors that must stay open until the box ends."""

    runtime: Runtime
    held: Sequence[int]


class Box:
    """One box. `record` is as of this object's creation; reload() reads it again."""

    def __init__(self, home: Home, directory: Directory, record: Record) -> None:
        self.home = home
        self.directory = directory
        self.record = record
        self.id = record.id

    @property
    def container(self) -> Container:
        """The box's container, which exists while the box runs."""
        return self.home.runtime.container(self.id)

    def reload(self) -> Record:
        """Read the record again."""
        self.record = self.directory.load()
        return self.record

    def state(self) -> RuntimeState | None:
        """The container's state; None if there is no container, such as after a reboot, or only an idle one."""
        try:
            state = self.container.state()
        except Error:
            return None
        return None if is_idle(state) else state

    def cgroup(self) -> Paths:
        """The directories of its cgroup; empty if it has none, or does not run."""
        try:
            return self.container.cgroup()
        except Error:
            return {}

    def status(self) -> str:
        """running, paused, created (it has not run yet), or exited."""
        state = self.state()
        if state is not None and state.status in ("running", "paused"):
            return state.status
        return "created" if self.record.started is None else "exited"

    def is_running(self) -> bool:
        """Whether it runs or is paused."""
        return self.status() in ("running", "paused")

    def set_root_owner(self) -> None:
        """Give the upper directory the mode and owner of the image's root, and the mount point to the box's root."""
        upper = self.directory.path / "upper"
        status = os.stat(self.record.rootfs)
        if not self.home.rootless:
            for name in ("upper", "work"):
                os.chown(self.directory.path / name, status.st_uid, status.st_gid)
            owner = id_map_for_images(self.record.request, False)
            if owner is not None:
                os.chown(self.directory.path / "root", owner[0], owner[0])
        upper.chmod(status.st_mode & 0o7777)

    @property
    def network(self) -> Network:
        """Its network, as of the last reload()."""
        return Network(self.record.request.network, self.record.addresses, self.record.request.ports)

    @contextmanager
    def prepared(self) -> Iterator[Prepared]:
        """Write the bundle, and set up the root and the network. The caller creates the container in the block."""
        request = self.record.request
        self._clear()
        maps = id_maps(request, self.home.rootless)
        with (
            root_of(self.home, self.directory, self.record, request.network) as root,
            network.connect(
                request.network, self.id, request.ports, self.home.places, maps, held=root.inner
            ) as connection,
        ):
            bundle = Bundle(
                self.directory, self.record, connection, rootless=self.home.rootless, v2=is_v2(), inner=root.inner
            )
            bundle.write()
            make_sources(request.volumes)
            self.record = self.directory.change(
                addresses=connection.addresses,
                started=now(),
                finished=None,
                exit_status=None,
                oom_kills=0,
                monitor=0,
            )
            if connection.addresses:
                tell_peers(self.home.places)
            runtime = make_runtime(self.home.places, root.before)
            yield Prepared(runtime, [one.fileno() for one in connection.sockets])

    def _clear(self) -> None:
        """Remove what a killed run has left behind: its processes on the host, its container, its network."""
        if (self.directory.bundle / "config.json").exists():  # otherwise the runtime has never been called
            end_callers(str(self.directory.bundle))
            self.container.delete(force=True)
        network.release(self.record.request.network, self.id, self.home.places)
        roots.release(self.home, self.directory, self.record)
        self.directory.exit_file.unlink(missing_ok=True)
        oom.forget(self.directory)

    def run(self) -> int:
        """Run it in the foreground, on our streams. Return its exit status. Raises Error if it cannot start."""
        request = self.record.request
        self.check_idle()  # do not wait for a `box run` in the foreground, which holds the lock until the box ends
        with self.directory.locked():
            self.check_idle()
            watch = oom.Watch(self.cgroup, needed=self._needs_watch())
            begun = False
            try:
                with (
                    named_by_flags(request.limits, rootless=self.home.rootless),
                    self.prepared() as prepared,
                    Forwarding(self.container),
                    watch,
                ):
                    stdin = None if request.interactive or request.terminal else subprocess.DEVNULL
                    begun = True
                    done = prepared.runtime.run(self.id, self.directory.bundle, keep=True, stdin=stdin)
            except BaseException:
                if begun:
                    self.ended(None)  # after the root has been released: only then does its server end
                raise
            return self.ended(done.returncode, watch.counts)

    def _needs_watch(self) -> bool:
        """Whether its cgroup vanishes when it ends, and with it the count of OOM kills."""
        return self.record.request.limits.memory is not None and is_v2() and is_made_by_systemd()

    def check_idle(self) -> None:
        """Raise Error if it runs."""
        if self.is_running():
            raise Error(f"box {self.record.name} is already running")

    def start(self) -> None:
        """Start it in the background, under conmon. Raises Error."""
        from ocipy.box import monitor

        request = self.record.request
        self.check_idle()
        with self.directory.locked():
            self.check_idle()
            try:
                with named_by_flags(request.limits, rootless=self.home.rootless), self.prepared() as prepared:
                    words = monitor.words(self.directory, self.record, prepared.runtime.executable.words)
                    monitor.begin(words, self.directory.bundle, prepared.held)
                    if self._needs_watch():
                        oom.begin((executable_path(), "box", "_watch", self.id))
                    self.container.start()
            except BaseException:
                self._clear()  # after the root has been released, as in run
                raise
            self.record = self.directory.change(monitor=_number_in(self.directory.bundle / "conmon.pid"))

    def ended(self, status: int | None, watched: Mapping[str, int] = MappingProxyType({})) -> int:
        """Clean up after a run. status: the process's exit status; None if it never started.

        watched: the counts of an oom.Watch. For a box in the background another process watches them, and conmon leaves
        a file if it has seen an OOM kill.
        """
        last = memory_events(self.cgroup())
        self.container.delete(force=True)
        seen = (watched, last, oom.counts_of(self.directory))
        kills = max(int(self.directory.oom_file.exists()), *(oom.kills_in(counts, status) for counts in seen))
        network.release(self.record.request.network, self.id, self.home.places)
        roots.release(self.home, self.directory, self.record)
        had_network = bool(self.record.addresses)
        ending = self.record if self.record.remove else self.directory.load()
        self.record = ending._replace(exit_status=status, finished=now(), oom_kills=kills, monitor=0, addresses=())
        if not self.record.remove:
            self.directory.save(self.record)
        if had_network:
            tell_peers(self.home.places)
        if self.record.remove:
            self._remove_directory()
        return status if status is not None else 0

    def stop(self, patience: float = STOP_PATIENCE) -> None:
        """Send the image's stop signal (default: SIGTERM), and after `patience` seconds SIGKILL. Raises Error."""
        if not self.is_running():
            return
        if self.status() == "paused":
            self.container.resume()
        with suppress(Error):
            self.container.kill(self.record.image.stop_signal or signal.SIGTERM)
        if not self._wait_stopped(patience):
            with suppress(Error):
                self.container.kill(signal.SIGKILL)
            self._wait_stopped(END_PATIENCE)
        self._wait_until_recorded()

    def kill(self, number: int | str) -> None:
        """Send a signal, by number or name, to its first process. Raises Error."""
        if not self.is_running():
            raise Error(f"box {self.record.name} is not running")
        self.container.kill(number)

    def _wait_stopped(self, patience: float) -> bool:
        try:
            self.container.wait(patience)
        except TimeoutExpired:
            return False
        except Error:
            return True  # it has ended in the meantime
        return True

    def _wait_until_recorded(self) -> None:
        """Wait until the box's monitor has recorded its end; if that takes too long, record it here."""
        deadline = time.monotonic() + END_PATIENCE
        while time.monotonic() < deadline:
            try:
                if self.reload().finished is not None or (self.state() is None and self.record.monitor == 0):
                    return
            except Error:
                return  # it was removed when it ended
            time.sleep(POLL)
        from ocipy.box import monitor

        with self.directory.locked():
            self.ended(monitor.exit_status(self.directory))

    def wait(self) -> int:
        """Wait until it has ended. Return its exit status, -1 if that is unknown. Raises Error."""
        while True:
            record = self.reload()
            if record.finished is not None:
                return record.exit_status if record.exit_status is not None else -1
            if record.started is None or (not self.is_running() and record.monitor == 0):
                raise Error(f"box {record.name} is not running")
            self._wait_stopped(1.0)
            time.sleep(POLL)

    def remove(self, force: bool = False) -> None:
        """Remove it and everything it has written. force: kill it first. Raises Error if it runs."""
        if self.is_running():
            if not force:
                raise Error(
                    f"box {self.record.name} is running",
                    hint=f"stop it first (ocipy box stop {self.record.name}), or use rm -f",
                )
            with suppress(Error):
                self.container.kill(signal.SIGKILL, all=True)
            self._wait_stopped(END_PATIENCE)
        try:
            with self.directory.locked():
                self._clear()
                self._remove_directory()
        except Error:
            if self.directory.path.exists():
                raise

    def _remove_directory(self) -> None:
        gone = self.directory.path.with_name(GONE + self.id)
        self.directory.path.rename(gone)
        remove_tree(gone)

    def exec(self, request: ExecRequest) -> int:
        """Run another process in it. Return its exit status; 0 for one in the background. Raises Error."""
        command, cwd, environment = request.command, request.cwd, dict(request.environment)
        user = self._ids_to_exec(request.user)
        if request.detach:
            with open(os.devnull, "r+b") as null:
                self.container.spawn(
                    command, cwd=cwd, env=environment, user=user, stdin=null, stdout=null, stderr=null
                ).close()
            return 0
        stdin = None if request.interactive or request.terminal else subprocess.DEVNULL
        done = self.container.exec(command, cwd=cwd, env=environment, user=user, tty=request.terminal, stdin=stdin)
        return done.returncode

    def plan_exec(self, request: ExecRequest) -> Plan:
        """What exec would do. Raises the same Errors."""
        user = self._ids_to_exec(request.user)
        return self.container.plan_exec(
            request.command, cwd=request.cwd, env=dict(request.environment), user=user, tty=request.terminal
        )

    def _ids_to_exec(self, user: str) -> str:
        """UID:GID of a user of the box; "" for "". Raises Error if nothing can be executed in the box."""
        from ocipy.box.files import user_of

        state = self._running()
        if not user:
            return ""
        who = user_of(user, state.pid, rootless=self.home.rootless)
        return f"{who.uid}:{who.gid}"

    def _running(self) -> RuntimeState:
        """The state of the box. Raises Error unless it runs and can read its files."""
        state = self.state()
        if state is None or not self.is_running():
            raise Error(f"box {self.record.name} is not running", hint=f"ocipy box start {self.record.name}")
        roots.check(self.home, self.directory, self.record)
        return state

    @contextmanager
    def files(self) -> Iterator[int]:
        """The pid of a process with the box's root, for files.at_root_of. If the box does not run, an idle process
        runs in it during the block. Raises Error."""
        from ocipy.box import idle

        if not self.is_running():
            with self.directory.locked():
                if not self.is_running():  # nobody has started it meanwhile
                    self._clear()
                    with idle.started(self.home, self.directory, self.record, self.container) as pid:
                        yield pid
                    return
        yield self._running().pid

    def processes(self) -> str:
        """A table of its processes, as the host's ps(1) shows them. Raises Error if it does not run."""
        if not self.is_running():
            raise Error(f"box {self.record.name} is not running", hint=f"ocipy box start {self.record.name}")
        return table(pids_of(self.container))

    def logs(self, *, follow: bool = False) -> Iterator[monitor.LogLine]:
        """What it has written in the background. follow: continue with new output until it ends."""
        from ocipy.box import monitor

        offset = 0
        while True:
            running = self.is_running()
            for after, line in monitor.log_lines(self.directory.log, offset):
                offset = after
                yield line
            if not follow or not running:
                return
            time.sleep(POLL * 5)


def _number_in(path: Path) -> int:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return 0
