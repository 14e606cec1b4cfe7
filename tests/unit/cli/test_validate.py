"""`ocipy validate`: all findings in order, as text and as JSON (operations/validate.py, config/advice.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from ocipy.cli.arguments import Arguments, parse
from ocipy.cli.commands import validate as command
from ocipy.config.finding import Finding
from ocipy.config.misspelt import unknown_members
from ocipy.config.wording import schema_errors
from ocipy.operations.validate import ERROR, MOST_PLANS, WARNING, validate
from tests.unit.documents import minimal, mutated, put, real_configs, whole


def bundle(directory: Path, config: Any) -> str:
    (directory / "rootfs").mkdir(exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (directory / "config.json").write_text(text)
    return str(directory)


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
    found = validate(bundle(tmp_path, put(whole(), "/mounts", [{"destination": "/proc/x", "type": "tmpfs"}])))
    assert [(finding.severity, finding.pointer) for finding in found] == [(ERROR, "/mounts/0/destination")]


def places(found: list[Finding], severity: str = ERROR) -> list[str]:
    return [finding.pointer for finding in found if finding.severity == severity]


def test_the_schema_hides_neither_the_rules_nor_these_the_plan(tmp_path: Path) -> None:
    config = put(put(whole(), "/process/terminal", "yes"), "/process/cwd", "x")
    config["mounts"] = [
        {"type": "tmpfs"},
        {"destination": "/a", "source": "/no/such", "options": ["bind"]},
        {"destination": "/proc", "type": "tmpfs"},
        {"destination": "/b", "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]},
        {"destination": "/proc/x", "type": "tmpfs"},
    ]
    config["linux"]["sysctl"] = {"kernel.hostname": "x", "net.x": "1"}
    config["hook"] = 1
    assert validate(bundle(tmp_path, config)) == [
        Finding(ERROR, "/process/terminal", "must be true or false, not 'yes'"),
        Finding(ERROR, "/mounts/0", "the member destination is required"),
        Finding(ERROR, "/process/cwd", "Cwd must be an absolute path"),
        Finding(ERROR, "/mounts/2/type", "only a procfs can be mounted on /proc"),
        Finding(ERROR, "/mounts/3/uidMappings", "must be given together with gidMappings"),
        Finding(ERROR, "/mounts/3/type", "a mount needs a type, or bind or rbind among its options"),
        Finding(
            ERROR,
            "/mounts/4/destination",
            "/proc/x cannot be mounted because it is inside /proc, where only lxcfs may mount: cpuinfo diskstats"
            " loadavg meminfo slabinfo stat swaps sys/crypto/fips_enabled sys/kernel/ns_last_pid uptime",
        ),
        Finding(ERROR, "/linux/sysctl/kernel.hostname", "is set by the field hostname"),
        Finding(ERROR, "/linux/sysctl/net.x", "needs a network namespace in linux.namespaces"),
        Finding(ERROR, "/mounts/1/source", "/no/such does not exist on this host"),
        Finding(WARNING, "/hook", "is unknown and ignored; did you mean hooks?"),
    ]


def test_a_misspelt_member_is_reported_next_to_the_missing_one(tmp_path: Path) -> None:
    config = put(whole(), "/mounts", [{"destinaton": "/x", "type": "tmpfs"}])
    assert [str(finding) for finding in validate(bundle(tmp_path, config))] == [
        "error: /mounts/0: the member destination is required",
        "warning: /mounts/0/destinaton: is unknown and ignored; did you mean destination?",
    ]


def test_a_missing_source_hides_nothing_else_of_its_mount(tmp_path: Path) -> None:
    config = put(whole(), "/mounts", [{"destination": "/proc/x", "source": "/no/such", "options": ["bind"]}])
    assert places(validate(bundle(tmp_path, config))) == ["/mounts/0/destination", "/mounts/0/source"]


def test_two_findings_at_one_place_are_both_reported(tmp_path: Path) -> None:
    config = put(whole(), "/process/rlimits", [{"type": "RLIMIT_X", "soft": 2, "hard": 1}])
    assert places(validate(bundle(tmp_path, config))) == ["/process/rlimits/0/type", "/process/rlimits/0/soft"]


@pytest.mark.parametrize(
    ("broken", "wrong"),
    [
        ("/process", ["/process"]),
        ("/process/cwd", ["/process/cwd"]),
        ("/root", ["/root"]),
        ("/root/path", ["/root/path"]),
        ("/ociVersion", ["/ociVersion"]),
        ("/linux/namespaces", ["/linux/namespaces"]),
        ("/linux/namespaces/0", ["/linux/namespaces/0"]),
        ("/linux/namespaces/0/type", ["/linux/namespaces/0/type"]),
        ("/linux", ["/linux"]),
        ("/linux/seccomp/defaultAction", ["/linux/seccomp/defaultAction"]),
    ],
)
def test_consequences_of_a_wrong_value_are_not_reported(tmp_path: Path, broken: str, wrong: list[str]) -> None:
    config = put(whole(), "/linux/maskedPaths", ["/proc/kcore"])
    rules = [{"names": ["execve"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    config["process"]["terminal"] = True
    found = validate(bundle(tmp_path, put(config, broken, 7)))
    assert places(found) == wrong and places(found, WARNING) == []


def test_a_missing_map_is_reported_once(tmp_path: Path) -> None:
    config = put(whole(), "/linux/namespaces/-", {"type": "user"})
    config["process"]["user"] = {"uid": 5, "gid": 5}
    assert places(validate(bundle(tmp_path, config))) == ["/linux/uidMappings"]


def test_members_given_twice_are_warned_of(tmp_path: Path) -> None:
    text = json.dumps(put(whole(), "/linux/a~1b", [1])).replace('"cwd"', '"cwd": "/x", "cwd"')
    text = text.replace("[1]", '[{"x": 1, "x": 2}]')
    assert validate(bundle(tmp_path, text)) == [
        Finding(WARNING, "/process/cwd", "is given more than once; the last one counts"),
        Finding(WARNING, "/linux/a~1b/0/x", "is given more than once; the last one counts"),
        Finding(WARNING, "/linux/a~1b", "is unknown and ignored"),
    ]


def test_old_names_are_reported_once_with_a_count(tmp_path: Path) -> None:
    config = put(whole(), "/process/capabilities", ["CAP_KILL", "CAP_CHOWN"])
    config["mounts"] = [{"name": "x", "path": f"/{number}"} for number in range(12)]
    calls = [{"name": f"call{number}", "action": "SCMP_ACT_ALLOW"} for number in range(320)]
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": calls}
    config["platform"] = {"os": "linux"}
    config["linux"]["rlimits"] = []
    assert [str(finding) for finding in validate(bundle(tmp_path, config))] == [
        "error: /process/capabilities: was a list; it is now an object with the lists bounding, effective, permitted, "
        "inheritable and ambient",
        "error: /mounts: the member destination is required; it was called path before version 1.0 (12 times)",
        "error: /linux/seccomp/syscalls: the member names is required; it was called name before version 1.0 "
        "(320 times)",
        "warning: /linux/rlimits: is now process.rlimits; the old name is ignored",
        "warning: /mounts: name was removed in 1.0, and is ignored (12 times)",
        "warning: /platform: was removed in 1.0, and is ignored",
    ]


def test_a_misspelt_capability_is_named_once(tmp_path: Path) -> None:
    sets = {name: ["CAP_KILL", "CAP_SYS_ADMINS"] for name in ("bounding", "permitted", "effective")}
    found = validate(bundle(tmp_path, put(whole(), "/process/capabilities", sets)))
    assert [str(finding) for finding in found] == [
        "warning: /process/capabilities/bounding/1: CAP_SYS_ADMINS is not a Linux capability; "
        "did you mean CAP_SYS_ADMIN?"
    ]


def test_very_many_findings_take_no_hour(tmp_path: Path) -> None:
    config = put(whole(), "/linux/devices", [{"path": f"/dev/{n}", "type": "z"} for n in range(5000)])
    config["process"]["env"] = ["x"] * 20_000
    config["process"]["rlimits"] = [{"type": "RLIMIT_X", "soft": 2, "hard": 1}] * 5000
    config["linux"]["resources"] = {"unified": {f"none{n}.x": "1" for n in range(300)}}  # the plan judges these
    found = places(validate(bundle(tmp_path, config)))
    # A device's type; an rlimit's type and its two limits.
    assert len(found) == 5000 + 20_000 + 2 * 5000 + MOST_PLANS + 1
    assert found[-1] == ""


def test_warnings_of_the_plan_are_not_repeated(tmp_path: Path) -> None:
    config = put(whole(), "/mounts", [{"destination": "rel", "type": "tmpfs"}, {"destination": "/x", "type": "proc"}])
    assert places(validate(bundle(tmp_path, config)), WARNING) == ["/mounts/0/destination", "/mounts/1/destination"]


@pytest.mark.parametrize(
    ("version", "annotations", "warned"),
    [
        ("1.0.2", {}, True),
        ("1.2.1-dev", {}, True),
        ("1.3.0", {}, False),
        ("1.10.0", {}, False),
        # podman's 0 means no limit.
        ("1.2.0", {"io.container.manager": "libpod"}, False),
    ],
)
def test_a_pids_limit_of_zero_in_an_older_config(
    tmp_path: Path, version: str, annotations: dict[str, str], warned: bool
) -> None:
    config = put(whole(), "/linux/resources", {"pids": {"limit": 0}})
    config |= {"ociVersion": version, "annotations": annotations}
    found = validate(bundle(tmp_path, config))
    assert places(found, WARNING) == (["/linux/resources/pids/limit"] if warned else [])


UNHEALTHY = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=200, deadline=None, suppress_health_check=UNHEALTHY)
@given(config=mutated())
def test_any_broken_config_yields_findings(tmp_path: Path, config: Any) -> None:
    from ocipy.config.check import check

    found = validate(bundle(tmp_path, config))
    assert (check(config) is None) or places(found)
    assert len(set(found)) == len(found)


def test_bind_mounts_without_a_source(tmp_path: Path) -> None:
    mounts = [
        {"destination": "/a", "source": "rootfs", "options": ["bind"]},
        {"destination": "/b", "source": "/no/such", "options": ["rbind", "ro"]},
        {"destination": "/c", "source": "no", "type": "bind"},
        {"destination": "/d", "source": "tmpfs", "type": "tmpfs"},
    ]
    assert validate(bundle(tmp_path, put(whole(), "/mounts", mounts))) == [
        Finding(ERROR, "/mounts/1/source", "/no/such does not exist on this host"),
        Finding(ERROR, "/mounts/2/source", "no does not exist on this host"),
        Finding(
            WARNING,
            "/mounts/2/options",
            'should contain "bind" or "rbind", or another runtime may not make a bind mount',
        ),
    ]


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        ("/process/rlimits", [{"type": "nofile", "soft": 1, "hard": 1}], "must be a name like RLIMIT_NOFILE"),
        ("/linux/devices", [{"path": "/dev/x", "type": "z"}], "must be one of c, b, u, p"),
        ("/process/execCPUAffinity", {"initial": "a"}, "must be a list of numbers and ranges like 0-2,7"),
        ("/linux/resources", {"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}, "must be a size like 2MB or 1GB"),
        ("/linux/intelRdt", {"memBwSchema": "x"}, "must be one line like MB:0=20;1=70"),
    ],
)
def test_a_pattern_is_explained_in_words(place: str, value: Any, text: str) -> None:
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
    """Hosts differ in their abilities, so only refusals of the file itself count, not the plan's."""
    from ocipy.config import semantic

    config = put(real_configs()[name], "/root/path", "rootfs")
    assert schema_errors(config) == [] and semantic.errors(config) == []
    assert list(unknown_members(config)) == []


def test_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command.run(arguments(bundle(tmp_path, put(whole(), "/process/cwd", "a\nb")))) == 1
    assert capfd.readouterr().out == "error: /process/cwd: Cwd must be an absolute path\n"
    assert command.run(arguments(bundle(tmp_path, put(whole(), "/hook", 1)))) == 0
    assert capfd.readouterr().out == "warning: /hook: is unknown and ignored; did you mean hooks?\n"


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
    assert capfd.readouterr().out == (
        "error: the member ociVersion is required\n"
        "error: /root: is required on Linux\n"
        "warning: /process: is missing, so there is nothing to start\n"
    )
