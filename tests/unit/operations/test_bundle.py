"""Reading a bundle: valid ones, and one clear error for each fault (operations/bundle.py)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.operations import bundle
from tests.unit.documents import minimal, put, real_configs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A valid bundle."""
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "config.json").write_text(json.dumps(minimal()))
    return tmp_path


def rewrite(directory: Path, config: Any) -> None:
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    (directory / "config.json").write_bytes(text)


def error_of(directory: Path | str, name: str = "config.json") -> Error:
    with pytest.raises(Error) as caught:
        bundle.read(str(directory), name)
    return caught.value


def test_reads_path_and_config(directory: Path) -> None:
    assert bundle.read(str(directory)) == (str(directory), minimal())


def test_the_path_becomes_absolute_and_real(
    directory: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "link").symlink_to(directory)
    monkeypatch.chdir(elsewhere)
    assert bundle.read("./link/rootfs/..")[0] == str(directory)
    monkeypatch.chdir(directory)
    assert bundle.read(".")[0] == str(directory)
    assert bundle.read("")[0] == str(directory)


def test_another_config_by_relative_and_absolute_path(directory: Path) -> None:
    (directory / "other.json").write_text(json.dumps(put(minimal(), "/hostname", "")))
    assert bundle.read(str(directory), "other.json")[1]["hostname"] == ""
    assert bundle.read(str(directory), str(directory / "other.json"))[1]["hostname"] == ""


def test_root_path(directory: Path) -> None:
    assert bundle.root_path("/b", {"ociVersion": "1.0.0", "root": {"path": "rootfs"}}) == "/b/rootfs"
    assert bundle.root_path("/b", {"ociVersion": "1.0.0", "root": {"path": "/elsewhere"}}) == "/elsewhere"


def test_an_absolute_root(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    rewrite(directory, put(minimal(), "/root/path", str(tmp_path_factory.mktemp("root"))))
    bundle.read(str(directory))


def test_missing_bundle(directory: Path) -> None:
    error = error_of(directory / "none")
    assert error.line == f"{directory}/none: cannot open the bundle: No such file or directory"


def test_bundle_is_a_file(directory: Path) -> None:
    assert error_of(directory / "config.json").line == f"{directory}/config.json: the bundle must be a directory"


def test_a_missing_process_of_exec_is_not_about_a_bundle() -> None:
    with pytest.raises(Error) as caught:
        bundle.read_file_or_pipe("/no/such", "the process object")
    assert caught.value.line == "/no/such: cannot open the process object: No such file or directory"
    assert caught.value.hint == ""


def test_missing_config(directory: Path) -> None:
    (directory / "config.json").unlink()
    error = error_of(directory)
    assert error.line == f"{directory}/config.json: cannot open the configuration: No such file or directory"
    assert "ocipy spec" in error.hint


def test_config_is_a_directory(directory: Path) -> None:
    assert error_of(directory, "rootfs").line == f"{directory}/rootfs: the configuration is not a regular file"


def test_a_fifo_does_not_block(directory: Path) -> None:
    os.mkfifo(directory / "fifo")
    begin = time.monotonic()
    assert error_of(directory, "fifo").line == f"{directory}/fifo: the configuration is not a regular file"
    assert time.monotonic() - begin < 5


def test_a_device_is_not_read(directory: Path) -> None:
    assert error_of(directory, "/dev/zero").line == "/dev/zero: the configuration is not a regular file"


def test_a_config_over_the_limit_is_not_read(directory: Path) -> None:
    with (directory / "config.json").open("r+b") as file:
        file.truncate(bundle.MAX_CONFIG + 1)
    assert error_of(directory).line == f"{directory}/config.json: the configuration is longer than 64 MiB"


def test_a_file_that_tells_no_size_is_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """fstat's size is not trusted: it is 0 for files in /proc, and any file can grow."""
    monkeypatch.setattr(bundle, "MAX_CONFIG", 10)
    with pytest.raises(Error, match="longer than"):
        bundle.read_document("/proc/self/status", -1, "x")


def test_a_file_without_size_is_read_to_its_end() -> None:
    assert bundle.read_document("/proc/self/status", -1, "x").startswith(b"Name:")


BROKEN_JSON = [
    (b"", "line 1, column 1"),
    (b"{]", "line 1, column 2, at '{]'"),
    (b'{\n  "ociVersion": "1.0.0",\n  "root": {,}\n}', "line 3, column 12, at '\"root\": {,}'"),
    ('{\n  "ä": "ö", x}'.encode(), "line 2, column 13"),
    (b'{"a": "\xff"}', "line 1, column 8"),
    (b"\xef\xbb\xbf{}", "line 1, column 1"),
    (b'{"a": 1} {"b": 2}', "line 1, column 10"),
]


@pytest.mark.parametrize(("text", "place"), BROKEN_JSON)
def test_not_json(directory: Path, text: bytes, place: str) -> None:
    rewrite(directory, text)
    error = error_of(directory)
    assert error.line.startswith(f"{directory}/config.json: not JSON: {place}")
    assert "\n" not in error.line


def test_one_long_line_is_shown_in_part(directory: Path) -> None:
    rewrite(directory, b'{"a": "' + b"x" * 5000 + b'" ?, "b": "' + b"y" * 5000 + b'"}')
    assert len(error_of(directory).what) < 200


def test_deep_nesting_does_not_crash(directory: Path) -> None:
    rewrite(directory, b'{"ociVersion": "1.0.0", "annotations": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    assert error_of(directory).line.startswith("/annotations: must be")


DEEP = b"[" * 1_000_000 + b'{"a\\u0000": "\\u0000"}' + b"]" * 1_000_000


@pytest.mark.parametrize(
    "member", [DEEP, b"1e999", b"9" * 5000, b'"' + b"x" * 5_000_000 + b'"', b'"a\\u0000"', b"null"]
)
def test_an_unknown_member_causes_no_error_however_deep_or_large(directory: Path, member: bytes) -> None:
    """config.md, Extensibility: MUST NOT generate an error, whatever its value. It is not kept either."""
    text = json.dumps(put(minimal(), "/process/x", "X")).replace('"X"', "%b").encode()
    rewrite(directory, (text[:-1] + b', "x": %b, "windows": %b}') % (member, member, member))
    assert bundle.read(str(directory)) == (str(directory), minimal())


@pytest.mark.parametrize("terminal", [False, None, "absent"])
@pytest.mark.parametrize("size", [b"{}", b"-5", b'{"height": "x"}', b'"80x24"', b'{"height": 1e999}', DEEP])
def test_a_console_size_without_a_terminal_is_ignored_whatever_it_is(
    directory: Path, size: bytes, terminal: object
) -> None:
    """config.md, Process: consoleSize MUST be ignored if terminal is false or unset."""
    document = put(minimal(), "/process/consoleSize", "X")
    if terminal != "absent":
        document = put(document, "/process/terminal", terminal)
    rewrite(directory, json.dumps(document).encode().replace(b'"X"', size))
    assert "consoleSize" not in bundle.read(str(directory))[1]["process"]


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (-5, "/process/consoleSize: must be an object"),
        ({"height": 5}, "/process/consoleSize: the member width is required"),
        ({"height": 5, "width": -1}, "/process/consoleSize/width: must be an integer from 0 to 65535"),
        ({"height": True, "width": 1}, "/process/consoleSize/height: must be an integer from 0 to 65535"),
    ],
)
def test_the_console_size_of_a_terminal_is_looked_at(directory: Path, size: object, line: str) -> None:
    rewrite(directory, put(put(minimal(), "/process/consoleSize", size), "/process/terminal", True))
    assert error_of(directory).line.startswith(line)


