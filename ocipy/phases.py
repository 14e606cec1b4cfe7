"""The phases of a command, for --trace. The code of a phase names it::

    with phase("plan"):
        plan = build(config, host, options)

Hot: without --trace, a phase costs one call and two empty methods.
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


# When one of these phases ends, init has executed the payload, or otherwise reached the end of its lane.
START = "let init continue, until it has executed"
EXEC = "carry out the plan, until the process has executed"

UNTIMED = _Untimed()
_timers: list[Callable[[str], AbstractContextManager[None]]] = []


def phase(name: str) -> AbstractContextManager[None]:
    """A context manager for the block that makes up this phase."""
    return _timers[-1](name) if _timers else UNTIMED


def time_phases(timer: Callable[[str], AbstractContextManager[None]]) -> None:
    """Use timer(name) as the context manager of each phase from now on."""
    _timers.append(timer)


def is_timed() -> bool:
    """Whether phases, and therefore steps, are timed."""
    return bool(_timers)


def stop_timing() -> None:
    """Do not time the phases that follow."""
    _timers.clear()
