"""The command line for people: typing errors, full disks, closed streams."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocipy.cli.table import COLD, HOT
from tests.harness import Bundle, Runtime

NewId = Callable[[], str]
ours = pytest.mark.ocipy_only(reason="its own words")


@ours
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["creat", "x"], "ocipy: no such command: creat\n  did you mean ocipy create?\n"),
        (["xyzzy"], "ocipy: no such command: xyzzy\n  ocipy --help lists the commands\n"),
        (["help", "stat"], "ocipy: help: no such command: stat\n  did you mean ocipy state?\n"),
        (
            ["create", "--bundel", "b", "x"],
            "ocipy: create: flag provided but not defined: --bundel\n  did you mean --bundle?\n",
        ),
        (
            ["delete", "--xyzzy", "x"],
            "ocipy: delete: flag provided but not defined: --xyzzy\n  ocipy delete --help lists the flags\n",
        ),
        (
            ["state", "--root", "/x", "y"],
            "ocipy: state: flag provided but not defined: --root\n"
            "  --root is a global flag: put it before the command\n",
        ),
        (
            ["--xyzzy"],
            "ocipy: flag provided but not defined: --xyzzy\n  ocipy --help lists the flags\n",
        ),
        (["inspect", "x"], "ocipy: no such command: inspect\n  ocipy state ID\n"),
        (["rm", "x"], "ocipy: no such command: rm\n  ocipy delete ID\n"),
        (
            ["stop", "x"],
            "ocipy: no such command: stop\n  ocipy kill ID (TERM by default); ocipy delete ID once it has stopped\n",
        ),
        (["version"], "ocipy: no such command: version\n  ocipy --version\n"),
        (
            ["pull", "alpine"],
            "ocipy: no such command: pull\n"
            "  pull is an engine's job; engines handle images and call ocipy: "
            "podman --runtime=ocipy run IMAGE COMMAND\n",
        ),
        (
            ["run", "alpine", "sh"],
            "ocipy: run alpine: unexpected argument 'sh'\n  usage: ocipy run [FLAGS] ID\n"
            "  engines handle images and call ocipy: podman --runtime=ocipy run IMAGE COMMAND\n",
        ),
        (
            ["exec", "-it", "x", "sh"],
            "ocipy: exec: flag provided but not defined: -it\n"
            "  -t alone: the standard streams are always the caller's\n",
        ),
        (
            ["run", "-it", "alpine", "sh"],
            "ocipy: run: flag provided but not defined: -it\n"
            "  it is a field of the bundle's config.json: process.terminal; "
            "the standard streams are always the caller's\n",
        ),
        (
            ["kill", "-9", "x"],
            "ocipy: kill: flag provided but not defined: -9\n  the signal follows the ID: ocipy kill ID 9\n",
        ),
        (["create"], "ocipy: create: the container's ID is missing\n  usage: ocipy create [FLAGS] ID\n"),
        (["features", "x"], "ocipy: features x: unexpected argument 'x'\n  usage: ocipy features\n"),
        (
            ["exec"],
            "ocipy: exec: the container's ID is missing\n  usage: ocipy exec [FLAGS] ID COMMAND [ARGUMENT…]\n",
        ),
        (["run", "--detach=2", "x"], "ocipy: run: --detach must be true or false, not '2'\n"),
        (
            ["state", ""],
            "ocipy: state: invalid container ID format: ''\n  use letters, digits, and the characters _ + - .\n",
        ),
    ],
)
def test_slips(runtime: Runtime, words: list[str], said: str) -> None:
    result = runtime.call(*words).fails()
    assert result.stderr == said
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["create", "run", "exec", "kill", "delete", "state", "start"])
def test_an_unknown_flag_and_no_id_are_refused_by_every_runtime(runtime: Runtime, command: str) -> None:
    runtime.call(command, "--nonsense", "x").fails("flag provided but not defined: ", "-nonsense", status=None)
    assert runtime.call(command).status != 0


@ours
@pytest.mark.parametrize("command", (*HOT, *COLD, "help"))
def test_help_of_every_command_in_both_ways(runtime: Runtime, command: str) -> None:
    by_flag = runtime.call(command, "--help").ok()
    assert by_flag.stdout == runtime.call("help", command).ok().stdout == runtime.call(command, "-h").ok().stdout
    assert f"usage: ocipy {command}" in by_flag.stdout
    assert by_flag.stderr == ""
    assert all(len(line) <= 132 for line in by_flag.lines)


@ours
def test_help_of_every_command_of_box(runtime: Runtime) -> None:
    commands = re.findall(r"^    ([a-z]+) ", runtime.call("box", "--help").ok().stdout, re.MULTILINE)
    assert {"run", "exec", "top"} <= set(commands) and len(commands) > 20
    for command in commands:
        by_flag = runtime.call("box", command, "--help").ok()
        assert by_flag.stdout == runtime.call("box", command, "-h").ok().stdout and by_flag.stderr == ""
        assert by_flag.stdout.startswith(f"usage: ocipy box {command} ")


@pytest.mark.parametrize(("word", "detached"), [("1", True), ("T", True), ("0", False), ("False", False)])
def test_switches_as_go_writes_them(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], word: str, detached: bool
) -> None:
    id = new_id()
    runtime.run(bundle.args("true"), id, f"--detach={word}").ok()
    assert (id in runtime.ids()) is detached
    runtime.delete(id, force=True).ok()


@ours
@pytest.mark.parametrize("words", [["list"], ["--version"], ["--help"], ["features"], ["help", "run"]])
@pytest.mark.parametrize("how", [">&-", ">/dev/full"])
def test_an_output_that_cannot_be_written_is_an_error(runtime: Runtime, words: list[str], how: str) -> None:
    script = f'exec "$0" "$@" {how}'
    done = subprocess.run(["sh", "-c", script, runtime.path, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot write to standard output: " in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("  ")]) == 1


@ours
def test_a_reader_that_stops_early_causes_no_error(runtime: Runtime) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = runtime.call("--help", stdout=writing)
    os.close(writing)
    assert (result.status, result.stderr) == (0, "")


@pytest.fixture
def filesystem(work: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tmpfs with these options."""
    place = work / "small"
    place.mkdir()

    def mounted(options: str) -> Path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=True)
        return place

    yield mounted
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.ocipy_only(reason="so many files are its own")
@pytest.mark.parametrize("options", ["size=4k", *(f"nr_inodes={number}" for number in range(3, 8))])
def test_a_full_disk_below_root_leaves_nothing(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], filesystem: Callable[[str], Path], options: str
) -> None:
    """Whichever file is the first without space."""
    root = filesystem(options) / "root"
    root.mkdir()
    if options.startswith("size"):
        (root.parent / "fill").write_bytes(b"x" * 4096)
    result = runtime.create(bundle, new_id(), globals=["--root", root])
    result.fails("no space left on device")
    assert list(root.iterdir()) == []
    # The place or the step, not only the kernel's error.
    assert str(root) in result.stderr or "the step " in result.stderr


