"""Find and read a bundle (bundle.md): its config.json, checked in full, and the directory of its root filesystem.

Hot. A bundle's files may be of any type, so it is checked: a FIFO or a device in place of config.json is not read and
does not block, and no document may be longer than MAX_CONFIG.
"""

from __future__ import annotations

import posix
from errno import ELOOP, ENOENT

from ocipy.config.check import check, forget
from ocipy.config.semantic import errors
from ocipy.errors import Error, reported_as
from ocipy.linux import _kernel
from ocipy.linux.constants import AT_FDCWD, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG
from ocipy.phases import phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.config.check import Unknown
    from ocipy.config.types import Config

MAX_CONFIG = 64 << 20
"""In bytes. The largest configs that engines write have some 100 kB."""

_EXCERPT = 30

NO_CONFIG = {ENOENT: "a bundle is a directory with a config.json; `ocipy spec` writes one; engines handle images"}


def read(
    path: str, config_name: str = "config.json", misspelt: list[tuple[str, str]] | None = None
) -> tuple[str, Config]:
    """The absolute path of the bundle without symbolic links, and its config, which obeys all rules.

    path: the bundle's directory. config_name: the file, relative to the bundle or absolute (`--config`). misspelt: gets
    (JSON pointer, text) of each unknown member that looks like a known one.
    Raises Error, with the JSON pointer or the file's path, if the bundle or a part of it is missing, unreadable or
    breaks a rule.
    """
    directory = open_directory(path)
    try:
        bundle = posix.readlink(f"/proc/self/fd/{directory}")
        config = read_config(config_name, directory, bundle, misspelt)
        check_rootfs(config, directory, bundle)
    finally:
        posix.close(directory)
    return bundle, config


def read_config(name: str, directory: int, bundle: str, misspelt: list[tuple[str, str]] | None = None) -> Config:
    """The config of an open bundle, checked in full. name, misspelt: as in read. bundle: its path. Raises Error."""
    path = name if name[:1] == "/" else bundle + "/" + name
    with phase("read config.json"):
        data = read_document(name, directory, path)
    with phase("parse it"):
        config = parse(data, path)
    unknown: Unknown = []
    with phase("check it against the schema"):
        failure = check(config, unknown)
    if failure is not None:
        raise _shape_error(config, failure, path)
    if unknown:
        if misspelt is not None:
            from ocipy.config.misspelt import misspelt as find_misspelt

            misspelt += find_misspelt(config)
        forget(unknown)
    with phase("check the other rules"):
        broken = errors(config, may_hold_nul=b"\\u0000" in data)
    if broken:
        raise _rule_error(broken, path)
    return config  # type: ignore[no-any-return]


def read_document(name: str, directory: int, path: str) -> bytes:
    """The bytes of a regular file of at most MAX_CONFIG. path: for errors. Raises Error."""
    with reported_as("cannot open the configuration", pointer=path, hint=NO_CONFIG):
        fd = _open(name, directory)
    return _read(fd, path, "the configuration", pipe=False)


def read_file_or_pipe(path: str, what: str) -> bytes:
    """The bytes of a regular file or pipe, at most MAX_CONFIG. what: for errors. Raises Error."""
    with reported_as(f"cannot open {what}", pointer=path):
        fd = _open(path, AT_FDCWD)
    return _read(fd, path, what, pipe=True)


def _open(name: str, directory: int) -> int:
    # Neither block on a FIFO without a writer nor acquire a controlling terminal.
    flags = posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC
    return posix.open(name, flags, dir_fd=directory)


def _read(fd: int, path: str, what: str, *, pipe: bool) -> bytes:
    """Read and close the descriptor."""
    try:
        with reported_as(f"cannot read {what}", pointer=path):
            status = posix.fstat(fd)
            kind = status.st_mode & S_IFMT
            if pipe and kind == S_IFIFO:
                posix.set_blocking(fd, True)
            elif kind != S_IFREG:
                raise Error(f"{what} is not a regular file", pointer=path)
            if status.st_size > MAX_CONFIG:
                raise Error(f"{what} is longer than {MAX_CONFIG >> 20} MiB", pointer=path)
            return _read_all(fd, status.st_size, path, what)
    finally:
        posix.close(fd)