def test_a_deep_unknown_member_does_not_change_the_error(directory: Path) -> None:
    document = put(put(minimal(), "/process/x", "X"), "/process/terminal", "yes")
    rewrite(directory, json.dumps(document).encode().replace(b'"X"', DEEP))
    assert error_of(directory).line == "/process/terminal: must be true or false, not 'yes'"


@pytest.mark.parametrize("place", ["/process", "/process/cwd", "/process/args", "/annotations", "/mounts"])
def test_a_deep_value_of_the_wrong_type_is_an_error_like_another(directory: Path, place: str) -> None:
    rewrite(directory, json.dumps(put(minimal(), place, "X")).encode().replace(b'"X"', DEEP))
    assert error_of(directory).pointer.startswith(place)


def test_wrong_shape(directory: Path) -> None:
    rewrite(directory, put(put(minimal(), "/process/terminal", "yes"), "/mounts", [{"type": "proc"}]))
    error = error_of(directory)
    assert error.line == "/process/terminal: must be true or false, not 'yes'"
    assert error.hint == "and 1 more; `ocipy validate` lists them all"


def test_not_an_object(directory: Path) -> None:
    rewrite(directory, [])
    assert error_of(directory).line == f"{directory}/config.json: must be an object, not an array"


def test_broken_rule(directory: Path) -> None:
    rewrite(directory, put(minimal(), "/process/cwd", "root"))
    assert error_of(directory).line == "/process/cwd: Cwd must be an absolute path"


def test_nul_is_found_only_through_its_escape(directory: Path) -> None:
    rewrite(directory, put(minimal(), "/process/args", ["a\0b"]))
    assert error_of(directory).line == "/process/args/0: contains a NUL byte"


def test_missing_rootfs(directory: Path) -> None:
    (directory / "rootfs").rmdir()
    assert error_of(directory).line == f"/root/path: the root filesystem {directory}/rootfs does not exist"


def test_rootfs_is_a_file(directory: Path) -> None:
    rewrite(directory, put(minimal(), "/root/path", "config.json"))
    assert error_of(directory).line == f"/root/path: the root filesystem {directory}/config.json must be a directory"
    rewrite(directory, put(minimal(), "/root/path", "config.json/below"))
    assert "does not exist" in error_of(directory).line


def test_no_descriptor_is_left_open(directory: Path) -> None:
    before = os.listdir("/proc/self/fd")
    bundle.read(str(directory))
    error_of(directory, "rootfs")
    error_of(directory, "none")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("name", sorted(real_configs()))
def test_what_engines_write(directory: Path, name: str) -> None:
    config = real_configs()[name]
    rewrite(directory, put(config, "/root/path", "rootfs"))
    assert bundle.read(str(directory))[1]["linux"] == config["linux"]
