"""The host lane checks a namespace to join when it opens it, and refuses a wrong kind before it creates anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.host.context import HostRun
from ocipy.host.namespaces import open_namespace
from ocipy.plan.model import Options, Plan
from ocipy.plan.namespaces import OpenNamespace
from ocipy.state.state import State


@pytest.fixture
def run() -> HostRun:
    config: Any = {}
    return HostRun(config, Options(container_id="c", bundle="/b"), Plan(), State("/nowhere/c", "c", "/b"))


@pytest.mark.parametrize(
    ("kind", "file", "found"),
    [("ipc", "net", "a network namespace"), ("pid", "uts", "a uts namespace"), ("network", "mnt", "a mount namespace")],
)
def test_a_namespace_of_another_kind(run: HostRun, kind: str, file: str, found: str) -> None:
    """config-linux.md requires an error. setns(2) would give one too, but much later, and inside."""
    with pytest.raises(Error, match=f"as the {kind} namespace: it is {found}"):
        open_namespace(run, OpenNamespace(kind=kind, path=f"/proc/self/ns/{file}"))
    assert run.fds.namespaces == {}


def test_a_file_that_is_not_a_namespace(run: HostRun, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Error, match="it is not a namespace"):
        open_namespace(run, OpenNamespace(kind="ipc", path=str(tmp_path / "file")))


def test_a_namespace_of_the_right_kind(run: HostRun) -> None:
    open_namespace(run, OpenNamespace(kind="ipc", path="/proc/self/ns/ipc"))
    os.close(run.fds.namespaces.pop("ipc"))
