"""What init looks up in the container's files: the command, and the user's home."""

from __future__ import annotations

import errno
import os
import posix
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.init import lookup, process
from ocipy.init.context import Init
from ocipy.plan.process import Command
from tests.unit.fake_init import fake_init


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Init]:
    (tmp_path / "etc").mkdir()
    made = fake_init(tmp_path)
    yield made
    os.close(made.rootfs)
    os.close(made.proc)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Three directories: in them, a tool that is not executable, one that is a directory, and a good one."""
    for number, mode in ((1, 0o644), (3, 0o755)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "tool").write_text("")
        (tmp_path / str(number) / "tool").chmod(mode)
    (tmp_path / "2/tool").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return b":".join(os.fsencode(tmp_path / number) for number in ("nowhere", "1", "2", "3"))


def test_the_first_executable_file_in_path_is_found(path: bytes) -> None:
    assert lookup.find(b"tool", path) == path.split(b":")[3] + b"/tool"


@pytest.mark.usefixtures("path")
def test_an_empty_entry_is_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path / "3")
    assert lookup.find(b"tool", b"/nowhere:") == b"./tool"


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("name", [b"tool", b"", b".", b"..", b"missing"])
@pytest.mark.parametrize("path_variable", [b"", b"/nowhere"])
def test_there_is_no_default_path(name: bytes, path_variable: bytes) -> None:
    with pytest.raises(Error) as caught:
        lookup.find(name, path_variable)
    assert caught.value.line == f'exec: "{name.decode()}": executable file not found in $PATH'


def test_files_that_cannot_be_executed_are_not_found(path: bytes) -> None:
    with pytest.raises(Error, match=r"executable file not found in \$PATH"):
        lookup.find(b"tool", b":".join(path.split(b":")[:3]))


@pytest.mark.parametrize(
    ("name", "variable", "hint"),
    [
        ("tool", "1:2", "1/tool exists, but its mode, 0644, has no execute bit"),
        ("tool", "nowhere:2", "the container does not have it in nowhere:2"),
        ("tool", "", "process.env has no PATH"),
        ("1/tool", "", "its mode, 0644, has no execute bit"),
        ("./no", "", "the container does not have this file"),
        ("1/tool/x", "", "a file is where the path needs a directory"),
        ("/etc", "", ""),
    ],
)
def test_the_likely_cause(path: bytes, name: str, variable: str, hint: str) -> None:
    with pytest.raises(Error) as caught:
        lookup.find(name.encode(), variable.encode())
    assert caught.value.hint == hint


def test_a_command_that_only_others_may_execute(path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only other users may execute it, or the filesystem is noexec: access(2) refuses both."""
    monkeypatch.setattr(posix, "access", lambda *_arguments, **_options: False)
    with pytest.raises(Error, match="permission denied") as caught:
        lookup.find(b"3/tool", b"")
    hint = "its mode, 0755, does not let process.user execute it, or its filesystem is mounted noexec"
    assert caught.value.hint == hint


def test_a_name_with_a_slash_is_not_looked_up_in_path(path: bytes) -> None:
    assert lookup.find(b"3/tool", b"") == b"3/tool"
    assert lookup.find(b"./3/tool", path) == b"./3/tool"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("./no", 'exec: "./no": stat ./no: no such file or directory'),
        ("1/tool/x", 'exec: "1/tool/x": stat 1/tool/x: not a directory'),
        ("1/tool", 'exec: "1/tool": permission denied'),
        ("/etc", 'exec: "/etc": is a directory'),
        ("2/tool", 'exec: "2/tool": is a directory'),
        ('/a"b\n', 'exec: "/a\\"b?": stat /a"b\\n: no such file or directory'),
    ],
)
def test_sentences_that_engines_know(path: bytes, name: str, sentence: str) -> None:
    with pytest.raises(Error) as caught:
        lookup.find(name.encode(), path)
    assert caught.value.line == sentence


def test_the_path_is_that_of_the_process(path: bytes, init: Init) -> None:
    init.environment = {b"PATH": path}
    process.command(init, Command("/process/args/0", name="tool"))
    assert init.command.endswith(b"/3/tool")


def test_home_is_found_by_uid() -> None:
    passwd = b"root:x:0:0:root:/root:/bin/sh\n1000:x:0:0::/wrong:\nuser:x:1000:1000::/home/user:/bin/sh\nx:x:1000::\n"
    assert lookup.find_home(passwd, 0) == b"/root"
    assert lookup.find_home(passwd, 1000) == b"/home/user"
    assert lookup.find_home(passwd, 7) == b""


@pytest.mark.parametrize(("uid", "written"), [(500, b"0500"), (500, b"000500"), (0, b"0"), (0, b"00")])
def test_home_is_found_for_a_uid_with_leading_zeros(uid: int, written: bytes) -> None:
    """libc reads it as a decimal number (getpwuid(3)), and so runc and crun find it."""
    assert lookup.find_home(b"a:x:5:5::/5:\nb:x:%s:5::/home/b:\n" % written, uid) == b"/home/b"


@pytest.mark.parametrize(
    "passwd", [b"", b"\n\n", b"root", b"root:x:0:0:root", b"root:x: 0:0:r:/x:", b"root:x::0:r:/x:", b"r:x:0:0:r:/\0:"]
)
def test_malformed_passwd_lines(passwd: bytes) -> None:
    assert lookup.find_home(passwd, 0) == b""


def test_home_is_read_below_the_root(init: Init, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/home/of/image:/bin/sh\n")
    assert lookup.home_directory(init, 0) == b"/home/of/image"
    assert lookup.home_directory(init, 1) == b"/"


def test_a_passwd_that_leads_out_of_the_root(init: Init, tmp_path: Path) -> None:
    """In the host's file root has the home /root; the image's link must not lead there."""
    (tmp_path / "etc/passwd").symlink_to("../../../../../../etc/passwd")
    assert lookup.home_directory(init, 0) == b"/"


def test_a_passwd_that_would_block_forever(init: Init, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "etc/passwd")
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(lookup.home_directory(init, 0)), daemon=True)
    thread.start()
    thread.join(10)
    assert found == [b"/"]


def test_a_passwd_that_is_a_directory_or_missing(init: Init, tmp_path: Path) -> None:
    assert lookup.home_directory(init, 0) == b"/"
    (tmp_path / "etc/passwd").mkdir()
    assert lookup.home_directory(init, 0) == b"/"


def test_an_endless_passwd_is_read_up_to_a_limit(init: Init, tmp_path: Path) -> None:
    with (tmp_path / "etc/passwd").open("wb") as file:
        file.write(b"root:x:0:0:root:/early:/bin/sh\n")
        file.truncate(1 << 40)
    assert lookup.home_directory(init, 0) == b"/early"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EACCES, errno.EIO, errno.ESRCH, errno.EISDIR])
def test_an_unreadable_passwd_gives_no_home(
    init: Init, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Reading a file of procfs or FUSE can fail in any way."""

    def read(_fd: int, _count: int) -> bytes:
        raise OSError(number, "")

    (tmp_path / "etc/passwd").write_text("root:x:0:0:root:/home/of/image:/bin/sh\n")
    monkeypatch.setattr(posix, "read", read)
    assert lookup.home_directory(init, 0) == b"/"
