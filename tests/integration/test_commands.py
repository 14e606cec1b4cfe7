"""The command line: spec, features, --version, and flags in each form that runc's parser takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, BusyboxRootfs, Runtime, wait_until

NewId = Callable[[], str]


@pytest.mark.smoke
@pytest.mark.unprivileged
def test_version(runtime: Runtime) -> None:
    """Docker reads every line with the word, and the last one wins; conmon and podman print the whole text."""
    result = runtime.call("--version").ok()
    assert result.stderr == ""
    named = [line for line in result.lines if "version" in line]
    assert len(named) == 1
    assert named[0] == result.lines[0]
    assert named[0].startswith(f"{runtime.kind} version ")
    assert any(line.startswith("spec: 1.") for line in result.lines)


@pytest.mark.unprivileged
@pytest.mark.ocipy_only("runc leaves the line out if it was built without a commit")
def test_version_tells_the_commit(runtime: Runtime) -> None:
    assert any(line.startswith("commit:") for line in runtime.call("--version").ok().lines)
    assert runtime.call("-v").ok().stdout == runtime.call("--version").stdout


@pytest.mark.unprivileged
@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["create", "--help"], ["run", "-h"]])
def test_help(runtime: Runtime, words: list[str]) -> None:
    result = runtime.call(*words).ok()
    assert "--bundle" in result.stdout or "create" in result.stdout


@pytest.mark.smoke
@pytest.mark.unprivileged
def test_features(runtime: Runtime) -> None:
    result = runtime.call("features", globals=["--root", "/nonexistent"]).ok()
    assert result.stderr == ""
    document = result.json
    assert document["ociVersionMin"].startswith("1.0")
    assert document["ociVersionMax"].startswith("1.")
    assert {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"} == set(
        document["hooks"]
    )
    assert {"bind", "rbind", "ro", "nosuid", "nodev", "noexec", "rro", "rprivate"} <= set(document["mountOptions"])
    linux = document["linux"]
    assert {"pid", "network", "ipc", "uts", "mount", "user", "cgroup", "time"} == set(linux["namespaces"])
    assert {"CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"} <= set(linux["capabilities"])
    assert linux["cgroup"]["v1"] is True and linux["cgroup"]["v2"] is True
    assert linux["seccomp"]["enabled"] is True
    assert "SCMP_ACT_ERRNO" in linux["seccomp"]["actions"]


@pytest.mark.unprivileged
def test_features_without_global_flags_and_root(runtime: Runtime) -> None:
    """Engines call it with only PATH in the environment."""
    assert json.loads(runtime.spawn([runtime.path, "features"]).wait().ok().stdout)["linux"]


@pytest.mark.smoke
def test_spec_writes_a_config_that_runs(runtime: Runtime, work: Path, busybox: BusyboxRootfs, new_id: NewId) -> None:
    """The config runs as it is, except for its terminal, which would need a console; other tests cover that."""
    directory = work / "b"
    directory.mkdir()
    busybox.copy_to(directory / "rootfs")
    assert runtime.call("spec", cwd=directory).ok().stdout == ""
    config = json.loads((directory / "config.json").read_text())
    assert config["process"]["args"] == ["sh"]
    assert config["process"]["terminal"] is True
    assert config["root"] == {"path": "rootfs", "readonly": True}
    config["process"]["terminal"] = False
    (directory / "config.json").write_text(json.dumps(config))
    result = runtime.call("run", new_id(), cwd=directory, stdin=b"echo from the shell\n")
    assert result.ok().stdout == "from the shell\n"


@pytest.mark.unprivileged
def test_spec_does_not_overwrite(runtime: Runtime, work: Path) -> None:
    (work / "config.json").write_text("mine")
    runtime.call("spec", "--bundle", work).fails("config.json", "exist")
    assert (work / "config.json").read_text() == "mine"


@pytest.mark.unprivileged
def test_spec_bundle_flag(runtime: Runtime, work: Path) -> None:
    runtime.call("spec", "--bundle", work).ok()
    assert json.loads((work / "config.json").read_text())["ociVersion"].startswith("1.")


@pytest.mark.unprivileged
def test_spec_rootless(runtime: Runtime, work: Path) -> None:
    runtime.call("spec", "--rootless", "--bundle", work).ok()
    linux: dict[str, Any] = json.loads((work / "config.json").read_text())["linux"]
    kinds = {entry["type"] for entry in linux["namespaces"]}
    assert "user" in kinds and "network" not in kinds
    assert linux["uidMappings"][0]["containerID"] == 0
    assert "resources" not in linux


@pytest.mark.parametrize(
    "form",
    [
        ["--bundle", "{b}", "{id}"],
        ["--bundle={b}", "{id}"],
        ["-bundle", "{b}", "{id}"],
        ["-bundle={b}", "{id}"],
        ["-b", "{b}", "{id}"],
        ["-b={b}", "{id}"],
        ["{id}", "--bundle", "{b}"],
        ["{id}", "-b", "{b}", "--no-new-keyring"],
        ["--no-new-keyring=true", "--bundle={b}", "{id}"],
        ["--no-pivot=false", "--bundle={b}", "{id}"],
        ["-no-new-keyring", "-b", "{b}", "--", "{id}"],
    ],
)
def test_flags_in_each_form(runtime: Runtime, bundle: Bundle, new_id: NewId, form: list[str]) -> None:
    id = new_id()
    bundle.args("sleep", "1000").write()
    runtime.call("create", *(word.format(b=bundle.path, id=id) for word in form)).ok()
    assert runtime.state(id)["bundle"] == str(bundle.path)
    runtime.call("delete", id, "--force").ok()


@pytest.mark.parametrize(
    "words", [["delete", "--force"], ["delete", "-f"], ["delete", "-force"], ["delete", "--force=true"]]
)
def test_delete_flags(runtime: Runtime, bundle: Bundle, new_id: NewId, words: list[str]) -> None:
    id = new_id()
    runtime.create(bundle.args("sleep", "1000"), id).ok()
    runtime.call(*words, id).ok()
    assert runtime.ids() == []


@pytest.mark.parametrize(
    "form", [["kill", "-a", "{id}", "9"], ["kill", "--all", "{id}", "KILL"], ["kill", "{id}", "sigkill"]]
)
def test_kill_forms(runtime: Runtime, bundle: Bundle, new_id: NewId, form: list[str]) -> None:
    id = new_id()
    runtime.create(bundle.args("sleep", "1000"), id).ok()
    runtime.start(id).ok()
    runtime.call(*(word.format(id=id) for word in form)).ok()
    wait_until(lambda: runtime.state(id)["status"] == "stopped")
    runtime.delete(id).ok()


@pytest.mark.parametrize(
    "flags",
    [
        ["--root={r}"],
        ["-root", "{r}"],
        ["--root", "{r}", "--log={w}/log", "--log-format=json"],
        ["--root", "{r}", "--log", "{w}/log", "--log-format", "text"],
        ["--root", "{r}", "--debug", "--log", "{w}/log"],
        ["--root", "{r}", "--rootless=false"],
        ["--root", "{r}", "--rootless", "auto"],
    ],
)
def test_global_flags(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, flags: list[str]) -> None:
    words = [word.format(r=runtime.root, w=work) for word in flags]
    bundle.sh("echo fine").write()
    result = runtime.call("run", "--bundle", bundle.path, new_id(), globals=words)
    assert result.ok().stdout == "fine\n"


@pytest.mark.unprivileged
@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["state", "x"], ["--log-format", "xml"]),
        (["state", "x"], ["--rootless=perhaps"]),
        (["state", "x"], ["--no-such-flag"]),
        (["state", "x", "y"], []),
        (["create", "--pid-file"], []),
        (["start"], []),
        (["start", "x", "y"], []),
        (["kill", "x", "TERM", "more"], []),
    ],
)
def test_flags_that_the_parser_refuses(runtime: Runtime, words: list[str], flags: list[str]) -> None:
    result = runtime.call(*words, globals=flags)
    assert result.status not in (0, None) and result.status > 0, repr(result)
    assert "Traceback" not in result.stderr


@pytest.mark.unprivileged
def test_podmans_probes(runtime: Runtime) -> None:
    """podman looks for these words to find out whether restore has the flag."""
    result = runtime.call("create", "--pid-file")
    assert "flag needs an argument" in result.stdout + result.stderr


@pytest.mark.parametrize("state", ["", None])
def test_default_root_is_run(runtime: Runtime, bundle: Bundle, new_id: NewId, state: str | None) -> None:
    """Without --root: below /run for root. An empty XDG_RUNTIME_DIR, which podman sets, counts as unset."""
    id = new_id()
    bundle.args("sleep", "1000").write()
    env = {} if state is None else {"XDG_RUNTIME_DIR": state}
    runtime.spawn([runtime.path, "create", "--bundle", str(bundle.path), id], env=env).wait().ok()
    try:
        assert Path("/run", runtime.kind, id).is_dir()
    finally:
        runtime.spawn([runtime.path, "delete", "--force", id], env=env).wait().ok()
    assert not Path("/run", runtime.kind, id).exists()


def runtime_validate(runtime: Runtime, bundle: Bundle) -> str:
    """validate's report on a faulty bundle."""
    bundle.write()
    result = runtime.call("validate", bundle.path)
    assert result.status == 1, repr(result)
    return result.stdout


