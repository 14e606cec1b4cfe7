"""Unknown members of config.json are ignored, whatever their value (config.md, Extensibility), and never crash the
process that reads them; and cases that are only a warning, so the container starts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Runtime

NewId = Callable[[], str]
DEEP = "[" * 1_000_000 + "]" * 1_000_000


def write(bundle: Bundle, *places: tuple[dict[str, Any], str], value: str = DEEP) -> None:
    """config.json with a member of this value in each of these objects."""
    for holder, name in places:
        holder[name] = "THE VALUE"
    bundle.write()
    path = bundle.path / "config.json"
    path.write_text(path.read_text().replace('"THE VALUE"', value))


@pytest.mark.ocipy_only("Go and yajl have their own limits")
def test_a_million_nested_arrays_in_unknown_members_are_ignored_by_every_command(
    bundle: Bundle, runtime: Runtime, new_id: NewId
) -> None:
    bundle.sh("sleep 100")
    seccomp: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW"}
    bundle.linux["seccomp"] = seccomp
    bundle.config["hooks"] = {"createContainer": [{"path": "/bin/true"}]}
    hook = bundle.config["hooks"]["createContainer"][0]
    write(bundle, (bundle.config, "x"), (bundle.process, "x"), (bundle.linux, "vendor"), (seccomp, "x"), (hook, "x"))
    for command in ("validate", "plan"):
        runtime.call(command, bundle.path).ok()
    runtime.call("plan", "--format=json", bundle.path).ok()
    id = new_id()
    runtime.call("create", "--bundle", bundle.path, id, stdin=subprocess.DEVNULL).ok()
    try:
        assert len((runtime.root / id / "config.json").read_bytes()) < 100_000
        for command in ("state", "start"):
            runtime.call(command, id).ok()
        process = bundle.path / "process.json"
        process.write_text(json.dumps({"cwd": "/", "args": ["/bin/true"], "x": "X"}).replace('"X"', DEEP))
        runtime.call("exec", "--process", process, id).ok()
        resources = bundle.path / "resources.json"
        resources.write_text(json.dumps({"pids": {"limit": 100, "x": "X"}, "x": "X"}).replace('"X"', DEEP))
        runtime.call("update", "--resources", resources, id).ok()
        runtime.call("exec", id, "true").ok()
    finally:
        runtime.delete(id, force=True).ok()


@pytest.mark.ocipy_only("the error texts are ours")
def test_a_deep_value_of_a_known_member_is_an_error_like_any_other(
    bundle: Bundle, runtime: Runtime, new_id: NewId
) -> None:
    write(bundle, (bundle.process, "args"))
    runtime.call("run", "--bundle", bundle.path, new_id()).fails("/process/args/0: must be a string, not an array")
    runtime.call("plan", bundle.path).fails("/process/args/0: must be a string, not an array")
    result = runtime.call("validate", bundle.path)
    assert (result.status, result.stdout) == (1, "error: /process/args/0: must be a string, not an array\n"), result


@pytest.mark.parametrize("value", ["1e999", "9" * 5000, '"a\\u0000b"', "null", '{"a": 1, "a": 2}'])
def test_whatever_is_in_an_unknown_member_is_ignored(
    bundle: Bundle, runtime: Runtime, new_id: NewId, value: str
) -> None:
    bundle.sh("exit 3")
    write(bundle, (bundle.config, "vendor"), (bundle.process, "vendor"), value=value)
    assert runtime.call("run", "--bundle", bundle.path, new_id()).status == 3


def test_a_version_before_1_0_is_accepted(bundle: Bundle, runtime: Runtime, new_id: NewId) -> None:
    bundle.sh("exit 3")
    bundle.config["ociVersion"] = "0.6.0-dev"
    assert runtime.run(bundle, new_id()).status == 3


@pytest.mark.ocipy_only("runc refuses them")
def test_mappings_without_a_user_namespace_are_accepted(bundle: Bundle, runtime: Runtime, new_id: NewId) -> None:
    bundle.sh("cat /proc/self/uid_map")
    for member in ("uidMappings", "gidMappings"):
        bundle.linux[member] = [{"containerID": 0, "hostID": 100000, "size": 10}]
    result = runtime.run(bundle, new_id()).ok()
    assert result.stdout.split() == ["0", "0", "4294967295"]
    assert "/linux/uidMappings: has no effect without a user namespace" in result.stderr


@pytest.mark.needs_cgroup_v1
def test_an_unknown_option_of_a_cgroup_mount_is_accepted(bundle: Bundle, runtime: Runtime, new_id: NewId) -> None:
    bundle.without_mount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "ro", "mode=777", type="cgroup")
    bundle.sh("exit 3")
    assert runtime.run(bundle, new_id()).status == 3


def test_the_section_of_virtual_machines_is_ignored_as_those_of_other_platforms(
    bundle: Bundle, runtime: Runtime, new_id: NewId
) -> None:
    bundle.sh("exit 3")
    bundle.config |= {"vm": {"kernel": {"path": "/boot/x"}}, "solaris": {}}
    assert runtime.run(bundle, new_id()).status == 3


ARGZ = "/process/argz: is unknown and ignored; did you mean args?"


@pytest.mark.ocipy_only("runc says nothing")
def test_run_in_the_foreground_warns_of_a_misspelt_member(
    bundle: Bundle, runtime: Runtime, new_id: NewId, tmp_path: Path
) -> None:
    bundle.sh("exit 3")
    bundle.process["argz"] = ["x"]
    bundle.config["vendor"] = {"args": 1}
    result = runtime.run(bundle, new_id())
    assert (result.status, result.stderr) == (3, f"ocipy: warning: {ARGZ}\n")
    # Engines read their log, and the output of the other commands.
    log = tmp_path / "log"
    assert runtime.run(bundle, new_id(), globals=["--log", log]).stderr == ""
    assert log.read_text() == ""
    id = new_id()
    result = runtime.run(bundle, id, "--detach")
    assert (result.status, result.stderr) == (0, "")
    runtime.delete(id, force=True).ok()
    id = new_id()
    assert runtime.create(bundle, id).ok().stderr == ""
    runtime.delete(id, force=True).ok()
    id = new_id()
    runtime.create(bundle, id, globals=["--log", log, "--debug"]).ok()
    assert [line for line in log.read_text().splitlines() if "argz" in line and "level=debug" in line]
    runtime.delete(id, force=True).ok()
