"""The runtime for programs: what `import ocipy` offers (docs/library.md). Cold.

Calls that only read (state, list, plan, validate, features) run in the caller's process. The executable makes and
changes containers: the init process is a fork of the process that clones it, which must be sealed (CVE-2019-5736), with
one thread and only the right descriptors. The caller's process is not like that.
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
    """The object that a public name stands for."""
    found: object = getattr(importlib.import_module(PLACES[name]), name)
    return found
