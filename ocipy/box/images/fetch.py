"""Fetches what IMAGE on the command line names, with skopeo and umoci, which know the formats and transports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ocipy import Error
from ocipy.box import tools
from ocipy.box.config import ImageConfig
from ocipy.box.images import archive, busybox
from ocipy.box.images.reference import Reference
from ocipy.box.images.store import PARTIAL, Image, Store
from ocipy.box.progress import Progress
from ocipy.errors import reported_as

TAG = "box"
CHUNK = 1 << 20


def fetch(store: Store, where: Reference, name: str, id_map: tuple[int, int] | None) -> Image:
    """Fetch, unpack and name an image. id_map: see lookup.get. Raises Error."""
    with store.locked():
        if where.kind == "busybox":
            return _busybox(store, name, id_map)
        digest = _digest(where)
        key = digest.replace(":", "-") + (f"-{id_map[0]}" if id_map else "")
        if store.has(key):
            return store.add(name, key, digest, lambda _: ImageConfig())
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=store.directory) as work:
            layout = f"{work}/oci:{TAG}"
            config = _layout_of_tar(where, work) if where.kind == "tar" else _copy(where, work, digest)
            layers = layers_of(layout)
            if where.kind != "tar":  # a tar was checked before it became a layer
                _check(where, layers)
            digests = [path.name for path in layers]

            def fill(rootfs: Path) -> ImageConfig:
                _unpack(where, layout, rootfs, id_map)
                return config

            return store.add(name, key, digest, fill, digests)


def _digest(where: Reference) -> str:
    """The digest that identifies the image: of its manifest at the source, or of the tar."""
    import hashlib  # OpenSSL's functions, which a snapshot cannot have

    if where.kind != "tar":
        words = ["skopeo", "inspect", "--raw", *where.flags("--tls-verify=false"), where.transport]
        return "sha256:" + hashlib.sha256(tools.output_of(words, f"cannot pull {where.name}")).hexdigest()
    digest = hashlib.sha256()
    with Progress(f"reading {where.name}", os.path.getsize(where.source)) as progress, open(where.source, "rb") as file:
        while data := file.read(CHUNK):
            digest.update(data)
            progress.advance(len(data))
    return "sha256:" + digest.hexdigest()


def _busybox(store: Store, name: str, id_map: tuple[int, int] | None) -> Image:
    path = busybox.find()
    digest = busybox.digest(path)

    def fill(rootfs: Path) -> ImageConfig:
        config = busybox.fill(path, rootfs)
        if id_map:
            for place, directories, names in os.walk(rootfs):
                for one in (*directories, *names, "."):
                    os.chown(os.path.join(place, one), id_map[0], id_map[0], follow_symlinks=False)
        return config

    return store.add(name, "busybox-" + digest[7:] + (f"-{id_map[0]}" if id_map else ""), digest, fill)


def _copy(where: Reference, work: str, digest: str) -> ImageConfig:
    """Copy an image into our layout. Return its config."""
    target = f"oci:{work}/oci:{TAG}"
    flags = where.flags("--src-tls-verify=false")
    with Progress(f"pulling {where.name}"):
        tools.output_of(
            ["skopeo", "--insecure-policy", "copy", "--quiet", *flags, where.pinned(digest), target],
            f"cannot pull {where.name}",
        )
    document = _document(["skopeo", "inspect", "--config", target], f"cannot read {where.name}")
    return ImageConfig.from_document(document.get("config") or {})


def _layout_of_tar(where: Reference, work: str) -> ImageConfig:
    """Make a layout with the tar as its only layer. Return the config of such an image."""
    plain = Path(work) / "layer.tar"
    check = archive.Check(where.name)
    with archive.opened(where.source, where.name) as members:
        check.layer(members)
    decompress(where, plain, archive.Limits().size)
    with Progress(f"unpacking {where.name}"):
        for words in (["init", "--layout", f"{work}/oci"], ["new", "--image", f"{work}/oci:{TAG}"]):
            tools.output_of(["umoci", *words], f"cannot unpack {where.name}")
        tools.output_of(
            ["umoci", "raw", "add-layer", "--image", f"{work}/oci:{TAG}", str(plain)], f"cannot unpack {where.name}"
        )
    plain.unlink()
    return ImageConfig(command=("/bin/sh",))


def decompress(where: Reference, plain: Path, limit: int) -> None:
    """Decompress the tar with the program for its format. Raises Error if that yields more than `limit` bytes: what
    follows the end of the archive has not been checked."""
    what = f"cannot unpack {where.name}"
    with open(where.source, "rb") as file:
        magic = file.read(6)
    program = next((words for start, words in COMPRESSIONS if magic.startswith(start)), None)
    if program is None:
        with reported_as(what):
            shutil.copyfile(where.source, plain)
        return
    process = tools.begin([*program, where.source], what, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with reported_as(what), process, open(plain, "wb") as out:
        assert process.stdout is not None
        assert process.stderr is not None
        while data := process.stdout.read(CHUNK):
            out.write(data)
            if out.tell() > limit:
                process.kill()
                raise Error(f"{where.name} would exceed {limit} bytes", hint="it may be a decompression bomb")
        said = tools.last_words(program[0], process.stderr.read())
    if process.returncode:
        tools.check_not_its_input(program[0], what, said, process.returncode)
        raise Error(f"{where.name} is damaged: {said}")


COMPRESSIONS = (
    (archive.GZIP, ("gzip", "-dc")),
    (archive.XZ, ("xz", "-dc")),
    (archive.ZSTD, ("zstd", "-dcq")),
    (archive.BZIP2, ("bzip2", "-dc")),
)


def _document(words: Sequence[str], what: str) -> dict[str, Any]:
    """The image's JSON object as skopeo prints it, including members that skopeo does not know."""
    try:
        document: dict[str, Any] = json.loads(tools.output_of(words, what))
    except (ValueError, RecursionError) as error:
        raise Error(f"{what}: {error}") from None
    return document


def layers_of(layout: str) -> list[Path]:
    """The layer files of an image in a layout, lowest first."""
    place, _, _ = layout.rpartition(":")
    manifest = _document(["skopeo", "inspect", "--raw", f"oci:{layout}"], "cannot read the image")
    layers = manifest.get("layers") or ()  # Go writes an empty list as null
    return [Path(place, "blobs", *layer["digest"].split(":", 1)) for layer in layers]


def _check(where: Reference, layers: Sequence[Path]) -> None:
    check = archive.Check(where.name)
    with Progress(f"checking {where.name}", len(layers)) as progress:
        for path in layers:
            with archive.opened(str(path), where.name) as members:
                check.layer(members)
            progress.advance(1)


def _unpack(where: Reference, layout: str, rootfs: Path, id_map: tuple[int, int] | None) -> None:
    flags = []
    if id_map is not None:
        flags = [word for kind in ("--uid-map", "--gid-map") for word in (kind, f"0:{id_map[0]}:{id_map[1]}")]
    elif os.geteuid() != 0:
        flags = ["--rootless"]
    rootfs.rmdir()  # umoci makes it
    with Progress("unpacking"):
        tools.output_of(
            ["umoci", "raw", "unpack", *flags, "--image", layout, str(rootfs)], f"cannot unpack {where.name}"
        )
