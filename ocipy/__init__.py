"""ocipy: an OCI container runtime. ARCHITECTURE.md describes the rooms of this package.

__all__ lists what a program may import, and docs/library.md documents it. Everything else is internal.
"""

from __future__ import annotations

from ocipy.version import SPEC_VERSION, VERSION

__version__ = VERSION

__all__ = (
    "SPEC_VERSION",
    "ConsoleSocket",
    "Container",
    "Error",
    "Finding",
    "Plan",
    "Process",
    "Runtime",
    "State",
    "Step",
    "TimeoutExpired",
    "__version__",
    "template",
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.template import template
    from ocipy.errors import Error
    from ocipy.library.process import Process
    from ocipy.library.records import Finding, Plan, State, Step, TimeoutExpired
    from ocipy.library.runtime import Container, Runtime
    from ocipy.library.sockets import ConsoleSocket


def __getattr__(name: str) -> object:
    """Import the other names of __all__ on first use (PEP 562): the executable never needs them."""
    if name in __all__:
        from ocipy import library

        return library.member(name)
    raise AttributeError(f"module 'ocipy' has no attribute {name!r}")
