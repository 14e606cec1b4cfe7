"""All boxes: create, find and list them."""

from __future__ import annotations

from contextlib import suppress

from ocipy import Error
from ocipy.box import fuse, network
from ocipy.box.box import Box
from ocipy.box.bundle import check_overlay, id_map_for_images
from ocipy.box.config import check_stop_signal
from ocipy.box.copy_on_write import choose
from ocipy.box.images import lookup
from ocipy.box.images.store import Store
from ocipy.box.limits import check_possible
from ocipy.box.names import check_name, is_id, new_id, new_name
from ocipy.box.orphans import end_callers
from ocipy.box.peers import records
from ocipy.box.places import Places, default_places
from ocipy.box.record import GONE, RECORD, Directory, Record, held_alone, locked, now
from ocipy.box.request import Request
from ocipy.box.roots import fuse_pid_path
from ocipy.box.runtime import can_limit, make_home
from ocipy.box.trees import remove_tree


class Boxes:
    """All boxes in these places."""

    def __init__(self, places: Places | None = None) -> None:
        self.places = places or default_places()
        self.places.make()
        self.home = make_home(self.places)
        self.images = Store(self.places)

    def all(self) -> list[Box]:
        """Every box, the newest first."""
        return self.listed()[0]

    def listed(self) -> tuple[list[Box], dict[str, Error]]:
        """The same; and by id, the errors of boxes whose records cannot be read."""
        found, problems = [], {}
        for directory, record in records(self.places):
            if isinstance(record, Error):
                problems[directory.path.name] = record
            else:
                found.append(Box(self.home, directory, record))
        return sorted(found, key=lambda box: box.record.created, reverse=True), problems

    def find(self, word: str) -> Box:
        """The box with this name or id, or whose id begins with this word. Raises Error."""
        found = [box for box in self.all() if box.record.name == word]
        found = found or [box for box in self.all() if word and box.id.startswith(word)]
        if len(found) == 1:
            return found[0]
        if found:
            raise Error(f"several ids begin with {word}: {' '.join(box.id for box in found)}")
        if is_id(word) and (self.places.boxes / word).is_dir():
            Directory(self.places.boxes / word).load()  # raises the Error: its record cannot be read
        raise Error(f"there is no box {word}", hint="ocipy box ps -a lists all boxes")

    def remove_unreadable(self, word: str) -> bool:
        """Remove a box whose record cannot be read. word: its whole id. False if there is no such box."""
        directory = Directory(self.places.boxes / word)
        if not is_id(word) or not directory.path.is_dir():
            return False
        with directory.locked():
            try:
                directory.load()
                return False
            except Error:
                pass
            end_callers(str(directory.bundle))
            self.home.runtime.container(word).delete(force=True)
            for kind in ("bridge", "pasta"):
                network.release(kind, word, self.places)
            fuse.release(directory.path, fuse_pid_path(self.places, word))
            gone = directory.path.with_name(GONE + word)
            directory.path.rename(gone)
            remove_tree(gone)
        return True

    def create(self, request: Request, *, name: str = "", pull: bool = False, remove: bool = False) -> Box:
        """Create a box from a request, with its image, but do not run it. On Error, nothing is left behind."""
        if not self.home.rootless:
            check_overlay(str(self.places.boxes))
        check_possible(request.limits, possible=not self.home.rootless or can_limit())
        image = lookup.get(self.images, request.image, pull=pull, id_map=id_map_for_images(request, self.home.rootless))
        check_stop_signal(image.config)
        with locked(self.places.boxes / ".lock"):
            self._sweep()
            if image.key and not self.images.has(image.key):  # the lock protects it from here on (remove_image)
                raise Error(f"image {image.name} was removed while the box was being made")
            taken = {box.record.name for box in self.all()}
            if name:
                check_name(name)
                if name in taken:
                    raise Error(
                        f"box {name} already exists", hint=f"choose another name, or remove it: ocipy box rm {name}"
                    )
            box_id = new_id()
            directory = Directory(self.places.boxes / box_id)
            directory.make()
            try:
                request = with_defaults(request, box_id, self.home.rootless)
                record = Record(
                    box_id, name or new_name(taken), request, image.name or request.image, image.key, image.rootfs,
                    image.config, now(), remove=remove,
                    copy_on_write=choose(
                        directory.path, image.rootfs, self.places.run, rootless=self.home.rootless,
                        userns=request.userns == "auto",
                    ),
                )  # fmt: skip
                box = Box(self.home, directory, record)
                box.set_root_owner()
                directory.save(record)
            except BaseException:
                remove_tree(directory.path)
                raise
        return box

    def sweep(self) -> None:
        """Remove the leftovers of a `create` or `remove` that was killed; they are not boxes. Raises Error."""
        with locked(self.places.boxes / ".lock"):
            self._sweep()

    def _sweep(self) -> None:
        """The caller holds the lock, so no box is being made."""
        for path in self.places.boxes.iterdir():
            if path.name.startswith(GONE):
                with suppress(OSError), held_alone(path):  # if not, another process is removing it
                    remove_tree(path)
            elif not path.name.startswith(".") and not (path / RECORD).exists():
                remove_tree(path)

    def remove_image(self, name: str) -> list[str]:
        """Remove an image's name, and with its last name its files. Takes the lock: no box is being made from it.

        Return a line about each thing removed. Raises Error if there is no such image, or a box may need it.
        """
        return self.images.remove(name, self._users_of, locked(self.places.boxes / ".lock"))

    def _users_of(self, key: str) -> list[str]:
        """The names of the boxes made from this image, and the ids of those that may have been."""
        boxes, problems = self.listed()
        return [box.record.name for box in boxes if box.record.image_key == key] + list(problems)


def with_defaults(request: Request, box_id: str, rootless: bool) -> Request:
    """The request with the defaults filled in: host name and network."""
    return request._replace(
        hostname=request.hostname or box_id,
        network=request.network or network.default_kind(rootless),
    )
