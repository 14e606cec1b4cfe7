"""Flags that crun has and runc lacks: --config, --cgroup-manager, --regex, and logs other than files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, cgroup_dirs, cgroups_of, process_state, wait_until

pytestmark = pytest.mark.ocipy_only("runc has no such flags")

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]

DISABLED = ["--cgroup-manager=disabled"]


def moved_config(bundle: Bundle, path: Path) -> None:
    """The bundle's config under another name, and no config.json."""
    bundle.write()
    (bundle.path / "config.json").rename(path)


def test_config_of_another_name(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    """Relative to the caller's directory, as in crun."""
    other = work / "other.json"
    moved_config(bundle.sh("echo hello"), other)
    for flags, cwd in (
        (["--config", str(other)], None),
        ([f"--config={other}"], None),
        (["-f", "other.json"], work),
        (["-f", "./other.json"], work),
    ):
        assert runtime.call("run", "--bundle", bundle.path, *flags, new_id(), cwd=cwd).ok().stdout == "hello\n"


def test_config_at_create(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    """Later commands use this config too."""
    id, other = new_id(), work / "other.json"
    bundle.config["annotations"] = {"from": "other"}
    moved_config(bundle.args("sleep", "1000"), other)
    runtime.call("create", "--bundle", bundle.path, "--config", other, id).ok()
    other.unlink()
    assert runtime.state(id)["annotations"] == {"from": "other"}
    assert runtime.state(id)["bundle"] == str(bundle.path)
    runtime.start(id).ok()
    runtime.delete(id, force=True).ok()


def test_missing_named_config(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    bundle.args("true").write()
    missing = work / "missing.json"
    runtime.call("run", "--bundle", bundle.path, "--config", missing, new_id()).fails(str(missing), "no such file")


# --cgroup-manager


def without_limits(bundle: Bundle) -> Bundle:
    """podman's config with --cgroups=disabled: no path and no limits."""
    del bundle.linux["cgroupsPath"]
    bundle.linux["resources"] = {}
    return bundle


def test_the_plan_depends_on_the_manager(runtime: Runtime, bundle: Bundle) -> None:
    bundle.write()
    for manager, made in (("cgroupfs", True), ("disabled", False)):
        plan = runtime.call("plan", bundle.path, globals=[f"--cgroup-manager={manager}"]).ok()
        assert ("cgroup_create" in plan.stdout) is made


def test_disabled_makes_and_joins_no_cgroup(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    without_limits(bundle).sh("trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done")
    created = runtime.create(bundle, id, globals=DISABLED).ok()
    pid = runtime.state(id)["pid"]
    assert cgroups_of(pid) == cgroups_of("self")
    assert cgroup_dirs(id) == []
    runtime.start(id).ok()
    wait_until(lambda: "ready" in created.stdout_path.read_text())
    assert runtime.state(id)["status"] == "running"
    # Later commands do not get the flag: the state has it.
    runtime.call("pause", id).fails("no cgroup with a freezer")
    runtime.call("resume", id).fails("container not paused")
    runtime.call("ps", id).fails("no cgroup")
    runtime.call("events", "--stats", id).fails("no cgroup")
    runtime.call("update", "--memory", "100M", id).fails("no cgroup", "/linux/resources")
    runtime.kill(id, "TERM", "--all").ok()
    wait_until(lambda: process_state(pid) in ("Z", ""))
    runtime.delete(id).ok()


def test_disabled_run_and_delete_by_force(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    without_limits(bundle)
    assert runtime.run(bundle.sh("exit 7"), new_id(), globals=DISABLED).status == 7
    runtime.create(bundle.args("sleep", "1000"), id, globals=DISABLED).ok()
    pid = runtime.state(id)["pid"]
    runtime.delete(id, force=True).ok()
    assert process_state(pid) in ("Z", "")


def test_disabled_with_a_mount_of_the_cgroups(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    without_limits(bundle).config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}
    )
    assert runtime.run(bundle.sh("ls /sys/fs/cgroup"), new_id(), globals=DISABLED).ok().stdout


def test_disabled_refuses_limits(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """A field is applied or refused; crun ignores them."""
    without_limits(bundle).linux["resources"] = {"pids": {"limit": 10}}
    bundle.args("true")
    result = runtime.create(bundle, new_id(), globals=DISABLED)
    result.fails("/linux/resources/pids/limit: a limit needs a cgroup", "--cgroup-manager=disabled")


def test_disabled_warns_about_device_rules(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    without_limits(bundle).linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    result = runtime.run(bundle.args("true"), new_id(), globals=DISABLED).ok()
    assert "/linux/resources/devices: device rules have no effect" in result.stderr


def test_cgroupfs_is_the_default(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    id = new_id()
    runtime.create(bundle.args("sleep", "1000"), id, globals=["--cgroup-manager", "cgroupfs"]).ok()
    assert cgroup_dirs(bundle.linux["cgroupsPath"])
    runtime.delete(id, force=True).ok()


def test_the_manager_wins_over_the_older_flag(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """conmon puts its --systemd-cgroup before the flags that podman adds."""
    result = runtime.run(
        without_limits(bundle).sh("exit 5"), new_id(), globals=["--systemd-cgroup", "--cgroup-manager", "disabled"]
    )
    assert result.status == 5


def test_an_unknown_manager(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    runtime.create(bundle.args("true"), new_id(), globals=["--cgroup-manager=docker"]).fails("--cgroup-manager")


# --regex


def three(container: MakeContainer, new_id: NewId) -> tuple[list[Container], str]:
    """Containers NAME-a, NAME-b and NAME-c, running."""
    base = new_id()
    return [container(id=f"{base}-{letter}").start() for letter in "abc"], base


def dead(one: Container) -> bool:
    return process_state(one.pid) in ("Z", "")


def test_kill_by_regex(container: MakeContainer, runtime: Runtime, new_id: NewId) -> None:
    (a, b, c), base = three(container, new_id)
    result = runtime.call("kill", "--regex", f"{base}-[ab]$", "KILL").ok()
    assert (result.stdout, result.stderr) == ("", "")
    a.wait_dead()
    b.wait_dead()
    assert c.status == "running"
    again = runtime.call("kill", "-r", "[abc]$", "9").ok()
    c.wait_dead()
    # As in crun: a failure is a warning.
    assert again.stderr.count("container not running") == 2


def test_delete_by_regex(container: MakeContainer, runtime: Runtime, new_id: NewId) -> None:
    (a, b, c), base = three(container, new_id)
    a.kill().wait_dead()
    result = runtime.call("delete", "--regex", base).ok()
    assert result.stderr.count("not stopped: running") == 2
    assert runtime.ids() == sorted([b.id, c.id])
    runtime.call("delete", "-r", "--force", "b$").ok()
    assert dead(b)
    assert not dead(c)
    assert runtime.ids() == [c.id]
    runtime.call("delete", "--force", "--regex", ".").ok()
    assert runtime.ids() == []


def test_a_regex_that_matches_nothing_or_is_invalid(container: MakeContainer, runtime: Runtime) -> None:
    one = container()
    for command in ("kill", "delete"):
        assert runtime.call(command, "--regex", "no-such-thing").ok().stderr == ""
        runtime.call(command, "--regex", "(").fails("invalid regular expression")
    assert one.status == "created"


def test_regex_without_any_container(runtime: Runtime) -> None:
    runtime.call("delete", "--regex", ".").ok()


# --log


def test_log_to_a_file_by_its_backend(runtime: Runtime, work: Path) -> None:
    log = work / "log"
    result = runtime.call("state", "none", globals=["--log", f"file:{log}", "--log-format=json"])
    result.fails("container does not exist")
    record = json.loads(log.read_text())
    assert (record["level"], record["msg"]) == ("error", "state none: container does not exist")
