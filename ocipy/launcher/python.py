"""Completing Python's start: from the core phase, in which the hot commands run, to all of Python.

See start.h and at_hand.py. Under an ordinary interpreter (the tests, `python -m ocipy`) there is nothing to complete.
"""

from __future__ import annotations

import sys


def complete_start() -> None:
    """Make the standard library and our cold modules importable. Never call it once the root may be a container's."""
    start = sys.modules.get("ocipy.launcher._start")
    if start is None or not start.complete():
        return
    at_hand = sys.modules.get("ocipy.launcher.at_hand")
    if at_hand is None:
        _find_from_files(start.packages)
    else:
        at_hand.wake()
    sys.argv = start.argv


def _find_from_files(packages: str) -> None:
    """Give the modules that were loaded frozen the place of their files, so that the packages' others are found."""
    from importlib.machinery import PathFinder

    for name in sorted(name for name in sys.modules if name == "ocipy" or name.startswith("ocipy.")):
        module = sys.modules[name]
        parent = name.rpartition(".")[0]
        spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else [packages])
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            continue  # a built-in one
        module.__spec__ = spec
        module.__loader__ = spec.loader
        module.__file__ = spec.origin
        if spec.submodule_search_locations is not None:
            module.__path__ = spec.submodule_search_locations
