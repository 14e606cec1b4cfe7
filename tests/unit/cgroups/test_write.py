"""The options of Cgroup.write, in a directory of ordinary files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ocipy.cgroups import files
from ocipy.cgroups.cgroup import Cgroup
from ocipy.errors import Error


@pytest.fixture
def cgroup(tmp_path: Path) -> Cgroup:
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text("")
    return Cgroup("v2", {"": str(tmp_path)}, [])


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, int]]:
    """The names of the written files in order; errno by name for files that refuse one write."""
    written: list[str] = []
    refuse: dict[str, int] = {}

    def write(path: str, value: str) -> None:
        name = path.rpartition("/")[2]
        written.append(f"{name}={value}")
        if name in refuse:
            code = refuse.pop(name)
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files, "write", write)
    return written, refuse


def test_missing_file(cgroup: Cgroup) -> None:
    with pytest.raises(Error) as caught:
        cgroup.write("", "missing", "1")
    assert caught.value.errno == 0, "engines would mistake ENOENT for a missing command"
    assert "o such file" not in caught.value.line and "not found" not in caught.value.line
    cgroup.write("", "missing", "1", optional=True)


def test_other_file(cgroup: Cgroup, tmp_path: Path) -> None:
    cgroup.write("", "missing", "1", other_file="one", other_value="10")
    assert (tmp_path / "one").read_text() == "10"
    cgroup.write("", "missing", "7", other_file="two")
    assert (tmp_path / "two").read_text() == "7"
    cgroup.write("", "three", "3", other_file="one")
    assert (tmp_path / "one").read_text() == "10"


def test_deferred(cgroup: Cgroup, refusing: tuple[list[str], dict[str, int]]) -> None:
    written, refuse = refusing
    refuse["one"] = errno.EINVAL
    cgroup.write("", "one", "1", defer="/pointer")
    cgroup.write("", "two", "2", resume=True)
    assert written == ["one=1", "two=2", "one=1"]
    cgroup.write("", "three", "3", resume=True)
    assert written[3:] == ["three=3"]


def test_deferred_and_refused_again(cgroup: Cgroup, refusing: tuple[list[str], dict[str, int]]) -> None:
    written, refuse = refusing
    refuse["one"] = errno.EINVAL
    cgroup.write("", "one", "1", defer="/pointer")
    refuse["one"] = errno.EINVAL
    with pytest.raises(Error) as caught:
        cgroup.write("", "two", "2", resume=True)
    assert (caught.value.pointer, caught.value.errno) == ("/pointer", errno.EINVAL)
    assert written == ["one=1", "two=2", "one=1"]


def test_other_errors_are_not_deferred(cgroup: Cgroup, refusing: tuple[list[str], dict[str, int]]) -> None:
    refusing[1]["one"] = errno.EBUSY
    with pytest.raises(Error):
        cgroup.write("", "one", "1", defer="/pointer")


def test_verified(tmp_path: Path) -> None:
    """A limit that the kernel accepts and ignores."""
    cgroup = Cgroup("v2", {"": str(tmp_path)}, [])
    limit = tmp_path / "limit"
    limit.write_text("")
    cgroup.write("", "limit", "10000001", verify=True)
    for shown, fits in (("9998336", True), ("9223372036854771712", False), ("9000000", False)):

        def read(path: str, shown: str = shown) -> str:
            return shown

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "read", read)
            if fits:
                cgroup.write("", "limit", "10000001", verify=True)
            else:
                with pytest.raises(Error, match="no longer has this limit"):
                    cgroup.write("", "limit", "10000001", verify=True)


def test_memory_in_use(tmp_path: Path, refusing: tuple[list[str], dict[str, int]]) -> None:
    (tmp_path / "memory.usage_in_bytes").write_text("4096\n")
    (tmp_path / "memory.max_usage_in_bytes").write_text("8192\n")
    refusing[1]["memory.limit_in_bytes"] = errno.EBUSY
    with pytest.raises(Error, match=r"1 byte: 4096 bytes \(4 KiB\) are in use, the peak was 8192 bytes"):
        Cgroup("v1", {"memory": str(tmp_path)}, []).write("memory", "memory.limit_in_bytes", "1")


def test_check_before_update(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("1000\n")
    cgroup = Cgroup("v2", {"": str(tmp_path)}, [])
    cgroup.check_memory(1001, 0)
    for limit, swap in ((1000, 0), (2000, 999)):
        with pytest.raises(Error, match="1000 bytes are in use"):
            cgroup.check_memory(limit, swap)
