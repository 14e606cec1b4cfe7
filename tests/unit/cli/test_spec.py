"""`ocipy spec`: the config that it writes, without overwriting one (cli/commands/spec.py, config/template.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocipy.cli.arguments import Arguments, parse
from ocipy.cli.commands import spec
from ocipy.config.advice import warnings
from ocipy.config.check import check
from ocipy.config.semantic import errors
from ocipy.config.template import rootless_template, template
from ocipy.errors import Error
from tests.unit.documents import at


def arguments(*words: str) -> Arguments:
    result = Arguments()
    parse(words, spec.FLAGS, result)
    return result


@pytest.mark.parametrize("config", [template(), rootless_template(1000, 1000)], ids=["root", "rootless"])
def test_the_template_is_valid(config: object) -> None:
    assert check(config) is None
    assert errors(config) == []  # type: ignore[arg-type]
    assert list(warnings(config)) == []  # type: ignore[arg-type]


def test_the_template_confines() -> None:
    config = template()
    assert config["process"]["args"] == ["sh"] and config["process"]["terminal"] is True
    assert config["process"]["noNewPrivileges"] is True
    sets = config["process"]["capabilities"]
    assert sorted(sets) == ["bounding", "effective", "permitted"]
    assert all(held == ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"] for held in sets.values())
    assert config["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]
    assert config["root"] == {"path": "rootfs", "readonly": True}
    assert [space["type"] for space in config["linux"]["namespaces"]] == [
        "pid",
        "network",
        "ipc",
        "uts",
        "mount",
        "cgroup",
    ]
    assert config["linux"]["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}
    assert "/proc/kcore" in config["linux"]["maskedPaths"] and "/proc/sys" in config["linux"]["readonlyPaths"]


def test_the_rootless_template_needs_no_rights() -> None:
    config = rootless_template(1000, 1001)
    kinds = [space["type"] for space in config["linux"]["namespaces"]]
    assert "user" in kinds and "network" not in kinds
    assert at(config, "/linux/uidMappings") == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert at(config, "/linux/gidMappings") == [{"containerID": 0, "hostID": 1001, "size": 1}]
    assert "resources" not in config["linux"]
    mounts = {mount["destination"]: mount for mount in config["mounts"]}
    assert mounts["/sys"]["options"][0] == "rbind" and "ro" in mounts["/sys"]["options"]
    assert not any(option.startswith("gid=") for option in mounts["/dev/pts"]["options"])


def test_templates_share_nothing() -> None:
    first = template()
    first["mounts"][0]["destination"] = "/changed"
    first["process"]["capabilities"]["bounding"].clear()
    assert template() != first
    assert first["process"]["capabilities"]["permitted"]


def test_writes_into_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert spec.run(arguments("--bundle", str(tmp_path))) == 0
    assert json.loads((tmp_path / "config.json").read_text()) == template()
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert spec.run(arguments("--rootless")) == 0
    assert "uidMappings" in json.loads((other / "config.json").read_text())["linux"]


def test_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(Error) as caught:
        spec.run(arguments("-b", str(tmp_path)))
    assert caught.value.line == f"{tmp_path}/config.json: already exists; remove it first"
    assert (tmp_path / "config.json").read_text() == "mine"


def test_follows_no_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Error):
        spec.run(arguments("-b", str(tmp_path)))
    assert not (tmp_path / "elsewhere").exists()


def test_says_where_it_could_not_write(tmp_path: Path) -> None:
    with pytest.raises(Error) as caught:
        spec.run(arguments("-b", str(tmp_path / "none")))
    assert caught.value.line == f"{tmp_path}/none/config.json: cannot be written: No such file or directory"