@ours
def test_a_read_only_root_is_named(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], filesystem: Callable[[str], Path]
) -> None:
    root = filesystem("ro") / "root"
    result = runtime.create(bundle, new_id(), globals=["--root", root])
    result.fails(f"{root}: cannot make the state directory: Read-only file system")


def test_relative_paths(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path) -> None:
    id = new_id()
    bundle.args("true").write()
    name = str(bundle.path.relative_to(work))
    runtime.call("create", "--bundle", name, "--pid-file", "pid", id, globals=["--root", "state"], cwd=work).ok()
    assert (work / "pid").read_text() == str(runtime.state(id)["pid"])
    assert runtime.state(id)["bundle"] == str(bundle.path)
    runtime.call("delete", "--force", id, globals=["--root=state"], cwd=work).ok()
    os.waitpid(int((work / "pid").read_text()), 0)


@ours
@pytest.mark.parametrize("words", [["state"], ["kill"], ["delete"], ["start"], ["exec"], ["ps"], ["pause"], ["update"]])
def test_for_a_missing_container_the_error_names_the_root(runtime: Runtime, words: list[str]) -> None:
    more = ["true"] if words == ["exec"] else []
    result = runtime.call(*words, "nobody", *more).fails("container does not exist", status=None)
    assert result.stderr.splitlines() == [
        f"ocipy: {words[0]} nobody: container does not exist",
        f"  searched in {runtime.root}; --root DIR searches elsewhere",
    ]


@ours
def test_help_has_the_default_of_root_and_an_example(runtime: Runtime) -> None:
    lines = runtime.call("--help").ok().lines
    root = next(line for line in lines if "--root" in line)
    assert "(default: /run/ocipy" in root
    assert any(line.strip().startswith("ocipy run --bundle bundle web") for line in lines)


@ours
def test_plan_validate_and_run_take_the_path_of_config_the_same_way(
    runtime: Runtime, bundle: Bundle, new_id: NewId, tmp_path: Path
) -> None:
    """Relative to the current directory, as in crun; only config.json is relative to the bundle."""
    bundle.sh("exit 3").write()
    for place, status in ((tmp_path, 4), (bundle.path, 5)):
        other = json.loads((bundle.path / "config.json").read_text())
        other["process"]["args"] = ["/bin/sh", "-c", f"exit {status}"]
        (place / "other.json").write_text(json.dumps(other))
    for given, status in (("other.json", 4), ("config.json", 3), (str(bundle.path / "other.json"), 5), ("", 3)):
        flags = ["--bundle", str(bundle.path), "--config", given]
        assert runtime.call("run", *flags, new_id(), cwd=tmp_path).status == status
        planned = runtime.call("plan", "--config", given, bundle.path, cwd=tmp_path).ok().stdout
        assert f"exit {status}" in planned
        assert runtime.call("validate", "--config", given, bundle.path, cwd=tmp_path).status == 0
    for command in (["run", "--bundle"], ["plan"], ["validate"]):
        last = [new_id()] if command[0] == "run" else []
        result = runtime.call(*command, bundle.path, "--config", "none.json", *last, cwd=tmp_path)
        assert f"{tmp_path}/none.json: cannot open the configuration" in result.stderr + result.stdout
