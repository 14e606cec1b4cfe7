"""plan/exec_process.py: the process that exec executes, from the container's, --process and flags."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.config.description import nodes
from ocipy.errors import Error
from ocipy.plan.exec_process import INHERITED, Changes, process_to_execute

OWN: Any = {
    "cwd": "/home",
    "args": ["server"],
    "env": ["PATH=/bin", "A=1"],
    "terminal": True,
    "user": {"uid": 1, "gid": 2, "umask": 0o27, "additionalGids": [3]},
    "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
    "noNewPrivileges": True,
    "apparmorProfile": "profile",
    "selinuxLabel": "label",
    "oomScoreAdj": 5,
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}],
    "scheduler": {"policy": "SCHED_BATCH"},
    "ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
    "execCPUAffinity": {"final": "0"},
}
CONFIG: Any = {"process": OWN}
# What --process says itself: what is executed where, on which terminal, and as whom (of user, umask is inherited).
NOT_INHERITED = {"args", "cwd", "env", "terminal", "consoleSize", "user"}


def changed(**changes: Any) -> Any:
    return process_to_execute(CONFIG, None, Changes(args=["true"], **changes))


def given(process: Any, **changes: Any) -> Any:
    return process_to_execute(CONFIG, process, Changes(**changes))


def test_each_member_of_process_is_inherited_or_not_on_purpose() -> None:
    """A new one that confines must not be left out of an exec because nobody thought of it."""
    (process,) = [
        kind for kind in nodes.objects(nodes.Value("", nodes.read_document("config"))) if kind.name == "Process"
    ]
    assert sorted([*INHERITED, *NOT_INHERITED]) == sorted(member.name for member in process.members)


def test_the_containers_own_with_another_command_and_no_terminal() -> None:
    before = repr(OWN)
    assert changed() == {**OWN, "args": ["true"], "terminal": False}
    changed(env=["B=2"], user="7:8", additional_gids=["9"], capabilities=["CAP_CHOWN"], cwd="/", label="x")
    assert repr(OWN) == before, "the saved config is not to be changed"


def test_no_command() -> None:
    with pytest.raises(Error, match="exec args cannot be empty"):
        process_to_execute(CONFIG, None, Changes())


def test_a_container_without_a_process() -> None:
    process = process_to_execute({}, None, Changes(args=["x"], user="5"))  # type: ignore[typeddict-item]
    assert process == {"cwd": "/", "args": ["x"], "terminal": False, "user": {"uid": 5}}


def test_flags() -> None:
    process = changed(cwd="/x", env=["A=2", "B="], no_new_privileges=False, apparmor="p", label="l", terminal=True)
    assert process["cwd"] == "/x"
    assert process["env"] == ["PATH=/bin", "A=1", "A=2", "B="]
    assert process["noNewPrivileges"] is False
    assert (process["apparmorProfile"], process["selinuxLabel"]) == ("p", "l")
    assert process["terminal"] is True


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("7", {"uid": 7, "gid": 2}),
        ("0", {"uid": 0, "gid": 2}),
        ("7:8", {"uid": 7, "gid": 8}),
        ("0007:08", {"uid": 7, "gid": 8}),
        ("4294967294:4294967294", {"uid": 4294967294, "gid": 4294967294}),
        ("", {"uid": 1, "gid": 2}),
    ],
)
def test_user(text: str, user: Any) -> None:
    """CVE-2026-30892: every form, and the uid is stored in each."""
    assert changed(user=text)["user"] == {"umask": 0o27, "additionalGids": [3], **user}


@pytest.mark.parametrize(
    "text",
    ["1:", ":2", ":", "-1", "+1", "4294967295", "4294967296", "1x", "x", "0x1", "1 ", "1_0", "1:2:3", "1:-1", "\u00b2"],
)
def test_invalid_user(text: str) -> None:
    with pytest.raises(Error, match="is not a number") as caught:
        changed(user=text)
    assert caught.value.pointer == "--user"


def test_additional_groups() -> None:
    assert changed(additional_gids=["5", "0"])["user"]["additionalGids"] == [3, 5, 0]
    with pytest.raises(Error, match="bad gid"):
        changed(additional_gids=["-5"])


@pytest.mark.parametrize("entry", ["", "A", "=1"])
def test_invalid_environment(entry: str) -> None:
    with pytest.raises(Error, match="NAME=VALUE"):
        changed(env=[entry])


def test_relative_directory() -> None:
    with pytest.raises(Error, match="Cwd must be an absolute path"):
        changed(cwd="x")


def test_capabilities() -> None:
    sets = changed(capabilities=["CAP_CHOWN"])["capabilities"]
    assert sets == {name: ["CAP_KILL", "CAP_CHOWN"] for name in ("bounding", "effective", "permitted")}


@pytest.mark.parametrize("inheritable", [[], ["CAP_KILL"]])
def test_ambient_only_with_an_inheritable_set(inheritable: list[str]) -> None:
    """And nothing is ever added to inheritable: CVE-2022-29162."""
    config: Any = {"process": {**OWN, "capabilities": {"inheritable": inheritable}}}
    sets = process_to_execute(config, None, Changes(args=["x"], capabilities=["CAP_CHOWN"]))["capabilities"]
    assert sets["inheritable"] == inheritable
    assert sets["ambient"] == ["CAP_CHOWN"]


def test_capabilities_for_a_container_without_any() -> None:
    config: Any = {"process": {"cwd": "/"}}
    sets = process_to_execute(config, None, Changes(args=["x"], capabilities=["CAP_CHOWN"]))["capabilities"]
    assert sets == {name: ["CAP_CHOWN"] for name in ("bounding", "effective", "permitted")}


def test_a_process_given_whole() -> None:
    """What it says counts; what confines and is left out is the container's."""
    process = given({"cwd": "/", "args": ["x"]})
    inherited = {name: OWN[name] for name in INHERITED}
    assert process == {"cwd": "/", "args": ["x"], "terminal": False, "user": {"umask": 0o27}, **inherited}
    own: Any = {
        "cwd": "/", "args": ["x"], "terminal": True, "user": {"uid": 9, "umask": 0}, "capabilities": {},
        "noNewPrivileges": False, "oomScoreAdj": 0, "apparmorProfile": "other", "selinuxLabel": "other",
        "rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}], "scheduler": {"policy": "SCHED_OTHER"},
        "ioPriority": {"class": "IOPRIO_CLASS_BE"}, "execCPUAffinity": {},
    }  # fmt: skip
    assert given(own) == own


@pytest.mark.parametrize("name", ["apparmorProfile", "selinuxLabel", "rlimits", "capabilities"])
def test_empty_means_absent(name: str) -> None:
    empty: Any = {"rlimits": [], "capabilities": None}.get(name, "")
    assert given({"cwd": "/", "args": ["x"], name: empty})[name] == OWN[name]


def test_a_process_given_whole_is_changed_by_flags() -> None:
    process = given({"cwd": "/", "args": ["x"], "user": {"uid": 1}}, terminal=True, user="5", args=["y", "z"], cwd="/c")
    assert (process["terminal"], process["user"]["uid"], process["args"], process["cwd"]) == (True, 5, ["y", "z"], "/c")
