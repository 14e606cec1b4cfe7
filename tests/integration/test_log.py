"""--log and --log-format: one record for each error, in the form that engines read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Runtime
from tests.integration.test_errors import one_error

NewId = Callable[[], str]


def test_json_log_holds_one_error(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    """podman parses the whole file as one object; containerd wants level, msg and a time with its zone."""
    log = work / "log.json"
    bundle.args("/no/such").write()
    result = runtime.call("create", "--bundle", bundle.path, new_id(), globals=["--log", log, "--log-format", "json"])
    result.fails("no such file or directory")
    lines = log.read_text().splitlines()
    assert len(lines) == 1, log.read_text()
    record = json.loads(lines[0])
    assert record["level"] == "error"
    assert 'exec: "/no/such": stat /no/such: no such file or directory' in record["msg"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", record["time"])


def test_json_log_is_appended_to(runtime: Runtime, new_id: NewId, work: Path) -> None:
    log = work / "log.json"
    for number in (1, 2):
        runtime.call("state", new_id(), globals=["--log-format=json", "--log", log]).fails("does not exist")
        records = [json.loads(line) for line in log.read_text().splitlines()]
        assert [record["level"] for record in records] == ["error"] * number


def test_success_logs_nothing(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    log = work / "log.json"
    id = new_id()
    bundle.args("true").write()
    flags = ["--log", log, "--log-format", "json"]
    runtime.call("create", "--bundle", bundle.path, id, globals=flags).ok()
    for words in (("state", id), ("start", id), ("delete", "--force", id)):
        runtime.call(*words, globals=flags).ok()
    assert not log.exists() or log.read_text() == ""


def test_message_with_quotes_and_newlines_is_still_one_record(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path
) -> None:
    log = work / "log.json"
    bundle.args('/no "such"\ncommand\x01ü').write()
    runtime.call("create", "--bundle", bundle.path, new_id(), globals=["--log", log, "--log-format=json"]).fails()
    lines = log.read_text().splitlines()
    assert len(lines) == 1
    assert "such" in json.loads(lines[0])["msg"]


def test_text_log(runtime: Runtime, new_id: NewId, work: Path) -> None:
    log = work / "log"
    result = runtime.call("state", new_id(), globals=["--log", log]).fails("does not exist")
    assert "does not exist" in log.read_text()
    assert "does not exist" in result.stderr


@pytest.mark.unprivileged
@pytest.mark.ocipy_only("runc waits for a reader forever")
@pytest.mark.parametrize("command", ["state", "create", "run"])
def test_a_log_that_is_a_fifo_without_a_reader(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, command: str
) -> None:
    os.mkfifo(work / "log")
    words = [] if command == "state" else ["--bundle", str(bundle.args("true").write().parent)]
    result = runtime.call(command, *words, new_id(), globals=["--log", work / "log"], timeout=5)
    result.fails("cannot open the log", "it is a FIFO that nobody reads")
    assert runtime.ids() == []


@pytest.mark.ocipy_only("runc waits for a reader forever")
@pytest.mark.parametrize("full", [False, True])
def test_a_log_that_is_a_fifo_with_a_reader(runtime: Runtime, new_id: NewId, work: Path, full: bool) -> None:
    """It gets the record. A sleeping reader delays no command."""
    os.mkfifo(work / "log")
    reader = os.open(work / "log", os.O_RDWR | os.O_NONBLOCK)
    if full:
        os.write(reader, b"x" * 65536)
    flags = ["--log", work / "log", "--log-format", "json"]
    result = runtime.call("state", new_id(), globals=flags, timeout=5).fails("container does not exist")
    if full:
        assert "cannot write the log" in result.stderr
    else:
        assert "container does not exist" in json.loads(os.read(reader, 4096))["msg"]
    os.close(reader)


@pytest.mark.parametrize("name", ["no/such/directory/log", "directory", "file/log"])
@pytest.mark.parametrize("command", ["create", "state", "delete", "features"])
def test_a_log_that_cannot_be_written(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, name: str, command: str
) -> None:
    """Before doing anything: an engine looks for the reason of a failure in its log."""
    (work / "directory").mkdir()
    (work / "file").touch()
    words: list[str | Path] = [] if command == "features" else [new_id()]
    if command == "create":
        words = ["--bundle", bundle.args("true").write().parent, *words]
    result = runtime.call(command, *words, globals=["--log", work / name]).fails(name)
    assert result.stdout == ""
    assert runtime.ids() == []
    if runtime.is_ocipy:
        one_error(result)
        assert result.stderr.startswith(f"ocipy: {work / name}: cannot open the log: ")