@pytest.mark.ocipy_only("runc has neither validate nor plan")
def test_validate_prints_every_finding(runtime: Runtime, bundle: Bundle) -> None:
    """First the errors in shape; if there are none, contradictions between members."""
    bundle.args("true")
    bundle.process["cwd"] = "relative"
    bundle.linux["namespaces"].append({"type": "network"})
    fitting = runtime_validate(runtime, bundle)
    for pointer in ("/process/cwd", "/linux/namespaces/6"):
        assert pointer in fitting, fitting
    bundle.process["user"]["uid"] = -1
    bundle.linux["namespaces"].append({"type": "no-such"})
    shape = runtime_validate(runtime, bundle)
    for pointer in ("/process/user/uid", "/linux/namespaces/7/type"):
        assert pointer in shape, shape


@pytest.mark.ocipy_only("runc has neither validate nor plan")
def test_validate_of_a_good_config(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("true").write()
    runtime.call("validate", bundle.path).ok()


@pytest.mark.ocipy_only("runc has neither validate nor plan")
def test_plan_touches_nothing(runtime: Runtime, bundle: Bundle) -> None:
    bundle.args("true").write()
    before = sorted(path.name for path in bundle.path.rglob("*"))
    text = runtime.call("plan", bundle.path).ok()
    assert "/linux/namespaces" in text.stdout and "/mounts/0" in text.stdout
    document = runtime.call("plan", "--format", "json", bundle.path).ok().json
    assert document
    only = runtime.call("plan", "--only", "/mounts/0", bundle.path).ok()
    assert "/mounts/0" in only.stdout and "/linux/namespaces" not in only.stdout
    assert sorted(path.name for path in bundle.path.rglob("*")) == before
    assert runtime.ids() == []
