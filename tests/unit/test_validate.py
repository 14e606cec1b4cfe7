"""`ocipy validate`: all findings at once, in order, as text and as JSON (commands/validate.py, config/advice.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocipy.cli import Arguments, parse
from ocipy.commands import validate as command
from ocipy.commands.validate import ERROR, WARNING, Finding, validate
from ocipy.config.advice import warnings
from ocipy.config.wording import schema_errors
from ocipy.errors import Error
from tests.unit.documents import minimal, put, real_configs


def bundle(directory: Path, config: Any) -> str:
    (directory / "rootfs").mkdir(exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (directory / "config.json").write_text(text)
    return str(directory)


def whole() -> Any:
    """Minimal, but with what create needs on any host."""
    return put(minimal(), "/linux/namespaces", [{"type": "mount"}, {"type": "pid"}])


def arguments(*words: str) -> Arguments:
    result = Arguments()
    parse(words, command.FLAGS, result)
    return result


def test_nothing_to_say(tmp_path: Path) -> None:
    assert validate(bundle(tmp_path, whole())) == []


def test_every_break_of_the_schema_at_once(tmp_path: Path) -> None:
    config = put(put(minimal(), "/process/terminal", "yes"), "/mounts", [{"type": 5}])
    config = put(config, "/linux/namespaces", [{"type": "net"}])
    assert validate(bundle(tmp_path, config)) == [
        Finding(ERROR, "/process/terminal", "must be true or false, not 'yes'"),
        Finding(ERROR, "/mounts/0/type", "must be a string, not 5"),
        Finding(ERROR, "/mounts/0", "the member destination is required"),
        Finding(
            ERROR,
            "/linux/namespaces/0/type",
            "must be one of mount, pid, network, uts, ipc, user, cgroup, time, not 'net'",
        ),
    ]


def test_every_broken_rule_then_the_warnings(tmp_path: Path) -> None:
    config = put(whole(), "/process/cwd", "x")
    config = put(config, "/hostname", "web")
    config = put(config, "/mounts", [{"destination": "rel", "type": "tmpfs"}])
    (tmp_path / "rootfs").write_text("")
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = validate(str(tmp_path))
    assert [(finding.severity, finding.pointer) for finding in found] == [
        (ERROR, "/process/cwd"),
        (ERROR, "/hostname"),
        (ERROR, "/root/path"),
        (WARNING, "/mounts/0/destination"),
    ]


def test_what_the_plan_refuses(tmp_path: Path) -> None:
    found = validate(bundle(tmp_path, put(whole(), "/vm", {"kernel": {"path": "/boot/x"}})))
    assert [(finding.severity, finding.pointer) for finding in found] == [(ERROR, "/vm")]


def test_bind_mounts_without_a_source(tmp_path: Path) -> None:
    mounts = [
        {"destination": "/a", "source": "rootfs", "options": ["bind"]},
        {"destination": "/b", "source": "/no/such", "options": ["rbind", "ro"]},
        {"destination": "/c", "source": "no", "type": "bind"},
        {"destination": "/d", "source": "tmpfs", "type": "tmpfs"},
    ]
    assert validate(bundle(tmp_path, put(whole(), "/mounts", mounts))) == [
        Finding(WARNING, "/mounts/1/source", "/no/such does not exist on this host"),
        Finding(WARNING, "/mounts/2/source", "no does not exist on this host"),
    ]


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        ("/process/rlimits", [{"type": "nofile", "soft": 1, "hard": 1}], "must be a name like RLIMIT_NOFILE"),
        ("/linux/devices", [{"path": "/dev/x", "type": "z"}], "must be one of c, b, u, p"),
        ("/process/execCPUAffinity", {"initial": "a"}, "must be a list of numbers and ranges like 0-2,7"),
        ("/linux/resources", {"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}, "must be a size like 2MB or 1GB"),
        ("/linux/intelRdt", {"memBwSchema": "x"}, "must match ^MB:[^\\n]*$"),
    ],
)
def test_a_pattern_is_told_in_words(place: str, value: Any, text: str) -> None:
    found = schema_errors(put(whole(), place, value))
    assert [words.rpartition(", not ")[0] for _, words in found] == [text]


def test_no_bundle(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert validate(str(missing)) == [Finding(ERROR, str(missing), "cannot open the bundle: No such file or directory")]


def test_not_json(tmp_path: Path) -> None:
    (finding,) = validate(bundle(tmp_path, "{]"))
    assert finding.pointer == f"{tmp_path}/config.json" and finding.text.startswith("not JSON: line 1, column 2")


@pytest.mark.parametrize("name", sorted(real_configs()))
def test_no_engine_s_config_breaks_a_rule(tmp_path: Path, name: str) -> None:
    """Hosts differ in what they can give, so the plan's refusals are not looked at, only those of the file itself."""
    from ocipy.config import semantic

    config = put(real_configs()[name], "/root/path", "rootfs")
    assert schema_errors(config) == [] and semantic.errors(config) == []
    assert [pointer for pointer, text in warnings(config) if "unknown" in text] == []


