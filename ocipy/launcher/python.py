"""Complete Python's start: from the core phase, in which the hot commands run, to all of Python.

See start.h and at_hand.py. Under an ordinary interpreter (the tests, `python -m ocipy`) there is nothing to complete.
"""

from __future__ import annotations

import sys

from ocipy.errors import Error

SEALED = "create, run, exec, restore"
"""The commands that seal the executable (launcher.c), with an overlay or a copy in memory."""


def is_at_hand() -> bool:
    """Whether this process started from a snapshot that has all modules of QUIET commands and of --help."""
    at_hand = sys.modules.get("ocipy.launcher.at_hand")
    return at_hand is not None and at_hand.complete


def complete_start() -> None:
    """Make the standard library and our cold modules importable. Never call it once the root may be a container's.

    Raises Error if the standard library is gone, or this user cannot read it."""
    start = sys.modules.get("ocipy.launcher._start")
    at_hand = sys.modules.get("ocipy.launcher.at_hand")
    if at_hand is None:
        expect_python()
    if start is None or not start.complete():
        return
    if at_hand is None:
        _find_from_files(start.packages)
    else:
        at_hand.wake()
    sys.argv = start.argv
    if "_blake2" not in sys.builtin_module_names:
        from ocipy.launcher import blake2

        blake2.stand_in()


def expect_python() -> None:
    """Raise Error if the Python that the executable was built for is gone, or this user cannot read it (stdlib.c)."""
    start = sys.modules.get("ocipy.launcher._start")
    if start is None:
        return
    fault = start.python_fault()
    if fault is not None:
        raise Error(fault[0], hint=fault[1])


def standard_library() -> str:
    """The standard library's directory, of the Python that the executable was built for."""
    start = sys.modules.get("ocipy.launcher._start")
    return str(start.stdlib) if start else sys._stdlib_dir  # type: ignore[attr-defined]


def how_it_starts() -> str:
    """`snapshot`, or `slow` with the reason."""
    start = sys.modules.get("ocipy.launcher._start")
    if start is None:
        return "slow (run by an ordinary Python, without the executable)"
    slow = start.why_slow()
    if slow:
        return f"slow ({'; '.join(part for part in slow if part)})"
    obstacle = start.sealed_obstacle()
    return f"snapshot; {SEALED}: slow (no overlay can be mounted: {obstacle})" if obstacle else "snapshot"


def _find_from_files(packages: str) -> None:
    """Give each frozen module the path of its file, so that cold modules in the same packages are found."""
    from importlib.machinery import PathFinder

    for name in sorted(name for name in sys.modules if name == "ocipy" or name.startswith("ocipy.")):
        module = sys.modules[name]
        parent = name.rpartition(".")[0]
        spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else [packages])
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue  # a built-in module
        module.__spec__ = spec
        module.__loader__ = spec.loader
        module.__file__ = spec.origin
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
