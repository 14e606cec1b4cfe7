"""The store of images: a directory for each, by digest, and the names that point to them."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ocipy import Error
from ocipy.box.config import ImageConfig
from ocipy.box.images.sharing import share
from ocipy.box.places import Places
from ocipy.box.trees import remove_tree, size_of
from ocipy.errors import reported_as

ROOTFS = "rootfs"
RECORD = "image.json"
NAMES = "names.json"
PARTIAL = "partial-"


class Image(NamedTuple):
    """key: its directory's name; "" for a directory of the user. digest: of the manifest, or of the archive.

    rootfs: the absolute path of the root filesystem. size: in bytes, of the unpacked files. layers: the digests of
    its layers, lowest first.
    """

    name: str
    key: str
    digest: str
    rootfs: str
    config: ImageConfig
    size: int
    created: datetime
    layers: tuple[str, ...] = ()


class Store:
    """The images in one place. Every change takes a lock, and first removes the leftovers of an interrupted change."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.directory = places.images

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the store: no other process changes the images in the meantime."""
        fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            for left in self.directory.glob(PARTIAL + "*"):
                remove_tree(left)
            yield
        finally:
            os.close(fd)

    def names(self) -> dict[str, str]:
        """The key of each name."""
        try:
            found = json.loads((self.directory / NAMES).read_bytes())
            if not isinstance(found, dict) or not all(isinstance(key, str) for key in found.values()):
                raise ValueError("it is not an object of strings")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise Error(
                f"cannot read the names of images: {error}",
                pointer=str(self.directory / NAMES),
                hint="remove this file: images keep their digests, and get their names back when they are used again",
            ) from None
        return found

    def find(self, name: str) -> Image | None:
        """The image with this name, or whose digest begins with it. Raises Error if its record cannot be read."""
        key = self._key_of(name)
        return self.load(name, key) if key is not None else None

    def _key_of(self, name: str) -> str | None:
        key = self.names().get(name)
        if key is None and len(name) >= 4:
            found = [
                one for one in self._keys() if one.removeprefix("sha256-").startswith(name.removeprefix("sha256:"))
            ]
            key = found[0] if len(found) == 1 else None
        return key if key is not None and (self.directory / key / RECORD).exists() else None

    def load(self, name: str, key: str) -> Image:
        """Read an image's record. Raises Error."""
        path = self.directory / key / RECORD
        try:
            document = json.loads(path.read_bytes())
            return Image(
                name,
                key,
                document["digest"],
                str(self.directory / key / ROOTFS),
                ImageConfig.from_document(document["config"]),
                document["size"],
                datetime.fromisoformat(document["created"]),
                tuple(document.get("layers", ())),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise Error(
                f"the record of image {name or key} cannot be read",
                pointer=str(path),
                hint=f"remove it (ocipy box rmi {name or key.removeprefix('sha256-')[:12]}) and pull it again",
            ) from None

    def all(self) -> list[Image]:
        """An image for each name, and one with "" for each image without a name, if their records can be read."""
        return self.listed()[0]

    def listed(self) -> tuple[list[Image], list[Error]]:
        """The same; and the errors of records that cannot be read, which is why images or names are missing."""
        images: list[Image] = []
        problems: list[Error] = []
        names: dict[str, str] = {}
        try:
            names = self.names()
        except Error as error:
            problems.append(error)
        there = [(name, key) for name, key in sorted(names.items()) if self.has(key)]
        for name, key in there + [("", key) for key in self._keys() if key not in names.values()]:
            try:
                images.append(self.load(name, key))
            except Error as error:
                problems.append(error)
        return images, problems

    def _keys(self) -> list[str]:
        return sorted(path.parent.name for path in self.directory.glob("*/" + RECORD))

    def knows(self, name: str) -> bool:
        """Whether there is an image with this name or digest, even if its record cannot be read."""
        return self._key_of(name) is not None

    def has(self, key: str) -> bool:
        """Whether the image is there, complete."""
        return (self.directory / key / RECORD).exists()

    def add(
        self, name: str, key: str, digest: str, fill: Callable[[Path], ImageConfig], layers: Sequence[str] = ()
    ) -> Image:
        """Make an image, unless its key exists, and give it the name. The caller holds the lock.

        fill: makes the root filesystem in an empty directory, and returns the image's config. layers: their digests.
        """
        place = self.directory / key
        if not self.has(key):
            import tempfile

            with reported_as("cannot store the image", pointer=str(self.directory)):
                partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=self.directory))
                try:
                    self._make(partial, digest, fill, layers)
                    partial.rename(place)
                except BaseException:
                    remove_tree(partial)  # at once: it may be what fills the disk
                    raise
        if name:
            self._write_names({**self.names(), name: key})
        return self.load(name, key)

    def _make(self, place: Path, digest: str, fill: Callable[[Path], ImageConfig], layers: Sequence[str]) -> None:
        """Fill the directory of a new image. The parameters are those of `add`."""
        place.chmod(0o711)
        rootfs = place / ROOTFS
        rootfs.mkdir(mode=0o755)
        config = fill(rootfs)
        relative = self._relative(layers)
        if relative is not None:
            share(rootfs, Path(relative.rootfs))
        record: dict[str, Any] = {
            "digest": digest,
            "config": config.to_document(),
            "size": size_of(rootfs),
            "created": datetime.now(UTC).isoformat(),
            "layers": list(layers),
        }
        (place / RECORD).write_text(json.dumps(record))

    def _relative(self, layers: Sequence[str]) -> Image | None:
        """The image that shares the most of these layers, counted from the lowest; None if none shares any."""

        def common(image: Image) -> int:
            pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(image.layers, layers, strict=False))
            return sum(1 for _ in pairs)

        there = []
        for key in self._keys():
            with suppress(Error):  # its record cannot be read
                there.append(self.load("", key))
        best = max(there, key=common, default=None)
        return best if best is not None and common(best) else None

    def _write_names(self, names: dict[str, str]) -> None:
        path = self.directory / NAMES
        new = path.with_suffix(".new")
        with reported_as("cannot write the names of images", pointer=str(path)):
            try:
                new.write_text(json.dumps(names, indent=1, sort_keys=True))
                new.rename(path)
            except BaseException:
                new.unlink(missing_ok=True)
                raise

    def remove(self, name: str, used: Callable[[str], list[str]], no_new: AbstractContextManager[None]) -> list[str]:
        """Remove the name, and with its last name the image. used: returns the boxes that need the image with a key.
        no_new: a lock; while it is held, no box is created.

        Return a line about each thing removed. Raises Error if there is no such image, or a box needs it.
        """
        with self.locked(), no_new:
            found = self._key_of(name)  # without reading the record, which may be damaged
            if found is None:
                raise Error(f"there is no image {name}", hint="ocipy box images lists all images")
            names = self.names()
            others = [one for one, key in names.items() if key == found and one != name]
            done = []
            if name in names:
                if not others and used(found):
                    raise self._needed(name, used(found))
                del names[name]
                self._write_names(names)
                done.append(f"untagged: {name}")
                if others:
                    return done
            elif used(found):
                raise self._needed(name, used(found))
            elif others:
                self._write_names({one: key for one, key in names.items() if key != found})
                done += [f"untagged: {one}" for one in others]
            digest = found
            with suppress(Error):
                digest = self.load("", found).digest
            gone = self.directory / (PARTIAL + found)
            (self.directory / found).rename(gone)
            remove_tree(gone)
            return [*done, f"deleted: {digest}"]

    @staticmethod
    def _needed(name: str, boxes: list[str]) -> Error:
        return Error(f"image {name} is used by {', '.join(boxes)}", hint="remove these boxes first: ocipy box rm")
