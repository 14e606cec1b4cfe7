"""linux.maskedPaths and linux.readonlyPaths."""

from __future__ import annotations

from ocipy.cgroups.paths import clean
from ocipy.plan.mounts import plan_label
from ocipy.plan.namespaces import has_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan


def plan_null(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Take /dev/null from the host's tree before the pivot: the container's may be anything (CVE-2025-31133)."""
    if (config.get("linux") or {}).get("maskedPaths"):
        plan.in_init("take_null", "/linux/maskedPaths")


def plan_readonly_paths(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Make each path read-only, whatever is mounted there; skip missing ones."""
    for pointer, path in _paths(config, "readonlyPaths"):
        plan.in_init("readonly_path", pointer, path=path)


def plan_masked_paths(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Cover each path, files with /dev/null, directories with an empty one; skip missing ones."""
    label = plan_label(config, host)
    for pointer, path in _paths(config, "maskedPaths"):
        plan.in_init("mask", pointer, path=path, label=label)


def _paths(config: Config, member: str) -> Iterator[tuple[str, str]]:
    """Yield (pointer, path) of each, without repetitions."""
    linux = config.get("linux") or {}
    paths: list[str] = linux.get(member) or []  # type: ignore[assignment]
    assert not paths or has_namespace(config, "mount")
    seen = set()
    for index, path in enumerate(paths):
        if clean(path) not in seen:
            seen.add(clean(path))
            yield f"/linux/{member}/{index}", path
