"""The runtime for programs: what `import ocipy` offers (docs/library.md). Cold.

What only looks (state, list, plan, validate, features) is done in the caller's process. What makes or changes a
container is done by the executable: the init process is a fork of whoever clones it, and has to be a sealed one
(CVE-2019-5736) with one thread and no more descriptors than it should have. The caller's is none of that.
"""

from __future__ import annotations

import importlib

PLACES = {
    "ConsoleSocket": "ocipy.library.sockets",
    "Container": "ocipy.library.runtime",
    "Error": "ocipy.errors",
    "Finding": "ocipy.library.records",
    "Plan": "ocipy.library.records",
    "Process": "ocipy.library.process",
    "Runtime": "ocipy.library.runtime",
    "State": "ocipy.library.records",
    "Step": "ocipy.library.records",
    "TimeoutExpired": "ocipy.library.records",
    "template": "ocipy.config.template",
}


def member(name: str) -> object:
    """The object of a public name."""
    found: object = getattr(importlib.import_module(PLACES[name]), name)
    return found
