"""The words of a command line of the runtime, from the arguments of the library's methods."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ocipy.library.executable import StrPath


def creation_flags(
    bundle: StrPath,
    console_socket: StrPath = "",
    pidfd_socket: StrPath = "",
    pid_file: StrPath = "",
    preserve_fds: int = 0,
    *,
    no_pivot: bool,
    no_new_keyring: bool,
) -> list[str]:
    """The flags of `create` and `run`."""
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


@contextmanager
def exec_words(
    container_id: str,
    arguments: Sequence[str],
    process: Mapping[str, Any] | None,
    cwd: str,
    env: Mapping[str, str] | None,
    user: str,
    tty: bool,
    ignore_paused: bool,
) -> Iterator[list[str]]:
    """The arguments of `exec`, valid in the with block."""
    if bool(arguments) == (process is not None):
        raise ValueError("exec takes arguments, or a process")
    flags = ["--ignore-paused"] if ignore_paused else []
    if process is None:
        flags += ["--tty"] if tty else []
        flags += [f"--cwd={cwd}"] if cwd else []
        flags += [f"--user={user}"] if user else []
        flags += [f"--env={name}={value}" for name, value in (env or {}).items()]
        yield [*flags, container_id, *arguments]
        return
    if cwd or env or user or tty:
        raise ValueError("cwd, env, user and tty are members of process (tty: terminal)")
    file = os.memfd_create("process")
    try:
        os.write(file, json.dumps(process).encode())
        yield [*flags, f"--process=/proc/{os.getpid()}/fd/{file}", container_id]
    finally:
        os.close(file)
