"""Is an archive harmless? It is searched before another program unpacks it; the error names the offending member.

umoci resolves every path inside the root it unpacks to, so nothing could get out. But nobody should run an image that
tries, so it is refused, not silently repaired.
"""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ocipy import Error

WHITEOUT = ".wh."  # image-spec, layer.md
OPAQUE = ".wh..wh..opq"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(slots=True)
class Limits:
    """The limits for all layers of an image together."""

    size: int = 20 << 30
    members: int = 2_000_000
    path: int = 4096


@dataclass(slots=True)
class Check:
    """Searches the layers of one image, lowest first: the symlinks of one layer exist for the next."""

    image: str
    limits: Limits = field(default_factory=Limits)
    size: int = 0
    members: int = 0
    links: dict[tuple[str, ...], str] = field(default_factory=dict)

    def layer(self, members: Iterable[tarfile.TarInfo]) -> None:
        """Raises Error that names the first dangerous member."""
        for member in members:
            self._count(member)
            parts = self._parts(member, member.name)
            self._inside(member, parts)
            if member.isdev() and not member.isfifo():
                raise self._refused(member, "it is a device")
            if member.islnk():
                target = self._parts(member, member.linkname)
                self._inside(member, target)
                if target in self.links and _escapes(target, self.links[target]):
                    raise self._refused(member, f"it is a hard link to a symlink that leads out: {member.linkname}")
            if parts and parts[-1].startswith(WHITEOUT) and parts[-1] != OPAQUE:
                if parts[-1].removeprefix(WHITEOUT) in ("", ".", ".."):
                    raise self._refused(member, "it is a whiteout of no file")
                self.links.pop((*parts[:-1], parts[-1].removeprefix(WHITEOUT)), None)
            elif member.issym():
                self.links[parts] = member.linkname
            else:
                self.links.pop(parts, None)

    def _count(self, member: tarfile.TarInfo) -> None:
        self.members += 1
        self.size += member.size
        if self.members > self.limits.members:
            raise Error(
                f"{self.image} has more than {self.limits.members} files", hint="it may be a decompression bomb"
            )
        if self.size > self.limits.size:
            raise self._refused(member, f"the image would exceed {self.limits.size >> 30} GiB")
        if len(member.name) > self.limits.path:
            raise self._refused(member, f"its name has more than {self.limits.path} characters")

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

    def _inside(self, member: tarfile.TarInfo, parts: tuple[str, ...]) -> None:
        """Refuse the member if a directory above it is a symlink that leads out of the root."""
        for length in range(1, len(parts)):
            link = self.links.get(parts[:length])
            if link is not None and _escapes(parts[:length], link):
                raise self._refused(member, f"{'/'.join(parts[:length])} is a symlink that leads out, to {link}")

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


@contextmanager
def opened(path: str, image: str) -> Iterator[tarfile.TarFile]:
    """Open a tar, compressed or not, as a stream. Raises Error if it is not a tar.

    zstd(1) decompresses what this Python's tarfile cannot.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with open(path, "rb") as file:
            if file.read(4) == ZSTD_MAGIC:
                process = subprocess.Popen(["zstd", "-dcq", path], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
                assert process.stdout is not None
                archive = tarfile.open(fileobj=process.stdout, mode="r|", errorlevel=2)
            else:
                file.seek(0)
                archive = tarfile.open(fileobj=file, mode="r|*", errorlevel=2)
            with archive:
                yield archive
    except FileNotFoundError as error:
        if error.filename != "zstd":
            raise
        raise Error(
            f"{image} is compressed with zstd, which is not installed", hint="install the package zstd"
        ) from None
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise Error(f"{image} is not a tar archive, or is damaged: {error}") from None
    finally:
        if process is not None:
            process.kill()
            process.wait()


def members_of(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members of a tar that is read as a stream, without keeping them."""
    while True:
        member = archive.next()
        if member is None:
            return
        vars(archive)["members"].clear()  # tarfile would keep them all
        yield member
