"""linux.resources as writes to control files, for the tests of the tables in docs/cgroups.md."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.cgroups.resources import limits
from ocipy.cgroups.writes import Writes
from ocipy.errors import Error
from tests.unit.documents import refused_at

V1 = ("cpu,cpuacct", "cpuset", "memory", "pids", "blkio", "hugetlb", "net_cls,net_prio", "rdma", "name=systemd")


V2 = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma")


BASE = "/linux/resources"


def writes(resources: Any, mode: str = "v1", controllers: tuple[str, ...] | None = None) -> list[tuple[Any, ...]]:
    """(pointer below resources, file, value, options) of each action."""
    if controllers is None:
        controllers = V2 if mode == "v2" else V1
    made = limits(resources, mode, controllers)
    return [
        (
            pointer.removeprefix(BASE),
            arguments.get("file", action),
            arguments.get("value", ""),
            {key: value for key, value in arguments.items() if key not in ("controller", "file", "value")},
        )
        for action, pointer, arguments in made.actions
    ]


def arguments(made: Writes) -> list[tuple[object, ...]]:
    """The arguments of each write: controller, file, value, and options."""
    return [tuple(action[2].values()) for action in made.actions]


def pairs(resources: Any, mode: str = "v1") -> list[tuple[str, str]]:
    return [(file, value) for _, file, value, _ in writes(resources, mode)]


def refused(resources: Any, mode: str, pointer: str, controllers: tuple[str, ...] | None = None) -> Error:
    with pytest.raises(Error) as caught:
        writes(resources, mode, controllers)
    assert caught.value.pointer == BASE + pointer
    return caught.value


def refused_by_config(resources: Any) -> list[str]:
    return [pointer.removeprefix("/linux/resources") for pointer in refused_at({"linux": {"resources": resources}})]
