"""The processes of a container: those in its cgroup."""

from __future__ import annotations

from ocipy.cgroups import files, freezer
from ocipy.errors import Error, reported_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.state.state import State


def processes(state: State) -> list[int]:
    """Their pids in the caller's pid namespace, ascending. Raises Error if the container has no cgroup."""
    paths = state.cgroup["paths"] if state.cgroup is not None else {}
    if not paths:
        raise Error(
            "the container has no cgroup, so its processes are unknown",
            hint="the runtime could not make one; without root it needs a delegated cgroup",
        )
    with reported_as("cannot list the processes of the container"):
        return sorted(files.processes(freezer.find(paths)[1] or next(iter(paths.values()))))
