"""The commands that only print: list, plan, features."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime

MakeContainer = Callable[..., Container]
COLUMNS = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]


def test_list(container: MakeContainer, runtime: Runtime) -> None:
    one, two = container(), container()
    two.start()
    lines = runtime.call("list").ok().lines
    assert lines[0].split() == COLUMNS
    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert set(rows) == {one.id, two.id}
    for each, status in ((one, "created"), (two, "running")):
        row = rows[each.id]
        assert row[:4] == [each.id, str(each.pid), status, str(each.bundle.path)]
        assert row[4] == each.state()["created"]
        assert row[5] == pwd.getpwuid(os.geteuid()).pw_name
    assert [line.index("BUNDLE") for line in lines[:1]] == [lines[1].index("/")]
    assert sorted(runtime.call("list", "--quiet").ok().lines) == sorted(rows)
    assert sorted(runtime.call("list", "-q").ok().lines) == sorted(rows)


def test_list_as_json(container: MakeContainer, runtime: Runtime, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"org.example": "1"}
    one = container(bundle.args("sleep", "1000"))
    result = runtime.call("list", "--format", "json").ok()
    assert len(result.lines) == 1
    (entry,) = result.json
    assert entry == {**one.state(), "owner": pwd.getpwuid(os.geteuid()).pw_name}


def test_list_of_nothing(runtime: Runtime) -> None:
    runtime.root.mkdir()
    assert runtime.call("list", "-f", "json").ok().json in (None, [])
    assert runtime.call("list").ok().stdout.split() == COLUMNS
    assert runtime.call("list", "-q").ok().stdout == ""


def test_list_of_a_missing_root(runtime: Runtime, work: Path) -> None:
    runtime.call("list", globals=("--root", work / "missing")).fails("no such file")


def test_list_skips_anything_but_containers(container: MakeContainer, runtime: Runtime) -> None:
    one = container()
    (runtime.root / "@seccomp").mkdir()
    (runtime.root / "file").write_text("")
    assert runtime.call("list", "-q").ok().lines == [one.id]
    (runtime.root / "@seccomp").rmdir()
    (runtime.root / "file").unlink()


@pytest.mark.ocipy_only("a command of ocipy's own")
class TestPlan:
    """It prints, and changes nothing."""

    def test_text(self, runtime: Runtime, bundle: Bundle, work: Path) -> None:
        bundle.write()
        before = sorted(os.listdir(work))
        lines = runtime.call("plan", bundle.path).ok().lines
        assert any(line.startswith("host") and " clone " in line and "/linux/namespaces" in line for line in lines)
        assert any("proc → /proc" in line and line.endswith("/mounts/0") for line in lines)
        assert sorted(os.listdir(work)) == before

    def test_the_bundle_is_the_current_directory_by_default(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.write()
        assert runtime.call("plan", cwd=bundle.path).ok().stdout == runtime.call("plan", bundle.path).ok().stdout

    def test_only(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.write()
        document = runtime.call("plan", "--format", "json", "--only", "/mounts", bundle.path).ok().json
        pointers = {step["pointer"] for lane in ("host", "init") for step in document[lane]}
        assert pointers
        assert all(pointer.startswith("/mounts/") for pointer in pointers)
        result = runtime.call("plan", "--only", "/no/such", bundle.path).ok()
        assert (result.stdout, result.stderr) == ("", "ocipy: warning: /no/such: no step belongs to this field\n")

    def test_a_bundle_that_an_engine_has_left(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.config["root"]["path"] = "/no/such/rootfs"
        bundle.write()
        result = runtime.call("plan", bundle.path).ok()
        assert "/no/such/rootfs" in result.stdout
        assert "warning: " in result.stdout

    def test_refused(self, runtime: Runtime, bundle: Bundle) -> None:
        bundle.linux["cgroupsPath"] = "/"
        bundle.write()
        runtime.call("plan", bundle.path).fails("/linux/cgroupsPath")
        runtime.call("plan", "--format", "xml", bundle.path).fails("--format")
        runtime.call("plan", "--only", "mounts", bundle.path).fails("--only")


@pytest.mark.unprivileged
def test_features(runtime: Runtime) -> None:
    """Only on standard output: some engines read both streams as one document."""
    result = runtime.call("features").ok()
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert document["ociVersionMin"] == "1.0.0"
    assert "rro" in document["mountOptions"]
