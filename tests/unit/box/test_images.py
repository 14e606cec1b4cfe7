"""The meaning of IMAGE, and refused archives, whose error names the member."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy import Error
from ocipy.box.images import archive, fetch, reference


@pytest.mark.parametrize(
    ("word", "full"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("me/app", "docker.io/me/app:latest"),
        ("localhost:5000/name:tag", "localhost:5000/name:tag"),
        ("quay.io/a/b@sha256:0123", "quay.io/a/b@sha256:0123"),
    ],
)
def test_names_of_a_registry(word: str, full: str) -> None:
    found = reference.parse(word)
    assert (found.kind, found.source) == ("registry", full)


@pytest.mark.parametrize("word", ["", "--help", "a b", "a\nb", "$(x)", "a;b"])
def test_invalid_image_names(word: str) -> None:
    with pytest.raises(Error):
        reference.parse(word)


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "root.tar.gz").write_bytes(b"")
    assert reference.parse(str(tmp_path)).kind == "directory"
    assert reference.parse(f"{tmp_path}/root.tar.gz").kind == "tar"
    assert reference.parse("busybox").kind == "busybox"
    (tmp_path / "layout").mkdir()
    found = reference.parse(f"oci:{tmp_path}/layout:v1")
    assert found.transport == f"oci:{tmp_path}/layout:v1"
    for missing in (f"{tmp_path}/none.tar", f"oci:{tmp_path}/none", "oci:", "docker-archive:/none"):
        with pytest.raises(Error):
            reference.parse(missing)


def test_a_registry_on_this_machine_need_not_speak_tls() -> None:
    assert reference.parse("localhost:5000/x").is_local_registry
    assert reference.parse("127.0.0.1:5000/x").is_local_registry
    assert reference.parse("[::1]:5000/x").is_local_registry
    for word in ("localhost.example.org/x", "127.0.0.1.example.org/x", "127.example.org/x", "alpine"):
        assert not reference.parse(word).is_local_registry


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


SYM, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([member("../evil")], '".."'),
        ([member("a/../../evil")], '".."'),
        ([member("/etc/evil")], "absolute"),
        ([member("etc", SYM, "/etc"), member("etc/evil")], "leads out"),
        ([member("etc", SYM, "../../etc"), member("etc/evil")], "leads out"),
        ([member("a/b", SYM, "../../x"), member("a/b/evil")], "leads out"),
        ([member("evil", HARD, "/etc/shadow")], "links to"),
        ([member("evil", HARD, "../shadow")], "links to"),
        ([member("x", SYM, "/etc"), member("evil", HARD, "x/shadow")], "leads out"),
        ([member("x", SYM, "/etc/shadow"), member("evil", HARD, "x")], "hard link to a symlink"),
        ([member("dev/sda", tarfile.BLKTYPE)], "device"),
        ([member("dev/mem", tarfile.CHRTYPE)], "device"),
        ([member("x", SYM, "/etc"), member("x/.wh.passwd")], "leads out"),
        ([member("a/.wh...")], "whiteout"),
        ([member("bomb", size=1 << 60)], "GiB"),
        ([member("n" * 5000)], "characters"),
        ([member("long", SYM, "n" * 5000)], "characters"),
        ([member("hollow", size=-1)], "negative"),
    ],
)
def test_hostile_members_are_refused_by_name(members: list[tarfile.TarInfo], why: str) -> None:
    with pytest.raises(Error, match="IMAGE is refused for") as caught:
        archive.Check("IMAGE").layer(members)
    assert why in caught.value.what
    assert members[-1].name[:100] in caught.value.what


def test_ordinary_members_are_accepted() -> None:
    archive.Check("IMAGE").layer(
        [
            member("./"),
            member("bin", SYM, "usr/bin"),
            member("usr/bin/sh", SYM, "busybox"),
            member("bin/thing"),
            member("etc/mtab", SYM, "/proc/mounts"),
            member("var/run", SYM, "../run"),
            member("usr/bin/again", HARD, "usr/bin/thing"),
            member("run/fifo", tarfile.FIFOTYPE),
            member("etc/.wh.motd"),
            member("opt/.wh..wh..opq"),
        ]
    )


def test_a_link_of_one_layer_is_there_for_the_next() -> None:
    check = archive.Check("IMAGE")
    check.layer([member("etc", SYM, "/etc")])
    with pytest.raises(Error, match="leads out"):
        check.layer([member("etc/evil")])
    check = archive.Check("IMAGE")
    check.layer([member("etc", SYM, "/etc")])
    check.layer([member(".wh.etc"), member("etc", tarfile.DIRTYPE), member("etc/fine")])


@pytest.mark.parametrize(
    "members",
    [
        [member("a/b/c/d", SYM, "../../.."), member("a/b/c/d/e", SYM, "../../.."), member("e/evil")],
        [member("a/b/c/up", SYM, "../../.."), member("l", HARD, "a/b/c/up"), member("l/evil")],
        [member("a/b/c", SYM, "../../x"), member("a/b/c/l", SYM, "../.."), member("x/l/evil")],
        [member("a", SYM, "b"), member("b", SYM, "a"), member("a/evil")],
        [member("d", SYM, "."), member("s", SYM, "d/../.."), member("s/evil")],
    ],
)
def test_symlinks_are_followed_to_see_where_they_lead(members: list[tarfile.TarInfo]) -> None:
    check = archive.Check("IMAGE")
    with pytest.raises(Error, match="IMAGE is refused for"):
        check.layer(members)


def test_symlinks_within_the_root_are_followed() -> None:
    check = archive.Check("IMAGE")
    check.layer([member("lib", SYM, "usr/lib"), member("lib/x", SYM, "../../etc"), member("usr/lib/x/fine")])
    check.layer([member("a/b/c/up", SYM, "../../.."), member("a/b/c/up/etc/fine"), member("a/b/c/up/lib/fine")])


def test_too_many_members() -> None:
    check = archive.Check("IMAGE", archive.Limits(members=2))
    with pytest.raises(Error, match="more than 2 files"):
        check.layer([member("a"), member("b"), member("c")])


def test_too_many_long_symlinks() -> None:
    check = archive.Check("IMAGE", archive.Limits(links=100))
    with pytest.raises(Error, match="too many long symlinks"):
        check.layer([member("n" * 30, SYM, "m" * 30), member("o" * 30, SYM, "m" * 30)])


def test_files_that_are_not_tar_archives(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    for content in (b"", b"not a tar at all" * 100, b"\x1f\x8b not gzip"):
        path.write_bytes(content)
        with pytest.raises(Error, match="not a tar archive"), archive.opened(str(path), "IMAGE") as members:
            list(members)


def test_members_are_read_as_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as made:
        for name in ("a", "b"):
            info = tarfile.TarInfo(name)
            info.size = 3
            made.addfile(info, io.BytesIO(b"abc"))
    with archive.opened(str(path), "IMAGE") as members:
        assert [one.name for one in members] == ["a", "b"]


def names_in(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    with archive.opened(str(path), "IMAGE") as members:
        return [one.name for one in members]


def tar_of(*names: str, end: bool = True, pax: dict[str, str] | None = None) -> bytes:
    """A tar of empty files. end: with its end-of-archive mark."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=pax or {}) as made:
        for name in names:
            made.addfile(tarfile.TarInfo(name))
        size = made.offset
    return buffer.getvalue() if end else buffer.getvalue()[:size]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, bz2.compress])
