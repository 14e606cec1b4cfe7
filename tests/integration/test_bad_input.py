"""Users' errors, command by command: one clear line, the same in the log, the right exit status, and nothing left
behind."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Result, Runtime

pytestmark = pytest.mark.ocipy_only("one line, and the same in the log")

NewId = Callable[[], str]
MakeContainer = Callable[..., Container]
# conmon reads at most this much at once.
LONGEST = 8191
# The arguments after the id, and those before it.
AFTER = {"exec": ["true"]}
BEFORE = {
    "checkpoint": ["--image-path", "{work}/images"],
    "create": ["--bundle", "{bundle}"],
    "restore": ["--image-path", "{work}", "--bundle", "{bundle}"],
    "run": ["--bundle", "{bundle}"],
}
OF_ONE = ("start", "state", "kill", "delete", "exec", "pause", "resume", "ps", "update", "events", "checkpoint")
ALL = ("create", "run", "restore", *OF_ONE)


class Caller:
    """Calls commands with a log, and checks their errors."""

    def __init__(self, runtime: Runtime, bundle: Bundle, work: Path) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.work = work
        self.log = work / "log"

    def refused(self, command: str, *words: str | Path, **options: Any) -> Result:
        """Assert that it fails with one line, on standard error and in the log."""
        self.log.unlink(missing_ok=True)
        flags = ["--log", self.log, "--log-format", "json"]
        result = self.runtime.call(command, *words, globals=flags, **options)
        assert result.status == (255 if command == "exec" else 1), result
        told = [line for line in result.stderr.splitlines() if not line.startswith("  ")]
        assert len(told) == 1, result
        assert len(result.stderr.encode()) <= LONGEST
        assert "Traceback" not in result.stderr
        assert "internal error" not in result.stderr, result
        [record] = self.log.read_text().splitlines()
        assert told[0] == "ocipy: " + json.loads(record)["msg"]
        return result

    def of(self, command: str, id: str) -> list[str]:
        """The arguments of a command for an id."""
        before = [word.format(work=self.work, bundle=self.bundle.path) for word in BEFORE.get(command, ())]
        return [command, *before, id, *AFTER.get(command, ())]


@pytest.fixture
def caller(runtime: Runtime, bundle: Bundle, work: Path) -> Caller:
    bundle.args("true").write()
    return Caller(runtime, bundle, work)


def _deep(opening: bytes, times: int, closing: bytes = b"") -> Callable[[Path], object]:
    return lambda path: path.write_bytes(opening * times + b"1" + closing * times)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 30)


CONFIGS: dict[str, Callable[[Path], object]] = {
    "empty": Path.touch,
    "missing": lambda path: None,
    "directory": Path.mkdir,
    "FIFO": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "circle": lambda path: path.symlink_to(path.name),
    "1 GiB": _sparse,
    "NUL": lambda path: path.write_bytes(bytes(1000)),
    "deep and open": _deep(b"[", 100_000),
    "deep": _deep(b'{"a":', 1000, b"}"),
    "no UTF-8": lambda path: path.write_bytes(b'{"ociVersion": "\xff\xfe"}'),
    "UTF-16": lambda path: path.write_text('{"ociVersion": "1.0.0"}', "utf-16"),
    "half a pair": lambda path: path.write_text(r'{"ociVersion": "\ud800"}'),
    "a long value": lambda path: path.write_text('{"ociVersion": "' + "9" * 100_000 + '"}'),
    "a huge number": lambda path: path.write_text('{"ociVersion": 1' + "0" * 400 + "}"),
}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("command", ["create", "run", "plan"])
def test_an_invalid_config(caller: Caller, new_id: NewId, kind: str, command: str) -> None:
    path = caller.bundle.path / "config.json"
    path.unlink()
    CONFIGS[kind](path)
    words = ["plan", caller.bundle.path] if command == "plan" else caller.of(command, new_id())
    caller.refused(*map(str, words))
    assert caller.runtime.ids() == []


IDS = {
    "empty": "", "slash": "a/b", "above": "..", "line end": "a\nb", "escape": "\x1b[2J", "long": "a" * 100_000,
    "too long": "a" * 256, "no UTF-8": "\udcff\udcfe", "blank": "a b", "letter": "ü",
}  # fmt: skip


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("command", ALL)
def test_an_invalid_id(caller: Caller, command: str, kind: str) -> None:
    result = caller.refused(*caller.of(command, IDS[kind]))
    assert "invalid container ID" in result.stderr
    assert result.stderr.replace("\n", "").isprintable()


@pytest.mark.parametrize("command", OF_ONE)
def test_the_longest_id_without_a_container(caller: Caller, command: str) -> None:
    assert "container does not exist" in caller.refused(*caller.of(command, "a" * 255)).stderr


@pytest.mark.parametrize(
    "change",
    [
        {"pid": 10**30}, {"pid": -5}, {"pid": "7"}, {"startTime": None}, {"cgroup": {"paths": {}}}, {"hooks": []},
        {"bundle": 5},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("command", OF_ONE)
def test_an_invalid_state(caller: Caller, container: MakeContainer, command: str, change: dict[str, Any]) -> None:
    """A command never acts on an impossible state."""
    one = container(args=["sleep", "1000"]).start()
    path = caller.runtime.root / one.id / "state.json"
    right = path.read_text()
    path.write_text(json.dumps(json.loads(right) | change))
    try:
        assert "the state is not readable" in caller.refused(*caller.of(command, one.id)).stderr
    finally:
        path.write_text(right)
    assert one.status == "running"


STREAMS = (">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full")


@pytest.mark.parametrize("how", STREAMS)
def test_streams_that_are_closed_or_full(caller: Caller, container: MakeContainer, new_id: NewId, how: str) -> None:
    """The runtime does not use their numbers, which belong to the container, and prints nothing on success."""
    one = container(args=["sleep", "1000"]).start()
    for words in (["run", "--bundle", str(caller.bundle.path), new_id()], ["exec", one.id, "true"]):
        argv = ["sh", "-c", f'exec "$0" "$@" {how}', caller.runtime.path, "--root", str(caller.runtime.root), *words]
        done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=120)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), words


@pytest.mark.parametrize("number", [5, 6, 8, 10, 12, 15, 20, 25])
def test_a_low_limit_on_open_files(caller: Caller, new_id: NewId, number: int) -> None:
    """The runtime reports it, or gets by with so few descriptors."""
    del caller.bundle.process["rlimits"]
    caller.bundle.write()
    id = new_id()
    result = caller.runtime.call(*caller.of("create", id), prefix=["prlimit", f"--nofile={number}"])
    told = [line for line in result.stderr.splitlines() if not line.startswith("  ")]
    assert (result.status, len(told)) in ((0, 0), (1, 1)), result
    if result.status:
        assert "oo many open files" in result.stderr
        assert caller.runtime.ids() == []
    else:
        caller.runtime.delete(id, force=True).ok()


def test_more_groups_than_the_kernel_permits(caller: Caller, new_id: NewId) -> None:
    caller.bundle.process["user"]["additionalGids"] = list(range(70_000))
    caller.bundle.write()
    assert "/process/user/additionalGids" in caller.refused(*caller.of("create", new_id())).stderr


def test_large_numbers_of_everything(caller: Caller, new_id: NewId) -> None:
    """10,000 variables, 2,000 masked paths and 1,000 mounts are not too many."""
    caller.bundle.process["env"] += [f"V{number}=x" for number in range(10_000)]
    caller.bundle.linux["maskedPaths"] = [f"/proc/{number}" for number in range(100_000, 102_000)]
    caller.bundle.config["mounts"] += [
        {"destination": f"/many/{number}", "type": "tmpfs", "source": "tmpfs"} for number in range(1000)
    ]
    caller.bundle.sh("env | grep -c ^V; grep -c /many/ /proc/self/mounts").write()
    result = caller.runtime.call(*caller.of("run", new_id()), timeout=120).ok()
    assert result.lines == ["10000", "1000"]


@pytest.mark.parametrize("length", [200_000, 3_000_000])
def test_an_environment_that_is_too_long_for_the_kernel(caller: Caller, new_id: NewId, length: int) -> None:
    """128 KiB for one, a quarter of the stack for all (execve(2)): start reports it."""
    step = 200_000 if length < 1_000_000 else 300
    caller.bundle.process["env"] += [f"V{number}=" + "x" * step for number in range(length // step)]
    caller.bundle.write()
    result = caller.refused(*caller.of("run", new_id()))
    assert "rgument list too long" in result.stderr
    assert caller.runtime.ids() == []


def test_a_wrong_format_is_logged_too(runtime: Runtime, work: Path) -> None:
    runtime.call("list", globals=["--log", work / "log", "--log-format", "xml"]).fails(
        "--log-format must be text or json"
    )
    assert "--log-format must be text or json" in (work / "log").read_text()


def test_an_invalid_descriptor_for_errors(runtime: Runtime, new_id: NewId) -> None:
    for number in ("77", "-1", "9" * 30):
        runtime.call("state", new_id(), globals=["--error-fd", number]).fails("container does not exist")
