"""What `ocipy state` prints and hooks read (runtime.md, State)."""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.markers import Range, RequiredUnless
from ocipy.config.description.values import ContainerStatus


class State(TypedDict, total=False):
    """State of a container."""

    ociVersion: Required[str]
    """The version of the specification that the document follows."""
    id: Required[str]
    """The container's id."""
    status: Required[ContainerStatus]
    """The container's status."""
    pid: Annotated[int, Range(0), RequiredUnless("status", ("creating", "stopped"))]
    """The process id of its first process, in the reader's pid namespace."""
    bundle: Required[str]
    """The absolute path of the bundle."""
    annotations: dict[str, str]
    """The annotations of config.json."""
    rootfs: str
    """The absolute path of the root filesystem; an addition of ocipy, like the members below."""
    created: str
    """The time of creation: RFC 3339."""
    owner: str
    """The name of the user who created it; may be empty."""