def test_all_of_a_file_that_was_compressed_in_parts_is_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Otherwise only its beginning would be checked. eStargz layers are made this way."""
    whole = compress(tar_of("a", end=False)) + compress(tar_of("b", "c"))
    assert names_in(tmp_path / "x.tar", whole) == ["a", "b", "c"]
    with pytest.raises(Error, match="damaged"):
        names_in(tmp_path / "x.tar", compress(tar_of("a", end=False))[:-12])


@pytest.mark.parametrize("key", ["path", "linkpath", "size", "GNU.sparse.name"])
def test_a_global_header_must_not_hide_what_members_are(tmp_path: Path, key: str) -> None:
    with pytest.raises(Error, match=f"a global header sets {key}"):
        names_in(tmp_path / "x.tar", tar_of("../evil", pax={key: "1"}))
    assert names_in(tmp_path / "x.tar", tar_of("fine", pax={"comment": "of git archive"})) == ["fine"]


def header(kind: bytes, size: int) -> bytes:
    return member("x", kind, size=size).tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_no_header_fills_the_memory(tmp_path: Path, kind: bytes) -> None:
    """tarfile reads it as a whole: a gigabyte of zeros is a megabyte when compressed."""
    with pytest.raises(Error, match="a header has more than 1 MiB"):
        names_in(tmp_path / "x.tar", header(kind, 2 << 20) + bytes(2 << 20) + tar_of("a"))


def test_a_header_of_negative_size(tmp_path: Path) -> None:
    """Python's tarfile notices it earlier in some versions (Debian 12's 3.11.2)."""
    with pytest.raises(Error, match=r"a size is negative|invalid offset"):
        names_in(tmp_path / "x.tar", header(tarfile.GNUTYPE_LONGNAME, -1024) + tar_of("a"))


def test_many_headers_of_a_member(tmp_path: Path) -> None:
    one = header(tarfile.GNUTYPE_LONGNAME, 2) + b"a\0".ljust(512, b"\0")
    with pytest.raises(Error, match="damaged"):
        names_in(tmp_path / "x.tar", one * 900 + tar_of("a"))
    assert names_in(tmp_path / "x.tar", (one + header(tarfile.REGTYPE, 0)) * 2000) == ["a"] * 2000


def test_what_follows_an_archive_does_not_fill_the_disk(tmp_path: Path) -> None:
    path, plain = tmp_path / "x.tar.gz", tmp_path / "plain"
    path.write_bytes(gzip.compress(tar_of("a") + bytes(8 << 20)))
    where = reference.parse(str(path))
    with pytest.raises(Error, match="would exceed"):
        fetch.decompress(where, plain, 4 << 20)
    assert plain.stat().st_size < 6 << 20
    fetch.decompress(where, plain, 16 << 20)
    assert plain.read_bytes() == tar_of("a") + bytes(8 << 20)
