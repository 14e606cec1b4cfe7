"""ocipy features: the document is valid, complete, and agrees with the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ocipy.config.check import check
from ocipy.config.mount_options import parse
from ocipy.config.semantic import errors
from ocipy.linux.constants import CAP_CHECKPOINT_RESTORE
from ocipy.operations.features import features
from ocipy.plan import seccomp
from ocipy.plan.build import build
from ocipy.plan.model import Host, Options, Planner
from tests.unit.documents import minimal

TOP = Path(__file__).resolve().parents[3]
OPTIONS = Options(container_id="c", bundle="/b")


def test_it_is_valid() -> None:
    schema = json.loads((TOP / "spec/features.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(features())


def test_the_schema_would_find_a_mistake() -> None:
    schema = json.loads((TOP / "spec/features.schema.json").read_text())
    document = features()
    document["linux"]["seccomp"]["actions"].append("SCMP_ACT_SING")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(document)


def closed(node: Any) -> Any:
    """The schema, with objects restricted to its named members."""
    if isinstance(node, list):
        return [closed(part) for part in node]
    if not isinstance(node, dict):
        return node
    result = {name: closed(part) for name, part in node.items()}
    if isinstance(node.get("properties"), dict):
        result.setdefault("additionalProperties", False)
    return result


def objects(value: Any) -> list[Any]:
    """The document, and every object in it whose members the schema names (maps of strings take any)."""
    if not isinstance(value, dict):
        return []
    return [value, *(found for name, part in value.items() if name != "annotations" for found in objects(part))]


def test_it_contains_only_what_the_specification_defines() -> None:
    """features.md: MUST NOT contain undefined properties, which the published schema lets pass."""
    schema = closed(json.loads((TOP / "spec/features.schema.json").read_text()))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(features())
    for index in range(len(objects(features()))):
        document = features()
        objects(document)[index]["x-ocipy"] = True
        with pytest.raises(jsonschema.ValidationError, match="x-ocipy"):
            validator.validate(document)


def test_there_is_no_null_in_it() -> None:
    """features.md: null is not the same as empty. Facts that ocipy does not know are absent; others have a value."""

    def nulls(value: Any, pointer: str) -> list[str]:
        if value is None:
            return [pointer]
        if isinstance(value, dict):
            parts = list(value.items())
        else:
            parts = list(enumerate(value)) if isinstance(value, list) else []
        return [found for name, part in parts for found in nulls(part, f"{pointer}/{name}")]

    assert nulls(features(), "") == []
    assert nulls({"a": [None]}, "") == ["/a/0"]


def test_the_versions_are_accepted_and_in_order() -> None:
    oldest, newest = features()["ociVersionMin"], features()["ociVersionMax"]
    assert [int(part) for part in oldest.split(".")] <= [int(part) for part in newest.split(".")]
    for version in (oldest, newest):
        config: Any = {**minimal(), "ociVersion": version}
        assert check(config) is None
        assert errors(config) == []


def test_it_does_not_depend_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """features.md: it SHOULD be known when the runtime is compiled. So making it does not look at the machine."""
    expected = features()

    def look(*_arguments: Any, **_keywords: Any) -> Any:
        raise AssertionError("features looks at the host")

    for name in ("posix.open", "posix.stat", "posix.uname", "posix.listdir", "posix.readlink", "posix.geteuid"):
        monkeypatch.setattr(name, look)
    assert features() == expected


def test_every_namespace_and_memory_policy_is_taken_by_the_checks() -> None:
    linux = features()["linux"]
    for kind in linux["namespaces"]:
        config: Any = {**minimal(), "linux": {"namespaces": [{"type": kind, "path": "/proc/1/ns/x"}]}}
        assert check(config) is None
    for mode in linux["memoryPolicy"]["modes"]:
        config = {**minimal(), "linux": {"memoryPolicy": {"mode": mode}}}
        assert check(config) is None
    for flag in linux["memoryPolicy"]["flags"]:
        config = {**minimal(), "linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}}}
        assert check(config) is None
        assert errors(config) == []


def test_every_hook_and_mount_option_is_taken_by_the_plan() -> None:
    for kind in features()["hooks"]:
        config: Any = {**minimal(), "hooks": {kind: [{"path": "/hook"}]}}
        config["linux"] = {"namespaces": [{"type": "mount"}]}
        plan = build(config, Host(), OPTIONS)
        assert [vars(step)["kind"] for step in plan.host + plan.init if "hook" in step.action] == [kind]
    for option in features()["mountOptions"]:
        assert parse([option]).data == (), option


def test_options_of_single_filesystems_are_not_listed() -> None:
    """features.md: options specific to a filesystem SHOULD NOT be in mountOptions."""
    for word in ("size", "mode", "uid", "gid", "newinstance", "ptmxmode", "nr_inodes", "subset", "hidepid", "lowerdir"):
        assert not [option for option in features()["mountOptions"] if option.partition("=")[0] == word], word


def test_what_engines_look_for() -> None:
    document = features()
    assert document["ociVersionMin"] == "1.0.0"
    assert document["ociVersionMax"] == "1.3.0"
    assert {"rro", "rbind", "tmpcopyup", "idmap"} <= set(document["mountOptions"])
    linux = document["linux"]
    assert set(linux["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}
    assert linux["mountExtensions"] == {"idmap": {"enabled": True}}
    assert document["annotations"]["org.opencontainers.runc.checkpoint.enabled"] == "true"
    assert len(linux["capabilities"]) == CAP_CHECKPOINT_RESTORE + 1


def test_hooks() -> None:
    assert features()["hooks"] == [
        "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
    ]  # fmt: skip


def planned(profile: dict[str, Any]) -> None:
    config: Any = {"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", **profile}}}
    seccomp.plan_seccomp_compile(Planner(config, Host(), OPTIONS))


def test_every_seccomp_word_is_taken_by_the_plan() -> None:
    words = features()["linux"]["seccomp"]
    for action in words["actions"]:
        planned({"syscalls": [{"names": ["mount"], "action": action}], "listenerPath": "/a"})
    for operator in words["operators"]:
        condition = {"index": 0, "value": 1, "op": operator}
        planned({"syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ALLOW", "args": [condition]}]})
    planned({"architectures": words["archs"]})
    notify = [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]
    planned({"flags": words["supportedFlags"], "syscalls": notify, "listenerPath": "/a"})
    assert set(words["supportedFlags"]) <= set(words["knownFlags"])


def test_the_promised_intel_rdt_features_are_planned() -> None:
    assert features()["linux"]["intelRdt"] == {"enabled": True, "schemata": True, "monitoring": True}
    config: Any = {**minimal(), "linux": {"intelRdt": {"schemata": ["L3:0=f"], "enableMonitoring": True}}}
    actions = [step.action for step in build(config, Host(), OPTIONS).host]
    assert {"rdt_group", "rdt_schema", "rdt_monitoring", "rdt_join"} <= set(actions)


def test_annotations_that_have_an_effect_are_listed() -> None:
    used = set()
    for path in (*TOP.glob("ocipy/plan/*.py"), *TOP.glob("ocipy/config/*.py")):
        for line in path.read_text().splitlines():
            if "annotation" in line.lower():
                used |= set(re.findall(r'"([a-z]+\.[a-z]+\.[A-Za-z._]+)"', line))
    assert used == set(features()["potentiallyUnsafeConfigAnnotations"])
