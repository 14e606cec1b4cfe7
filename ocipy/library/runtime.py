"""The runtime as an object (state directory, executable, global flags), and its containers by id."""

from __future__ import annotations

import json
import os
import signal as signals
import subprocess
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ocipy.library import executable as executables
from ocipy.library.executable import Executable, Stream, StrPath, captured
from ocipy.library.flags import creation_flags, exec_words
from ocipy.library.records import Finding, Plan, State, TimeoutExpired
from ocipy.linux.signals import number
from ocipy.operations.processes import processes
from ocipy.state.directory import state_root
from ocipy.state.state import load

if TYPE_CHECKING:
    from ocipy.library.process import Process


class Runtime:
    """An ocipy executable and its containers.

    root: the directory of their state; defaults to that of the command line. executable: its path; by default it is
    looked up when first needed: next to this package, in this Python's environment, and in PATH.
    cgroup_manager, rootless: as --cgroup-manager ("cgroupfs", "systemd" or "disabled") and --rootless (None: auto).
    before: words to put before each call: a command that executes the rest, such as nsenter(1) with its flags.
    Every call may raise ocipy.Error.
    """

    def __init__(
        self,
        root: StrPath = "",
        *,
        executable: StrPath = "",
        cgroup_manager: str = "cgroupfs",
        rootless: bool | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self.root = state_root(os.fspath(root))
        self._root_is_given = bool(root)
        if cgroup_manager not in ("cgroupfs", "systemd", "disabled"):
            raise ValueError(f"unknown cgroup manager: {cgroup_manager!r}")
        self._cgroup_manager = cgroup_manager
        self._rootless = rootless
        self._path = os.fspath(executable)
        self._before = tuple(before)
        self._executable: Executable | None = None

    def __repr__(self) -> str:
        return f"Runtime({self.root!r})"

    @property
    def executable(self) -> Executable:
        """The executable, with the global flags."""
        if self._executable is None:
            flags = ["--root", self.root, "--cgroup-manager", self._cgroup_manager]
            if self._rootless is not None:
                flags += ["--rootless", "true" if self._rootless else "false"]
            self._executable = Executable(self._path or executables.find(), flags, self._before)
        return self._executable

    def create(
        self,
        container_id: str,
        bundle: StrPath,
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        console_socket: StrPath = "",
        pidfd_socket: StrPath = "",
        pid_file: StrPath = "",
        preserve_fds: int = 0,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> Container:
        """Make the container of a bundle; its process then waits for Container.start.

        The streams become its process's: None for the caller's own, a file, or a descriptor. The other parameters are
        the flags of `ocipy create`: console_socket takes a ConsoleSocket, preserve_fds N passes descriptors 3 to N + 2.
        """
        flags = creation_flags(
            bundle,
            console_socket,
            pidfd_socket,
            pid_file,
            preserve_fds,
            no_pivot=no_pivot,
            no_new_keyring=no_new_keyring,
        )
        self.executable.leaving(
            "create", *flags, container_id,
            preserve_fds=preserve_fds, stdin=stdin, stdout=stdout, stderr=stderr,
        )  # fmt: skip
        return Container(self, container_id)

    def run(
        self,
        container_id: str,
        bundle: StrPath,
        *,
        input: bytes | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        capture_output: bool = False,
        timeout: float | None = None,
        keep: bool = False,
        preserve_fds: int = 0,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Create and start a container, wait until it ends, and delete it unless keep is set.

        The streams, input, capture_output and timeout (seconds) are those of subprocess.run. The result's returncode is
        that of the container's process, 128 + the signal that killed it. With process.terminal, its input comes from
        standard input, and its output goes to standard output.

        Raises TimeoutExpired after killing the container, and deleting it unless keep is set.
        """
        stdout, stderr = captured(capture_output, stdout, stderr)
        flags = creation_flags(bundle, preserve_fds=preserve_fds, no_pivot=no_pivot, no_new_keyring=no_new_keyring)
        flags += ["--keep"] if keep else []
        return self.executable.foreground(
            "run", *flags, container_id, container_id=container_id,
            preserve_fds=preserve_fds, stdin=stdin, stdout=stdout, stderr=stderr, input=input, timeout=timeout,
        )  # fmt: skip

    def container(self, container_id: str) -> Container:
        """The handle of a container. It need not exist; the handle's calls then raise Error."""
        return Container(self, container_id)

    def containers(self) -> tuple[State, ...]:
        """The states of all containers in root, sorted by id."""
        from ocipy.operations import list as listing

        found: Iterable[dict[str, Any]] = listing.containers(self.root, must_exist=self._root_is_given)
        return tuple(State.from_document(document) for document in found)

    def plan(
        self,
        bundle: StrPath = ".",
        *,
        config: str = "config.json",
        no_pivot: bool = False,
        no_new_keyring: bool = False,
    ) -> Plan:
        """What create would do with a bundle on this host. config: relative to the bundle, or absolute."""
        from ocipy.operations.plan import plan_bundle

        plan, _ = plan_bundle(
            os.fspath(bundle),
            config,
            root=self.root,
            rootless=self._rootless,
            no_pivot=no_pivot,
            no_new_keyring=no_new_keyring,
            cgroup_manager=self._cgroup_manager,
        )
        return Plan.from_model(plan)

    def validate(self, bundle: StrPath = ".", *, config: str = "config.json") -> tuple[Finding, ...]:
        """All findings in a bundle, errors first; empty if it is fine. Never raises."""
        from ocipy.operations.validate import validate

        return tuple(validate(os.fspath(bundle), config))

    def features(self) -> dict[str, Any]:
        """What this runtime supports (features.md)."""
        from ocipy.operations.features import features

        return features()


class Container:
    """A handle: it holds nothing open, and the container does not depend on it.

    Made by Runtime.create and Runtime.container. Every call may raise ocipy.Error, for example if the container does
    not exist.
    """

    def __init__(self, runtime: Runtime, container_id: str) -> None:
        self.runtime = runtime
        self.id = container_id

    def __repr__(self) -> str:
        return f"Container({self.id!r} in {self.runtime.root!r})"

    def state(self) -> State:
        """The current state."""
        return State.from_document(load(self.runtime.root, self.id).to_oci())

    def start(self) -> None:
        """Let its process run. Returns when that has executed and the poststart hooks have run."""
        self._call("start")

    def kill(self, signal: int | str = signals.SIGTERM, *, all: bool = False) -> None:
        """Send a signal, by number or name, to its process, or to all in its cgroup."""
        wanted = number(str(int(signal)) if isinstance(signal, int) else signal)
        self._call("kill", *(["--all"] if all else []), after=[str(wanted)])

    def delete(self, *, force: bool = False) -> None:
        """Remove it if it is stopped. force: kill it first if it is not, and accept that it does not exist."""
        self._call("delete", *(["--force"] if force else []))

    def pause(self) -> None:
        """Freeze all its processes."""
        self._call("pause")

    def resume(self) -> None:
        """Thaw all its processes."""
        self._call("resume")

    def update(self, resources: Mapping[str, Any]) -> None:
        """Change its limits. resources: like linux.resources of config.json; missing members stay as they are."""
        self._call("update", "--resources=-", input=json.dumps(resources).encode())

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait until it is stopped. Returns the exit status of its process, 128 + the signal that killed it.

        timeout: in seconds. Returns None if the status is unknown. The kernel gives it to the process's parent and,
        since Linux 6.15, to any process that held a pidfd when it was reaped. So it is known if this was called before
        the end on such a kernel, or if the caller is the parent (a subreaper, prctl(2), or pid 1) and has not reaped
        the process; reaping is left to the caller (os.waitpid with the pid in State). Raises TimeoutExpired, and kills
        nothing.
        """
        from ocipy.library.ended import exit_status, has_ended, open_process

        state = load(self.runtime.root, self.id)
        pidfd = open_process(state.pid, state.start_time, state.pidfd_inode) if state.pid > 0 else -1
        if pidfd < 0:
            return None
        try:
            if not has_ended(pidfd, timeout):
                raise TimeoutExpired(["wait", self.id], timeout or 0.0)
            return exit_status(pidfd)
        finally:
            os.close(pidfd)

    def processes(self) -> tuple[int, ...]:
        """The pids of all its processes on the host."""
        return tuple(processes(load(self.runtime.root, self.id)))

    def cgroup(self) -> dict[str, str]:
        """The directories of its cgroup, by name of the v1 hierarchy ("memory", "cpu,cpuacct"), that of v2 under "".

        Empty if it has none (without root), or systemd has not made it yet.
        """
        return dict((load(self.runtime.root, self.id).cgroup or {}).get("paths") or {})

    def exec(
        self,
        arguments: Sequence[str] = (),
        *,
        process: Mapping[str, Any] | None = None,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        user: str = "",
        tty: bool = False,
        input: bytes | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        capture_output: bool = False,
        timeout: float | None = None,
        ignore_paused: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run another process in it and wait until it ends.

        arguments, cwd, env, user ("UID" or "UID:GID"), tty: the differences from process in config.json; or process: a
        complete replacement for it. The streams, input, capture_output and timeout (seconds) are those of
        subprocess.run. The result's returncode is that of the process, 128 + the signal that killed it.

        tty: give it a terminal, with the size of the caller's if a standard stream is one. Its input comes from
        standard input, its output goes to standard output.

        Raises TimeoutExpired after killing the process; processes that it started stay in the container.
        """
        stdout, stderr = captured(capture_output, stdout, stderr)
        with exec_words(self.id, arguments, process, cwd, env, user, tty, ignore_paused) as words:
            return self.runtime.executable.foreground(
                "exec", *words, container_id=self.id,
                preserve_fds=0, stdin=stdin, stdout=stdout, stderr=stderr, input=input, timeout=timeout,
            )  # fmt: skip

    def plan_exec(
        self,
        arguments: Sequence[str],
        *,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        user: str = "",
        tty: bool = False,
        ignore_paused: bool = False,
    ) -> Plan:
        """What exec would do with the same arguments."""
        from ocipy.operations.exec import plan_exec
        from ocipy.plan.exec_process import Changes

        variables = [f"{name}={value}" for name, value in (env or {}).items()]
        changes = Changes(args=arguments, cwd=cwd, env=variables, user=user, terminal=tty)
        rootless = self.runtime._rootless
        plan = plan_exec(self.runtime.root, self.id, changes, ignore_paused=ignore_paused, rootless=rootless)
        return Plan.from_model(plan)

    def spawn(
        self,
        arguments: Sequence[str] = (),
        *,
        process: Mapping[str, Any] | None = None,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        user: str = "",
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        console_socket: StrPath = "",
        ignore_paused: bool = False,
    ) -> Process:
        """Start another process in it. Returns when it has executed.

        Like exec, except that the streams are a file, a descriptor or None (the caller's own). console_socket: give it
        a terminal instead, and send the master there (ocipy.ConsoleSocket).
        """
        from ocipy.library.process import Process
        from ocipy.library.sockets import PidfdReceiver

        flags = ["--detach", "--stay", *([f"--console-socket={os.fspath(console_socket)}"] if console_socket else [])]
        tty = bool(console_socket) and process is None
        with (
            exec_words(self.id, arguments, process, cwd, env, user, tty, ignore_paused) as words,
            PidfdReceiver() as receiver,
        ):
            runtime = self.runtime.executable.staying(
                "exec", *flags, f"--pidfd-socket={os.fspath(receiver)}", *words,
                stdin=stdin, stdout=stdout, stderr=stderr,
            )  # fmt: skip
            return Process(receiver.receive(0), runtime)

    def stats(self) -> dict[str, Any]:
        """Its statistics: "data" of `ocipy events --stats`."""
        line = json.loads(self._call("events", "--stats"))
        return dict(line["data"])

    def events(self, interval: float = 5.0) -> Generator[dict[str, Any], None, None]:
        """Yields its statistics every interval (seconds), and each OOM kill, until it ends or the generator is closed.

        Each record has type ("stats" or "oom"), id, and data.
        """
        for line in self.runtime.executable.lines("events", f"--interval={round(interval * 1000)}ms", self.id):
            yield json.loads(line)

    def _call(self, command: str, *flags: str, after: Sequence[str] = (), input: bytes | None = None) -> bytes:
        return self.runtime.executable.quietly(command, *flags, self.id, *after, input=input)
