"""The phases of a command, for --trace. The code that goes through a phase names it::

    with phase("plan"):
        plan = build(config, host, options)

Hot: without --trace a phase is one call and two empty methods.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


class _Untimed:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, _error: object, _traceback: object) -> None:
        pass


# When one of these phases ends, an init that executes its process is at the end of its lane.
START = "let init go on, until it has executed"
EXEC = "carry out the plan, until the process has executed"

UNTIMED = _Untimed()
_timers: list[Callable[[str], AbstractContextManager[None]]] = []


def phase(name: str) -> AbstractContextManager[None]:
    """A context manager for the block that is this phase."""
    return _timers[-1](name) if _timers else UNTIMED


def time_phases(timer: Callable[[str], AbstractContextManager[None]]) -> None:
    """From now on each phase is timer(name)."""
    _timers.append(timer)


def is_timed() -> bool:
    """Whether the phases, and so the steps, are timed."""
    return bool(_timers)


def stop_timing() -> None:
    """The phases that follow are not timed."""
    _timers.clear()