def test_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.run(arguments(bundle(tmp_path, put(whole(), "/process/cwd", "a\nb")))) == 1
    assert capfd.readouterr().out == "error: /process/cwd: Cwd must be an absolute path\n"
    assert command.run(arguments(bundle(tmp_path, put(whole(), "/hook", 1)))) == 0
    assert capfd.readouterr().out == "warning: /hook: is unknown and ignored; meant hooks?\n"


def test_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.run(arguments("--format", "json", bundle(tmp_path, put(whole(), "/process/cwd", "")))) == 1
    assert json.loads(capfd.readouterr().out) == [
        {"severity": "error", "pointer": "/process/cwd", "text": "Cwd must be an absolute path"}
    ]
    assert command.run(arguments("--format=json", bundle(tmp_path, whole()))) == 0
    assert json.loads(capfd.readouterr().out) == []


def test_the_current_directory_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path, whole())
    (tmp_path / "other.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert command.run(arguments()) == 0
    assert command.run(arguments("--config", "other.json")) == 1
    assert capfd.readouterr().out == "error: the member ociVersion is required\n"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(Error, match="--format is text or json"):
        command.run(arguments("--format", "xml"))


ADVICE = [
    ("/process", None, "/process"),
    ("/hooks", {"prestart": [{"path": "/x"}]}, "/hooks/prestart"),
    ("/windows", {}, "/windows"),
    ("/process/capabilities", {"bounding": ["CAP_SYS_ADMINS"]}, "/process/capabilities/bounding/0"),
    ("/process/capabilities", {"effective": ["CAP_KILL"]}, "/process/capabilities/effective/0"),
    (
        "/process/capabilities",
        {"ambient": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "/process/capabilities/ambient/0",
    ),
    ("/process/consoleSize", {"height": 1, "width": 1}, "/process/consoleSize"),
    ("/mounts", [{"destination": "x", "type": "tmpfs"}], "/mounts/0/destination"),
    ("/mounts", [{"destination": "/x"}], "/mounts/0/type"),
    ("/linux/resources", {"memory": {"kernel": 1}}, "/linux/resources/memory/kernel"),
    ("/linux/intelRdt", {"l3CacheSchema": "0=f"}, "/linux/intelRdt/l3CacheSchema"),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_KILL"}, "/linux/seccomp/syscalls"),
    (
        "/linux/seccomp",
        {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]},
        "/linux/seccomp/syscalls",
    ),
    ("/linux/cgroupsPath", "system.slice:ocipy:web", "/linux/cgroupsPath"),
    ("/process/noNewPrivilege", True, "/process/noNewPrivilege"),
    ("/linux/resources", {"devices": [{"allow": True, "accces": "r"}]}, "/linux/resources/devices/0/accces"),
    ("/linux/netDevices", {"eth0": {"nmae": "x"}}, "/linux/netDevices/eth0/nmae"),
]


@pytest.mark.parametrize(("place", "value", "pointer"), ADVICE)
def test_advice(place: str, value: Any, pointer: str) -> None:
    assert [found for found, _ in warnings(put(whole(), place, value))] == [pointer]


def test_advice_on_devices() -> None:
    device = {"type": "c", "path": "/dev/a", "major": 1, "minor": 3}
    devices = [device, {**device, "path": "/dev/b"}, {**device, "minor": 5}]
    config = put(whole(), "/linux/devices", devices)
    assert list(warnings(config)) == [
        ("/linux/devices/1", "is the same device as /linux/devices/0"),
        ("/linux/devices/2/path", "is the path of /linux/devices/0, too"),
    ]


def test_advice_on_mappings_without_idmap() -> None:
    ids = [{"containerID": 0, "hostID": 0, "size": 1}]
    mount = {"destination": "/x", "source": "/y", "options": ["bind"], "uidMappings": ids, "gidMappings": ids}
    assert [pointer for pointer, _ in warnings(put(whole(), "/mounts", [mount]))] == ["/mounts/0/options"]


def test_close_names_are_offered() -> None:
    config = put(put(whole(), "/process/capabilities", {"bounding": ["CAP_SYS_ADMINS"]}), "/linux/seccom", {})
    assert [text for _, text in warnings(config)] == [
        "CAP_SYS_ADMINS is no capability of Linux; meant CAP_SYS_ADMIN?",
        "is unknown and ignored; meant seccomp?",
    ]
