"""linux.maskedPaths and linux.readonlyPaths."""

from __future__ import annotations

from ocipy.linux.paths import clean
from ocipy.plan.model import InitStep
from ocipy.plan.mounts import plan_label
from ocipy.remembered import Remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ocipy.plan.model import Planner


class TakeNull(InitStep):
    """Take /dev/null from the host's tree."""

    words = "the host's, to cover masked files"


class ReadonlyPath(InitStep):
    """Make a path read-only, whatever is mounted there."""

    path: str

    def describe(self) -> str:
        return self.path


class Mask(InitStep):
    """Cover a path. label: SELinux's option for the directory that covers one, or ""."""

    path: str
    label: str

    def describe(self) -> str:
        return self.path


def plan_null(planner: Planner) -> None:
    """Take /dev/null from the host's tree before the pivot: the container's may be anything (CVE-2025-31133)."""
    if (planner.config.get("linux") or {}).get("maskedPaths"):
        planner.in_init(TakeNull("/linux/maskedPaths"))


def plan_readonly_paths(planner: Planner) -> None:
    """Make each path read-only, whatever is mounted there; skip missing ones."""
    planner.plan.init += READONLY[_paths(planner, "readonlyPaths")]


def plan_masked_paths(planner: Planner) -> None:
    """Cover each path, files with /dev/null, directories with an empty directory; skip missing ones."""
    label = plan_label(planner.config, planner.host)
    planner.plan.init += MASKS[_paths(planner, "maskedPaths"), label]


def _paths(planner: Planner, member: str) -> tuple[str, ...]:
    linux: Any = planner.config.get("linux") or {}
    paths = tuple(linux.get(member) or ())
    assert not paths or "mount" in planner.namespaces.all
    return paths


def _readonly(paths: tuple[str, ...]) -> tuple[ReadonlyPath, ...]:
    return tuple(ReadonlyPath(pointer, path=path) for pointer, path in _once(paths, "readonlyPaths"))


def _masks(wanted: tuple[tuple[str, ...], str]) -> tuple[Mask, ...]:
    paths, label = wanted
    return tuple(Mask(pointer, path=path, label=label) for pointer, path in _once(paths, "maskedPaths"))


# Engines give the same paths for nearly every container.
READONLY, MASKS = Remembered(_readonly), Remembered(_masks)


def _once(paths: tuple[str, ...], member: str) -> Iterator[tuple[str, str]]:
    """Yield (pointer, path) of each, without repetitions."""
    seen = set()
    for index, path in enumerate(paths):
        cleaned = clean(path)
        if cleaned not in seen:
            seen.add(cleaned)
            yield f"/linux/{member}/{index}", path
