"""pause and resume: the freezer of the container's cgroup. As in runc: the specification has no such operations."""

from __future__ import annotations

import posix

from ocipy.cgroups import freezer
from ocipy.errors import Error, reported_as
from ocipy.state.directory import lock
from ocipy.state.state import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ocipy.state.state import State


def pause(root: str, container_id: str) -> None:
    """Freeze every process of a created or running container, and wait until all are frozen. Raises Error."""
    state = _switch(root, container_id, ("created", "running"), "container not running", freezer.freeze)
    if not state.is_alive():
        # It was killed meanwhile. Thaw its leftovers: the killer must not find them frozen.
        freezer.thaw(state.cgroup["paths"] if state.cgroup is not None else {})
        raise Error("container not running")


def resume(root: str, container_id: str) -> None:
    """Thaw all processes. Raises Error."""
    _switch(root, container_id, ("paused",), "container not paused", freezer.thaw)


def _switch(
    root: str, container_id: str, statuses: tuple[str, ...], refusal: str, act: Callable[[Mapping[str, str]], None]
) -> State:
    # First without the lock, which create or start may hold for long: the status may already decide.
    state = load(root, container_id)
    _check(state.status(), statuses, refusal)
    lock_fd = lock(state.directory)
    try:
        with reported_as("cannot change the freezer of the container's cgroup"):
            state = load(root, container_id)
            _check(state.status(locked=True), statuses, refusal)
            act(state.cgroup["paths"] if state.cgroup is not None else {})
            return state
    finally:
        posix.close(lock_fd)


def _check(status: str, statuses: tuple[str, ...], refusal: str) -> None:
    if status not in statuses:
        raise Error(refusal, hint=f"it is {status}")
