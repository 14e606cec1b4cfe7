"""Containers in scopes, each with its name, and none of them left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Runtime
from tests.harness.systemd import systemctl


@pytest.fixture
def runtime(runtime: Runtime) -> Runtime:
    """The runtime with --systemd-cgroup, only for create and run, as conmon calls it."""
    begin = runtime.begin

    def with_systemd(*args: str | Path, **options: Any) -> Any:
        return begin(*(["--systemd-cgroup"] if args[0] in ("create", "run", "restore") else []), *args, **options)

    runtime.begin = with_systemd  # type: ignore[method-assign]
    return runtime


@pytest.fixture
def bundle(bundle: Bundle) -> Bundle:
    """A bundle whose container sleeps in a scope with its name."""
    bundle.linux["cgroupsPath"] = ""
    bundle.args("sleep", "1000")
    return bundle


@pytest.fixture(autouse=True)
def no_unit_left() -> Iterator[None]:
    """No box: tests/vm/run tests boxes at the same time, whose units have names of boxes."""
    yield
    units = systemctl("list-units", "--all", "--plain", "--no-legend", "--type=scope", "ocipy*", "p-*").stdout
    assert [unit for unit in units.splitlines() if not unit.startswith("ocipy-box-")] == []
