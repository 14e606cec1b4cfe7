"""The record of a box: one file in its directory, written atomically, and changed under the box's lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from ocipy import Error
from ocipy.box.config import ImageConfig
from ocipy.box.copy_on_write import KERNEL, CopyOnWrite
from ocipy.box.request import Request
from ocipy.errors import reported_as

RECORD = "box.json"
GONE = ".gone-"
"""The prefix of a box's directory while it is being removed."""


class Record(NamedTuple):
    """image_name, image_key, rootfs: the image at creation. exit_status: of the last run, None before its end.

    oom_kills: how many processes the OOM killer killed in the last run, by the kernel's count. started, finished: of
    the last run. remove: whether its end removes it (--rm). monitor: conmon's pid, 0 in the foreground. addresses: in
    its network. copy_on_write: what copies its root.
    """

    id: str
    name: str
    request: Request
    image_name: str
    image_key: str
    rootfs: str
    image: ImageConfig
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    exit_status: int | None = None
    oom_kills: int = 0
    remove: bool = False
    monitor: int = 0
    addresses: tuple[str, ...] = ()
    copy_on_write: CopyOnWrite = CopyOnWrite()

    def to_json(self) -> dict[str, Any]:
        """The document that from_json takes."""
        return {
            "id": self.id,
            "name": self.name,
            "request": self.request.to_json(),
            "imageName": self.image_name,
            "imageKey": self.image_key,
            "rootfs": self.rootfs,
            "image": self.image.to_document(),
            "created": self.created.isoformat(),
            "started": self.started.isoformat() if self.started else None,
            "finished": self.finished.isoformat() if self.finished else None,
            "exitStatus": self.exit_status,
            "oomKills": self.oom_kills,
            "remove": self.remove,
            "monitor": self.monitor,
            "addresses": list(self.addresses),
            "copyOnWrite": self.copy_on_write._asdict(),
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The reverse of to_json. Raises KeyError, TypeError, ValueError or Error for any other document."""
        return cls(
            id=document["id"],
            name=document["name"],
            request=Request.from_json(document["request"]),
            image_name=document["imageName"],
            image_key=document["imageKey"],
            rootfs=document["rootfs"],
            image=ImageConfig.from_document(document["image"]),
            created=datetime.fromisoformat(document["created"]),
            started=_time(document["started"]),
            finished=_time(document["finished"]),
            exit_status=document["exitStatus"],
            oom_kills=document["oomKills"],
            remove=document["remove"],
            monitor=document["monitor"],
            addresses=tuple(document["addresses"]),
            copy_on_write=CopyOnWrite.from_json(document.get("copyOnWrite", {"by": KERNEL, "why": ""})),
        )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file; other processes that ask for it wait."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Directory:
    """The directory of one box."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def bundle(self) -> Path:
        """The directory of config.json and conmon's files."""
        return self.path / "bundle"

    @property
    def log(self) -> Path:
        """The box's output, as conmon writes it (k8s-file)."""
        return self.path / "log"

    @property
    def exit_file(self) -> Path:
        """conmon writes the exit status here (--exit-dir)."""
        return self.path / "exit" / self.path.name

    @property
    def oom_file(self) -> Path:
        """conmon creates it when the kernel kills a process of the box because memory has run out (--persist-dir)."""
        return self.bundle / "oom"

    @property
    def watch_file(self) -> Path:
        """The counts of memory.events, from the process that watches the box's memory (oom.py)."""
        return self.path / "memory.events"

    @property
    def watch_lock(self) -> Path:
        """That process holds this lock until it has written them."""
        return self.path / "memory.lock"

    def make(self) -> None:
        """Create it and its subdirectories: `upper` takes the changes to the root. Raises Error."""
        with reported_as("cannot make the box's directory", pointer=str(self.path)):
            self.path.mkdir(mode=0o711)
            for name, mode in (
                ("bundle", 0o711),
                ("root", 0o755),
                ("upper", 0o755),
                ("work", 0o755),
                ("etc", 0o755),
                ("exit", 0o700),
            ):
                (self.path / name).mkdir(mode=mode)

    def load(self) -> Record:
        """Read the record. Raises Error."""
        try:
            record = Record.from_json(json.loads((self.path / RECORD).read_bytes()))
            words = (record.name, record.image_name, record.image_key, record.rootfs)
            if record.id != self.path.name or not all(isinstance(word, str) for word in words):
                raise ValueError("not the record of this box")
            return record
        except FileNotFoundError:
            raise Error(f"there is no box {self.path.name}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, Error):
            raise Error(
                f"the record of box {self.path.name} cannot be read",
                pointer=str(self.path / RECORD),
                hint=f"remove it: ocipy box rm -f {self.path.name}",
            ) from None

    def save(self, record: Record) -> None:
        """Write it under a temporary name, and rename it. Raises Error."""
        new = self.path / (RECORD + ".new")
        with reported_as("cannot write the record of the box", pointer=str(self.path)):
            with open(new, "w", encoding="utf-8") as file:
                json.dump(record.to_json(), file)
            new.rename(self.path / RECORD)

    def change(self, **members: Any) -> Record:
        """Change members of the record. The caller holds the lock."""
        record = self.load()._replace(**members)
        self.save(record)
        return record

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the box: no other process starts, ends or removes it in the meantime. Raises Error if it is gone."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Error(f"there is no box {self.path.name}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not os.path.samestat(os.fstat(fd), self.path.stat()):
                raise FileNotFoundError
            yield
        except FileNotFoundError:
            if self.path.exists():
                raise
            raise Error(f"there is no box {self.path.name}") from None
        finally:
            os.close(fd)


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Lock a box's directory that has been renamed for removal. Raises OSError if another process holds the lock."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)
