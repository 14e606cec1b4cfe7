"""Calls a function in a forked child, which can enter namespaces that the caller must stay out of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from ocipy import Error
from ocipy.box.id_maps import IdMap, map_ids
from ocipy.linux import _kernel
from ocipy.linux.constants import CLONE_NEWUSER

DATA, ERROR, ERRNO = b"=", b"!", b"#"


def call(work: Callable[[], bytes], begun: Callable[[int], None] | None = None) -> bytes:
    """Call work in a child. Return its result, or raise the Error or OSError that it raised.

    begun: called in this process with the child's pid, while the child runs.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as pipe:
                pipe.write(_answer(work))
        finally:
            os._exit(0)  # skips the caller's exit handlers and buffers
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            if begun is not None:
                begun(pid)
            said = pipe.read()
    finally:
        os.waitpid(pid, 0)
    if said.startswith(DATA):
        return said[1:]
    if said.startswith(ERRNO):
        raise OSError(int(said[1:]), os.strerror(int(said[1:])))
    raise Error.from_message(json.loads(said[1:])) if said else Error("a child ended without an answer")


def _answer(work: Callable[[], bytes]) -> bytes:
    try:
        return DATA + work()
    except Error as error:
        return ERROR + json.dumps(error.to_message()).encode()
    except OSError as error:
        return ERRNO + str(error.errno or 0).encode()


def as_root_of(id_maps: tuple[IdMap, IdMap], work: Callable[[], bytes]) -> bytes:
    """Call work in a child that is root of a new user namespace with these ids. Raises Error, OSError."""
    ready, making = os.pipe()
    waiting, mapped = os.pipe()

    def enter() -> bytes:
        os.close(mapped)
        _kernel.unshare(CLONE_NEWUSER)
        os.write(making, b"\n")
        os.close(making)
        if not os.read(waiting, 1):
            return b""
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        return work()

    def map_its_ids(pid: int) -> None:
        os.close(making)
        with os.fdopen(mapped, "wb", buffering=0) as pipe:  # if there is no map, closing it ends the child
            if os.read(ready, 1):
                map_ids(pid, id_maps)
                pipe.write(b"\n")

    try:
        return call(enter, map_its_ids)
    finally:
        for fd in (ready, waiting):
            os.close(fd)


def in_user_namespace_of(pid: int, work: Callable[[], bytes]) -> bytes:
    """Call work in a child that is root of a process's user namespace, but in none of its other namespaces. Raises
    Error, OSError."""

    def enter() -> bytes:
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        _kernel.setns(fd, CLONE_NEWUSER)
        os.close(fd)
        return work()

    return call(enter)
