"""newuidmap and newgidmap are setuid root and trust the pid that we pass: use only the host's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.host import namespaces


def script(path: Path, marker: Path, status: int = 0) -> None:
    """A helper that records its arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = f'echo "$0 $*" >> {marker}; echo "PATH=$PATH CALLER=$CALLER" >> {marker}; echo no such range'
    path.write_text(f"#!/bin/sh\n{told}\nexit {status}\n")
    path.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The host's directory of helpers. The caller's PATH leads to another one, as does the working directory."""
    script(tmp_path / "evil/newuidmap", tmp_path / "evil-ran")
    monkeypatch.setenv("PATH", f"{tmp_path}/evil:/bin")
    monkeypatch.setenv("CALLER", "x")
    monkeypatch.chdir(tmp_path / "evil")
    monkeypatch.setattr(namespaces, "HELPER_DIRECTORIES", (str(tmp_path / "none"), str(tmp_path / "host")))
    return tmp_path / "host"


def test_path_does_not_affect_which_helper_runs(host: Path, tmp_path: Path) -> None:
    script(host / "newuidmap", tmp_path / "host-ran")
    namespaces._run_helper("newuidmap", 77, [(0, 1000, 1), (1, 100000, 65536)])
    told = (tmp_path / "host-ran").read_text()
    assert told.startswith(f"{host}/newuidmap 77 0 1000 1 1 100000 65536\n")
    assert "evil" not in told.partition("PATH=")[2]  # nor does it get the caller's environment
    assert told.endswith("CALLER=\n")
    assert not (tmp_path / "evil-ran").exists()


def test_a_missing_helper_is_an_error(host: Path, tmp_path: Path) -> None:
    with pytest.raises(Error, match="newuidmap is missing"):
        namespaces._run_helper("newuidmap", 77, [(0, 1000, 1)])
    assert not (tmp_path / "evil-ran").exists()


def test_a_helper_that_may_not_be_executed_is_not_called_missing(host: Path) -> None:
    host.mkdir()
    (host / "newuidmap").touch()
    with pytest.raises(Error, match="this user may not execute newuidmap"):
        namespaces._run_helper("newuidmap", 77, [(0, 1000, 1)])


def test_the_error_contains_the_helpers_message(host: Path, tmp_path: Path) -> None:
    script(host / "newuidmap", tmp_path / "host-ran", status=1)
    with pytest.raises(Error, match="newuidmap cannot map 0 1000 1: no such range") as caught:
        namespaces._run_helper("newuidmap", 77, [(0, 1000, 1)])
    assert "/etc/subuid" in caught.value.hint


def test_the_directories_are_absolute() -> None:
    for directory in namespaces.HELPER_DIRECTORIES:
        assert os.path.isabs(directory) and directory.split("/")[-1] in ("bin", "sbin")
