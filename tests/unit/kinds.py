"""The kinds of steps, and what carries each out."""

from __future__ import annotations

import importlib
import importlib.resources
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ocipy.host import context as of_host
from ocipy.init import context as of_init
from ocipy.plan.cgroup_mount import CgroupMount
from ocipy.plan.devices import NewNode, NodeStep
from ocipy.plan.exec import AffinityStep
from ocipy.plan.hooks import HookStep
from ocipy.plan.model import HostStep, InitStep, Step
from ocipy.plan.mount_options import FsopenMount, MountStep, NewMount

# What kinds have in common: there is no step that is only this.
SHARED = {HostStep, InitStep, AffinityStep, MountStep, NewMount, FsopenMount, CgroupMount, HookStep, NodeStep, NewNode}


def load_all() -> None:
    """Import every module that has kinds of steps, or carries out some."""
    for package in ("ocipy.plan", "ocipy.host", "ocipy.init"):
        for file in importlib.resources.files(package).iterdir():
            if file.name.endswith(".py"):
                importlib.import_module(f"{package}.{file.name[:-3]}")


def _below(kind: type[Step]) -> Iterator[type[Step]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _below(sub)


def kinds(lane: type[Step]) -> list[type[Step]]:
    """All kinds of steps of the lane, by module and name."""
    load_all()
    found = {kind for kind in _below(lane) if kind.__module__.startswith("ocipy.")} - SHARED
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


def actions(lane: type[Step]) -> Mapping[Any, Callable[..., None]]:
    """What is registered to carry out the steps of the lane."""
    load_all()
    return of_host.ACTIONS if lane is HostStep else of_init.ACTIONS


def arguments(kind: type[Step]) -> tuple[set[str], set[str]]:
    """The names of its arguments: (those it must have, those it may have)."""
    names = {
        name for base in kind.__mro__ for name in vars(base).get("__annotations__", ()) if base not in (Step, object)
    }
    names -= {"pointer"}
    optional = {name for name in names if hasattr(kind, name)}
    return names - optional, optional


def assert_complete(step: Step) -> None:
    """Each step of a plan has its arguments, no others, and is described."""
    needed, optional = arguments(type(step))
    assert needed <= set(vars(step)) <= needed | optional, step
    assert step.describe(), step
