"""ocipy features: the document is valid, complete, and true to what the code works with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ocipy.commands.features import features
from ocipy.errors import Error
from ocipy.linux.constants import CAP_CHECKPOINT_RESTORE
from ocipy.plan import refused, seccomp
from ocipy.plan.model import Host, Options, Plan

TOP = Path(__file__).resolve().parents[2]
OPTIONS = Options(container_id="c", bundle="/b")


def test_it_is_valid() -> None:
    schema = json.loads((TOP / "spec/features.schema.json").read_text())
    jsonschema.Draft4Validator.check_schema(schema)
    jsonschema.Draft4Validator(schema).validate(features())


def test_the_schema_would_find_a_mistake() -> None:
    schema = json.loads((TOP / "spec/features.schema.json").read_text())
    document = features()
    document["linux"]["seccomp"]["actions"].append("SCMP_ACT_SING")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema).validate(document)


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
    seccomp.plan_seccomp_compile(Plan(), config, Host(), OPTIONS)


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


def test_what_is_refused_is_not_enabled() -> None:
    assert features()["linux"]["intelRdt"] == {"enabled": False}
    config: Any = {"linux": {"intelRdt": {}}}
    with pytest.raises(Error):
        refused.refuse(config, Host(), OPTIONS)


def test_annotations_that_have_an_effect_are_listed() -> None:
    used = set()
    for path in (TOP / "ocipy/plan").glob("*.py"):
        for line in path.read_text().splitlines():
            if "annotation" in line.lower():
                used |= set(re.findall(r'"([a-z]+\.[a-z]+\.[A-Za-z._]+)"', line))
    assert used == set(features()["potentiallyUnsafeConfigAnnotations"])
