"""The cache of compiled filters: which are reused, and which are not (ocipy/host/seccomp.py)."""

from __future__ import annotations

import os
import posix
from pathlib import Path
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.host import seccomp
from ocipy.host.seccomp_compile import compile_profile


def deny_all(*names: str, **rest: Any) -> Any:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": list(names), "action": "SCMP_ACT_ALLOW"}], **rest}


@pytest.fixture
def directory(tmp_path: Path) -> Any:
    root = tmp_path / "root"
    root.mkdir()
    fd = seccomp._open_private(str(root), (seccomp.LOCAL_CACHE,))
    yield fd
    os.close(fd)


def test_a_stored_file_comes_back(directory: int) -> None:
    seccomp.store(directory, "a", "key", b"12345678")
    assert seccomp.read_cached(directory, "a", "key") == b"12345678"
    assert os.listdir(directory) == ["a"]


@pytest.mark.parametrize("damage", ["content", "key", "mode", "owner", "link", "symlink", "cut", "fifo", "empty"])
def test_a_changed_file_is_not_used(directory: int, damage: str) -> None:
    seccomp.store(directory, "a", "key", b"12345678")
    key = "key"
    if damage == "content":
        fd = os.open("a", os.O_WRONLY, dir_fd=directory)
        os.pwrite(fd, b"X", seccomp.HEADER)
        os.close(fd)
    elif damage == "key":
        key = "another"
    elif damage == "mode":
        posix.chmod("a", 0o660, dir_fd=directory)
    elif damage == "owner":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown("a", 12345, -1, dir_fd=directory)
    elif damage == "link":
        os.link("a", "b", src_dir_fd=directory, dst_dir_fd=directory)
    elif damage == "symlink":
        os.rename("a", "b", src_dir_fd=directory, dst_dir_fd=directory)
        os.symlink("b", "a", dir_fd=directory)
    elif damage == "cut":
        fd = os.open("a", os.O_WRONLY, dir_fd=directory)
        os.ftruncate(fd, seccomp.HEADER + 4)
        os.close(fd)
    elif damage == "empty":
        fd = os.open("a", os.O_WRONLY | os.O_TRUNC, dir_fd=directory)
        os.close(fd)
    elif damage == "fifo":
        os.unlink("a", dir_fd=directory)
        os.mkfifo("a", 0o600, dir_fd=directory)
    assert seccomp.read_cached(directory, "a", key) is None


def test_a_directory_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    (tmp_path / seccomp.LOCAL_CACHE).mkdir()
    (tmp_path / seccomp.LOCAL_CACHE).chmod(0o770)
    with pytest.raises(OSError):
        seccomp._open_private(str(tmp_path), (seccomp.LOCAL_CACHE,))


def test_a_link_in_the_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / seccomp.LOCAL_CACHE).symlink_to("elsewhere")
    with pytest.raises(OSError):
        seccomp._open_private(str(tmp_path), (seccomp.LOCAL_CACHE,))


def test_a_second_use_takes_the_stored_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "SYSTEM_CACHE", str(tmp_path / "missing"))
    compilations = []
    compile_in_child = seccomp.compile_in_child

    def counting(text: bytes) -> tuple[bytes, bytes]:
        compilations.append(text)
        return compile_in_child(text)

    monkeypatch.setattr(seccomp, "compile_in_child", counting)
    profile = deny_all("read")
    first = seccomp.program(profile, str(tmp_path))
    assert first == compile_profile(profile)[0]
    assert seccomp.program(profile, str(tmp_path)) == first
    assert len(compilations) == 1
    other = deny_all("write")
    assert seccomp.program(other, str(tmp_path)) == compile_profile(other)[0] != first
    assert len(compilations) == 2


def test_another_library_makes_another_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "SYSTEM_CACHE", str(tmp_path / "missing"))
    library = tmp_path / "library"
    library.write_bytes(b"one")
    answers = [(b"program1", str(library).encode() + b"\n1"), (b"program2", str(library).encode() + b"\n2")]
    monkeypatch.setattr(seccomp, "compile_in_child", lambda text: answers.pop(0))
    profile = deny_all("read")
    assert seccomp.program(profile, str(tmp_path)) == b"program1"
    assert seccomp.program(profile, str(tmp_path)) == b"program1"
    library.write_bytes(b"another")
    assert seccomp.program(profile, str(tmp_path)) == b"program2"


def test_the_oldest_are_evicted(directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "MAX_FILTERS", 3)
    seccomp.store(directory, seccomp.LIBRARY, seccomp.LIBRARY, b"library")
    for index in range(5):
        seccomp.store(directory, str(index), "key", b"12345678")
        os.utime(str(index), ns=(index, index), dir_fd=directory)
    seccomp._evict(directory)
    assert sorted(os.listdir(directory)) == ["2", "3", "4", seccomp.LIBRARY]


def test_an_error_of_the_compiler_is_passed_on_by_the_child(tmp_path: Path) -> None:
    profile = deny_all("read", architectures=["SCMP_ARCH_S390X"])
    with pytest.raises(Error) as caught:
        seccomp.program(profile, str(tmp_path))
    assert caught.value.pointer == "/linux/seccomp/architectures/0"
