"""Images that attack: each is refused by name, and harms nothing."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.box.conftest import Box

SECRET = "nobody writes here"


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    """The header of a member."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


NEGATIVE = "a file of negative size"  # newer versions of tarfile refuse it themselves (CVE-2025-8194)
# {} is a directory outside, whose file must not be written, linked or removed.
HOSTILE = {
    "two dots": ([member("../../../../../../../../{}/made")], "has a"),
    "two dots inside": ([member("a/../../../../../../../../../{}/made")], "has a"),
    "an absolute name": ([member("{}/made")], "is absolute"),
    "a symlink out": ([member("x", tarfile.SYMTYPE, "{}"), member("x/made")], "leads out"),
    "a symlink up": ([member("x", tarfile.SYMTYPE, "../../../../../../../..{}"), member("x/made")], "leads out"),
    "symlinks in turn": (
        [member("a/b", tarfile.SYMTYPE, ".."), member("a/c", tarfile.SYMTYPE, "b/../../../.."), member("a/c/made")],
        "leads out",
    ),
    "a hard link out": ([member("x", tarfile.LNKTYPE, "{}/file")], "links to"),
    "a hard link up": ([member("x", tarfile.LNKTYPE, "../../../../../../../..{}/file")], "links to"),
    "a hard link to a symlink out": (
        [member("s", tarfile.SYMTYPE, "{}/file"), member("x", tarfile.LNKTYPE, "s")],
        "a hard link to a symlink",
    ),
    "a block device": ([member("dev/sda", tarfile.BLKTYPE)], "device"),
    "a character device": ([member("dev/mem", tarfile.CHRTYPE)], "device"),
    "a whiteout of nothing": ([member("a/.wh...")], "whiteout"),
    "a whiteout below a symlink out": ([member("x", tarfile.SYMTYPE, "{}"), member("x/.wh.file")], "leads out"),
    "a file of an exabyte": ([member("bomb", size=1 << 60)], "20 GiB"),
    "a name without an end": ([member("n" * 5000)], "4096 characters"),
    NEGATIVE: ([member("hollow", size=-1)], "negative"),
}


def archive_of(members: Sequence[tarfile.TarInfo], outside: Path) -> bytes:
    """A tar of these headers; the content of the members may be missing."""
    made = b""
    for one in members:
        copy = member(one.name.format(outside), one.type, one.linkname.format(outside), one.size)
        made += copy.tobuf(tarfile.GNU_FORMAT)
    return made + bytes(1024)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    made = tmp_path / "outside"
    made.mkdir()
    (made / "file").write_text(SECRET)
    return made


@pytest.mark.parametrize("layer", [False, True], ids=["archive", "layer"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_harm_nothing_and_are_refused_by_name(
    box: Box, tmp_path: Path, outside: Path, case: str, layer: bool
) -> None:
    """As a tar, and as a layer of an image."""
    members, why = HOSTILE[case]
    image = tmp_path / "hostile.tar"
    image.write_bytes(archive_of(members, outside))
    told = box("run", "--rm", "--network", "none", image_of(image, layer), "true", status=125)
    if case != NEGATIVE or "invalid offset" not in told.stderr:
        assert "is refused for" in told.stderr and why in told.stderr
        assert members[-1].name[:100].format(outside) in told.stderr
    assert told.stderr.count("\n") <= 2 and "Traceback" not in told.stderr
    assert os.listdir(outside) == ["file"] and (outside / "file").read_text() == SECRET
    assert (outside / "file").stat().st_nlink == 1
    assert sorted(os.listdir(box.places / "data/images")) == ["lock"] and box("ps", "-aq").stdout == ""


def image_of(archive: Path, layer: bool) -> str:
    """The archive as IMAGE, or an image with it as its only layer, unchanged: umoci would refuse to make some."""
    if not layer:
        return str(archive)
    layout = archive.parent / "layout"
    for words in (["init", "--layout", layout], ["new", "--image", f"{layout}:x"]):
        subprocess.run(["umoci", *words], check=True, capture_output=True)
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob_of(layout, index["manifests"][0]["digest"]).read_bytes())
    config = json.loads(blob_of(layout, manifest["config"]["digest"]).read_bytes())
    content = archive.read_bytes()
    tar = "application/vnd.oci.image.layer.v1.tar"
    manifest["layers"] = [{"mediaType": tar, **stored(layout, content)}]
    config["rootfs"]["diff_ids"] = [manifest["layers"][0]["digest"]]
    manifest["config"] |= stored(layout, json.dumps(config).encode())
    index["manifests"][0] |= stored(layout, json.dumps(manifest).encode())
    (layout / "index.json").write_text(json.dumps(index))
    return f"oci:{layout}:x"


def blob_of(layout: Path, digest: str) -> Path:
    """The file of a digest."""
    return layout / "blobs" / digest.replace(":", "/")


def stored(layout: Path, content: bytes) -> dict[str, object]:
    """Store a blob. Return what describes it."""
    import hashlib

    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    blob_of(layout, digest).write_bytes(content)
    return {"digest": digest, "size": len(content)}


def test_a_bomb_fills_neither_the_memory_nor_the_disk(box: Box, tmp_path: Path) -> None:
    """A header of a gigabyte, once it is decompressed."""
    path = tmp_path / "bomb.tar.gz"
    header = member("path", tarfile.GNUTYPE_LONGNAME, size=1 << 30)
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(1 << 6):
            out.write(bytes(1 << 24))
    told = box("run", "--rm", "--network", "none", str(path), "true", status=125)
    assert "a header has more than 1 MiB" in told.stderr
    assert sorted(os.listdir(box.places / "data/images")) == ["lock"]


@pytest.mark.parametrize(
    "kind",
    ["Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Labels", "NUL", "no config", "no layers", "artifact", "deep"],
)
def test_an_odd_config_is_refused_in_a_line(box: Box, tmp_path: Path, kind: str) -> None:
    """A member of a wrong type, or a value that no process can have: no traceback, and no box."""
    archive = tmp_path / "fine.tar"
    with tarfile.open(archive, "w") as out:
        info = member("etc/os")
        out.addfile(info, io.BytesIO())
    layout = Path(image_of(archive, True).split(":")[1])
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads(blob_of(layout, index["manifests"][0]["digest"]).read_bytes())
    config = json.loads(blob_of(layout, manifest["config"]["digest"]).read_bytes())
    if kind == "NUL":
        config["config"] = {"Env": ["A=\0"], "Cmd": ["/bin/sh"]}
    elif kind == "no config":
        del manifest["config"]
    elif kind == "no layers":
        del manifest["layers"]
    elif kind == "deep":
        manifest["deep"] = "DEEP"
    elif kind == "artifact":
        manifest["config"]["mediaType"] = "application/vnd.example.thing+json"
        manifest["layers"][0]["mediaType"] = "text/plain"
    else:
        config["config"] = {kind: 7}
    if "config" in manifest:
        manifest["config"] |= stored(layout, json.dumps(config).encode())
    deep = "[" * 5000 + "]" * 5000  # more than Python's parser takes, and less than Go's
    index["manifests"][0] |= stored(layout, json.dumps(manifest).replace('"DEEP"', deep).encode())
    (layout / "index.json").write_text(json.dumps(index))
    told = box("run", "--rm", "--network", "none", f"oci:{layout}:x", status=125)
    assert told.stderr.startswith("ocipy: box run: ") and told.stderr.count("\n") <= 2
    assert "Traceback" not in told.stderr and "internal" not in told.stderr
    assert box("ps", "-aq").stdout == ""
