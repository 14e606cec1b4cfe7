"""The runtime as an object: where the state is, which executable, which global flags."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from typing import Any

from ocipy.cli import arguments
from ocipy.library import executable as executables
from ocipy.library.container import Container
from ocipy.library.executable import Executable, Stream, StrPath, captured
from ocipy.library.records import Finding, Plan, State


class Runtime:
    """An ocipy and its containers.

    root: the directory of their state, the command line's default without it. executable: its path; without one it is
    looked for beside this package, in this Python's environment, and in PATH, when it is first needed.
    cgroup_manager, rootless: as --cgroup-manager ("cgroupfs", "systemd" or "disabled") and --rootless (None: auto).
    Every call may raise ocipy.Error.
    """

    def __init__(
        self,
        root: StrPath = "",
        *,
        executable: StrPath = "",
        cgroup_manager: str = "cgroupfs",
        rootless: bool | None = None,
    ) -> None:
        self.root = arguments.state_root(os.fspath(root))
        self._root_is_given = bool(root)
        if cgroup_manager not in ("cgroupfs", "systemd", "disabled"):
            raise ValueError(f"no cgroup manager: {cgroup_manager!r}")
        self._cgroup_manager = cgroup_manager
        self._rootless = rootless
        self._path = os.fspath(executable)
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
            self._executable = Executable(self._path or executables.find(), flags)
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
        """Make the container of a bundle, up to the point where its process waits for Container.start.

        The streams are its process's: None for the caller's own, a file, or a descriptor. The others as the flags of
        `ocipy create`: console_socket takes a ConsoleSocket, preserve_fds the caller's descriptors 3 to N + 2.
        """
        flags = _creation_flags(
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
        """Create and start a container, wait for its end, and delete it unless keep is set.

        The streams, input, capture_output and timeout (seconds) are as subprocess.run takes them. The result's
        returncode is that of the container's process, 128 + the signal that ended it. With process.terminal what is
        typed comes from standard input, and all that is shown goes to standard output.

        Raises TimeoutExpired once the container was killed, and deleted unless keep is set.
        """
        stdout, stderr = captured(capture_output, stdout, stderr)
        flags = _creation_flags(bundle, preserve_fds=preserve_fds, no_pivot=no_pivot, no_new_keyring=no_new_keyring)
        flags += ["--keep"] if keep else []
        return self.executable.foreground(
            "run", *flags, container_id, container_id=container_id,
            preserve_fds=preserve_fds, stdin=stdin, stdout=stdout, stderr=stderr, input=input, timeout=timeout,
        )  # fmt: skip

    def container(self, container_id: str) -> Container:
        """The handle of a container, which need not exist: whatever is asked of it then raises Error."""
        return Container(self, container_id)

    def containers(self) -> tuple[State, ...]:
        """The states of all containers below root, by id."""
        from ocipy.cli.commands import list as listing

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
        from ocipy.cli.commands.plan import plan_bundle

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
        """Everything that is wrong in a bundle, errors first; empty if there is nothing to say. Raises nothing."""
        from ocipy.cli.commands.validate import validate

        return tuple(validate(os.fspath(bundle), config))

    def features(self) -> dict[str, Any]:
        """What this runtime supports (features.md)."""
        from ocipy.cli.commands.features import features

        return features()


def _creation_flags(
    bundle: StrPath,
    console_socket: StrPath = "",
    pidfd_socket: StrPath = "",
    pid_file: StrPath = "",
    preserve_fds: int = 0,
    *,
    no_pivot: bool,
    no_new_keyring: bool,
) -> list[str]:
    flags = [f"--bundle={os.fspath(bundle)}"]
    for name, value in (("console-socket", console_socket), ("pidfd-socket", pidfd_socket), ("pid-file", pid_file)):
        if value:
            flags.append(f"--{name}={os.fspath(value)}")
    if preserve_fds:
        flags.append(f"--preserve-fds={preserve_fds}")
    if no_pivot:
        flags.append("--no-pivot")
    if no_new_keyring:
        flags.append("--no-new-keyring")
    return flags
