"""The containers that play other Debians: what they get, and what is never removed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ocipy.config.check import check
from tests.conftest import TOP
from tests.hosts import config, root, stages

DOCUMENT = config.make(Path("/roots/sid"), "sid", ["bash", "/script"], ["A=b"], ["CAP_SYS_ADMIN"])


def test_the_config_is_right() -> None:
    assert check(DOCUMENT) is None


def test_nothing_of_the_host_is_in_it_but_sys() -> None:
    sources = [mount["source"] for mount in DOCUMENT["mounts"]]
    assert [source for source in sources if "/" in source] == ["/sys"]
    assert all(device["type"] == "c" for device in DOCUMENT["linux"]["devices"])
    kinds = {namespace["type"] for namespace in DOCUMENT["linux"]["namespaces"]}
    assert {"pid", "mount", "ipc"} <= kinds, "or what it starts and mounts would outlive it"
    assert DOCUMENT["linux"]["rootfsPropagation"] == "private"


def test_settings_of_the_network_are_passed_on_and_nothing_else() -> None:
    given = config.environment(
        {"PIP_INDEX_URL": "x", "https_proxy": "y", "PIP_FIND_LINKS": "/opt", "PIP_CERT": "/here", "TOKEN": "z"}
    )
    assert {"PIP_INDEX_URL=x", "https_proxy=y", f"PIP_CERT={root.CERTIFICATES}"} <= set(given)
    assert not [entry for entry in given if entry.startswith(("TOKEN", "PIP_FIND_LINKS"))]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return root.cache()


def test_only_a_directory_of_the_cache_is_ever_removed(own_cache: Path, tmp_path: Path) -> None:
    inside = own_cache / "sid-run.x"
    (inside / "etc").mkdir(parents=True)
    for other in (Path(""), Path("/"), tmp_path, own_cache, inside / "etc", own_cache / "..", own_cache / ""):
        with pytest.raises(ValueError, match="not one of our directories"):
            root.remove(other)
    assert (inside / "etc").is_dir()
    root.remove(inside)
    assert not inside.exists()


def test_a_directory_with_a_mount_is_left_alone(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = own_cache / "sid-run.x"
    inside.mkdir()
    monkeypatch.setattr(root, "mounts_below", lambda directory: [f"{directory}/sys"])
    with pytest.raises(ValueError, match="sys is mounted"):
        root.remove(inside)
    assert inside.is_dir()


def test_mounts_are_found_by_path_components() -> None:
    assert "/proc" in root.mounts_below(Path("/proc"))
    assert root.mounts_below(Path("/pro")) == []


def test_a_copy_is_removed_after_an_error_and_what_a_killed_run_left_before(own_cache: Path) -> None:
    kept = own_cache / "sid"
    (kept / "etc/apt/apt.conf.d").mkdir(parents=True)
    (kept / "etc/ssl").mkdir()
    left = own_cache / "sid-run.left"
    left.mkdir()
    with pytest.raises(KeyError), root.copy_of(kept) as copy:
        assert "path-exclude=/usr/lib/sysctl.d/*" in (copy / "etc/dpkg/dpkg.cfg.d/90host").read_text()
        assert not left.exists()
        raise KeyError
    assert [path.name for path in own_cache.iterdir()] == ["sid"]


def test_a_directory_of_the_host_is_shown_read_only() -> None:
    document = config.make(Path("/roots/sid"), "sid", [], [], [], [Path("/opt/given")])
    assert check(document) is None
    (mount,) = [mount for mount in document["mounts"] if mount["destination"] == "/opt/given"]
    assert mount["source"] == "/opt/given"
    assert {"bind", "ro"} <= set(mount["options"])


def test_a_stage_that_fails_fails_the_run_and_the_others_are_run(tmp_path: Path) -> None:
    made = [stages.Stage("one", 1, "exit 3"), stages.Stage("two", 1, "echo 'it runs'")]
    text = stages.script(made).replace("cd /src", f"cd {tmp_path}")
    done = subprocess.run(["bash", "-c", text], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "it runs" in done.stdout
    assert [line.split()[2:] for line in done.stdout.splitlines()[-2:]] == [
        ["one", "exit", "status", "3"],
        ["two", "exit", "status", "0"],
    ]


@pytest.mark.parametrize("suite", root.SUITES)
@pytest.mark.parametrize("smoke", [True, False])
def test_every_suite_has_the_snapshot_and_a_command_of_readme(suite: str, smoke: bool) -> None:
    commands = [stage.command for stage in stages.of(suite, smoke=smoke)]
    assert commands[0] == "make demo"
    assert "_snapshot.bin" in commands[1]
    assert ("make test" in commands) != smoke


@pytest.mark.parametrize("name", stages.BOX_SMOKE)
def test_the_smoke_set_has_tests_of_boxes_that_exist(name: str) -> None:
    file, _, test = name.partition("::")
    assert f"\ndef {test}(" in (TOP / file).read_text()
    assert all(name in stages.of(suite, smoke=True)[-1].command for suite in root.SUITES)


def test_the_packages_of_boxes_are_given_without_comments_or_the_browser() -> None:
    words = subprocess.run(["sh", "-c", f"echo {stages.BOX_PACKAGES}"], cwd=TOP, stdout=subprocess.PIPE, text=True)
    assert "fuse-overlayfs" in words.stdout.split() and "#" not in words.stdout and "chromium" not in words.stdout


@pytest.mark.parametrize("suite", root.SUITES)
def test_boxes_are_tested_alone_and_with_everything(suite: str) -> None:
    assert [stage.command for stage in stages.of_box()] == ["make setup", "make test-box"]
    assert "make test-box" in [stage.command for stage in stages.of(suite, smoke=False)]


@pytest.mark.parametrize("script", ["tests/hosts/run", "tests/vm/run", "tests/systemd/run", "tests/mutants/run",
                                    "conformance/run", "conformance/runc-tests", "bench/run"])  # fmt: skip
def test_scripts_of_the_makefile_run_with_the_python_in_path(script: str) -> None:
    """It lacks the tests' packages: the scripts switch to the environment that has them, or need none."""
    done = subprocess.run(
        ["/usr/bin/python3", "-S", TOP / script, "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage" in done.stdout