def parse(data: bytes, path: str, repeated: list[tuple[str | int, ...]] | None = None) -> Any:
    """The value of a JSON document. path: for the error, which has line, column and an excerpt. Raises Error.

    repeated: gets the positions of duplicate members, as from _kernel.json_loads.
    """
    try:
        return _kernel.json_loads(data) if repeated is None else _kernel.json_loads(data, repeated)
    except ValueError as error:
        text, offset = str(error.args[0]), error.args[-1]
        raise Error(f"not JSON: {_place(data, offset)}: {text}", pointer=path) from None


def open_directory(path: str) -> int:
    """A descriptor of the bundle's directory, for opening its files. Raises Error."""
    with reported_as("cannot open the bundle", pointer=path):
        try:
            return posix.open(path or ".", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
        except NotADirectoryError:
            raise Error("the bundle must be a directory", pointer=path) from None


def _read_all(fd: int, size: int, path: str, what: str) -> bytes:
    """Read to the end of the file. size is only a first guess: the file may have grown."""
    parts: list[bytes] = []
    total = 0
    while True:
        part = posix.read(fd, max(size + 1 - total, 65536))
        if not part:
            return b"".join(parts)
        parts.append(part)
        total += len(part)
        if total > MAX_CONFIG:
            raise Error(f"{what} is longer than {MAX_CONFIG >> 20} MiB", pointer=path)


def _place(data: bytes, offset: object) -> str:
    """Line, column (in characters, from 1) and the text around a byte offset."""
    at = min(offset, len(data)) if isinstance(offset, int) else 0
    start = data.rfind(b"\n", 0, at) + 1
    line = data.count(b"\n", 0, at) + 1
    column = len(data[start:at].decode("utf-8", "replace")) + 1
    end = data.find(b"\n", at)
    around = data[max(start, at - _EXCERPT) : min(end if end >= 0 else len(data), at + _EXCERPT)]
    excerpt = around.decode("utf-8", "replace").strip()
    return f"line {line}, column {column}" + (f", at {excerpt!r}" if excerpt else "")


def root_path(bundle: str, config: Config) -> str:
    """The path of the root filesystem on the host, absolute if bundle is."""
    name = config["root"]["path"]
    return name if name[:1] == "/" else bundle + "/" + name


def check_rootfs(config: Config, directory: int, bundle: str) -> None:
    """Raises Error unless there is a directory at root.path (config.md, root). The host lane opens it again."""
    name = config["root"]["path"]
    path = root_path(bundle, config)
    with reported_as(f"cannot reach {path}", pointer="/root/path", hint={ELOOP: "symbolic links form a loop"}):
        try:
            mode = posix.stat(name, dir_fd=directory).st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise Error(f"the root filesystem {path} does not exist", pointer="/root/path") from None
    if mode & S_IFMT != S_IFDIR:
        raise Error(f"the root filesystem {path} must be a directory", pointer="/root/path")


def _shape_error(config: Any, failure: tuple[str, str], path: str) -> Error:
    """The Error for a config that breaks the schema, found by jsonschema, which needs a complete Python start."""
    from ocipy.launcher.python import complete_start

    complete_start()
    try:
        from ocipy.config.wording import schema_errors

        broken = schema_errors(config)
    except (ImportError, OSError):  # jsonschema or the schemas are not installed
        broken = []
    return _rule_error(broken or [failure], path)


def _rule_error(broken: list[tuple[str, str]], path: str) -> Error:
    pointer, text = broken[0]
    others = len(broken) - 1
    hint = f"and {others} more; `ocipy validate` lists them all" if others else ""
    return Error(text, pointer=pointer or path, hint=hint)
