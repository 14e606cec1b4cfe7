"""Checks that an archive is harmless before another program unpacks it; the error names the offending member.

umoci resolves every path inside the root it unpacks to, so nothing could get out. But nobody should run an image that
tries, so it is refused instead of silently repaired.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, BinaryIO, Protocol

from ocipy import Error
from ocipy.box import tools

WHITEOUT = ".wh."  # image-spec, layer.md
OPAQUE = ".wh..wh..opq"
# The beginnings of compressed files.
GZIP, XZ, BZIP2, ZSTD = b"\x1f\x8b", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd"
CHUNK = 1 << 20
LARGEST_HEADER = 1 << 20
MOST_LINKS = 40  # path_resolution(7)


@dataclass(slots=True)
class Limits:
    """The limits for all layers of an image together."""

    size: int = 20 << 30
    members: int = 2_000_000
    path: int = 4096
    links: int = 64 << 20  # characters of all symlinks, which are kept in memory


@dataclass(slots=True)
class Check:
    """Checks the layers of one image, lowest first: the symlinks of a layer are still there in the next one.

    size, members: of the layers so far. links: the target of each symlink, by the parts of its path. kept: their
    characters.
    """

    image: str
    limits: Limits = field(default_factory=Limits)
    size: int = 0
    members: int = 0
    kept: int = 0
    links: dict[tuple[str, ...], str] = field(default_factory=dict)

    def layer(self, members: Iterable[tarfile.TarInfo]) -> None:
        """Check the next layer. Raises Error, which names the first dangerous member."""
        for member in members:
            self._count(member)
            parts = self._real(member, self._parts(member, member.name))
            link = member.linkname if member.issym() else None
            if member.isdev() and not member.isfifo():
                raise self._refused(member, "it is a device")
            if member.islnk():
                link = self.links.get(self._real(member, self._parts(member, member.linkname)))
                if link is not None and _escapes(parts, link):
                    raise self._refused(member, f"it is a hard link to a symlink that leads out: {member.linkname}")
            if parts and parts[-1].startswith(WHITEOUT) and parts[-1] != OPAQUE:
                if parts[-1].removeprefix(WHITEOUT) in ("", ".", ".."):
                    raise self._refused(member, "it is a whiteout that names no file")
                self.links.pop((*parts[:-1], parts[-1].removeprefix(WHITEOUT)), None)
            elif link is not None:
                self._keep(member, parts, link)
            else:
                self.links.pop(parts, None)

    def _keep(self, member: tarfile.TarInfo, parts: tuple[str, ...], link: str) -> None:
        self.kept += sum(map(len, parts)) + len(parts) + len(link)
        if self.kept > self.limits.links:
            raise self._refused(member, "the image has too many long symlinks")
        self.links[parts] = link

    def _count(self, member: tarfile.TarInfo) -> None:
        if member.size < 0:
            raise self._refused(member, "its size is negative")
        self.members += 1
        self.size += member.size
        if self.members > self.limits.members:
            raise Error(
                f"{self.image} has more than {self.limits.members} files", hint="it may be a decompression bomb"
            )
        if self.size > self.limits.size:
            raise self._refused(member, f"the image would exceed {self.limits.size >> 30} GiB")
        if max(len(member.name), len(member.linkname)) > self.limits.path:
            raise self._refused(member, f"its name or target has more than {self.limits.path} characters")

    def _parts(self, member: tarfile.TarInfo, name: str) -> tuple[str, ...]:
        if name.startswith("/"):
            raise self._refused(
                member, f"its name is absolute: {name}" if name == member.name else f"it links to {name}"
            )
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if ".." in parts:
            raise self._refused(member, 'its name has a ".."' if name == member.name else f"it links to {name}")
        if "\0" in name:
            raise self._refused(member, "its name has a NUL")
        return parts

    def _real(self, member: tarfile.TarInfo, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Where the member really is: follows the symlinks among the directories above it. Refuses it if one leads
        out."""
        place: list[str] = []
        left, followed = list(reversed(parts[:-1])), 0
        while left:
            part = left.pop()
            if part == "..":
                if not place:
                    raise self._refused(member, "a directory above it is a symlink that leads out")
                place.pop()
                continue
            place.append(part)
            link = self.links.get(tuple(place))
            if link is None:
                continue
            followed += 1
            if _escapes(tuple(place), link):
                raise self._refused(member, f"{'/'.join(place)} is a symlink that leads out, to {link}")
            if followed > MOST_LINKS:
                raise self._refused(member, f"its path has more than {MOST_LINKS} symlinks")
            place.pop()
            left.extend(part for part in reversed(link.split("/")) if part not in ("", "."))
        return (*place, *parts[-1:])

    def _refused(self, member: tarfile.TarInfo, why: str) -> Error:
        return Error(f"{self.image} is refused for {member.name[:200]!r}: {why}")


def _escapes(place: tuple[str, ...], link: str) -> bool:
    """Whether a symlink at this place leads out of the root when the host follows it."""
    if link.startswith("/"):
        return True
    depth = len(place) - 1
    for part in link.split("/"):
        if part == "..":
            depth -= 1
            if depth < 0:
                return True
        elif part not in ("", "."):
            depth += 1
    return False


class Readable(Protocol):
    """The part of IO[bytes] that is needed here."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes."""


class Headers:
    """The file that tarfile reads an archive from. A single member may have many headers, which tarfile holds in
    memory: their total size is limited, as in Go's library, which umoci uses."""

    def __init__(self, source: Readable, faults: tuple[type[Exception], ...]) -> None:
        self.source, self.faults = source, faults
        self.position = self.of_member = 0

    def tell(self) -> int:
        """The position in the decompressed archive."""
        return self.position

    def seek(self, position: int) -> None:
        """Skip everything before this position."""
        if position < self.position:
            raise tarfile.ReadError("a size is negative")
        while self.position < position:
            if not self._take(min(CHUNK, position - self.position)):
                raise tarfile.ReadError("unexpected end of data")

    def read(self, size: int) -> bytes:
        """Read a part of the member's header."""
        if size < 0:
            raise tarfile.ReadError("a size is negative")
        self.of_member += size
        if self.of_member > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header has more than {LARGEST_HEADER >> 20} MiB")
        return self._take(size)

    def _take(self, size: int) -> bytes:
        """`size` bytes, or fewer at the end."""
        parts = []
        try:
            while size > 0 and (data := self.source.read(size)):
                parts.append(data)
                size -= len(data)
        except self.faults as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the file cannot be read; for damaged content, bz2 and gzip raise an OSError without errno
            raise tarfile.ReadError(str(error)) from None
        taken = b"".join(parts)
        self.position += len(taken)
        return taken


def _source(file: BinaryIO, zstd: IO[bytes] | None) -> Headers:
    """The tar in a file, all of it: a compressed file may consist of several compressed streams. umoci reads them all,
    tarfile by itself would not."""
    magic = file.read(6)
    file.seek(0)
    if zstd is not None:
        return Headers(zstd, ())
    if magic.startswith(GZIP):
        import gzip
        import zlib

        return Headers(gzip.GzipFile(fileobj=file), (gzip.BadGzipFile, EOFError, zlib.error))
    if magic.startswith(XZ):
        import lzma

        return Headers(lzma.LZMAFile(file), (lzma.LZMAError, EOFError))
    if magic.startswith(BZIP2):
        import bz2

        return Headers(bz2.BZ2File(file), (OSError, EOFError))
    return Headers(file, ())


@contextmanager
def opened(path: str, image: str) -> Iterator[Iterator[tarfile.TarInfo]]:
    """Open a tar, compressed or not, as a stream of its members. Raises Error if it is not a tar.

    zstd(1) decompresses what this Python cannot.
    """
    what = f"cannot unpack {image}"
    process: subprocess.Popen[bytes] | None = None
    try:
        with open(path, "rb") as file:
            if file.read(4) == ZSTD:
                words = ["zstd", "-dcq", path]
                process = tools.begin(words, what, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            file.seek(0)
            yield _members(_source(file, process.stdout if process else None))
    except (tarfile.TarError, ValueError, RecursionError) as error:  # tarfile recurses for each header before a member
        if process is not None:
            _check_ended(process, what)
        raise Error(f"{image} is not a tar archive, or is damaged: {error}") from None
    finally:
        if process is not None:
            process.kill()
            process.communicate()


def _check_ended(process: subprocess.Popen[bytes], what: str) -> None:
    """Raise Error if the program has failed for a reason other than the file's content."""
    assert process.stdout is not None and process.stderr is not None
    if process.stdout.read(1):
        return  # it has not ended
    said = tools.last_words("zstd", process.stderr.read())
    tools.check_not_its_input("zstd", what, said, process.wait())


def _members(source: Headers) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, one at a time: none is kept in memory."""
    archive = tarfile.TarFile(fileobj=source, errorlevel=2)  # type: ignore[arg-type]
    while (member := archive.next()) is not None:
        for name in archive.pax_headers:
            # tarfile applies these to all members; umoci would see other names and sizes.
            if name in ("path", "linkpath", "size") or name.startswith("GNU.sparse."):
                raise tarfile.ReadError(f"a global header sets {name}")
        vars(archive)["members"].clear()  # tarfile would keep them all
        source.of_member = 0
        yield member
