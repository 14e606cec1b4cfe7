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
    """How far the container's life has come."""
    pid: Annotated[int, Range(0), RequiredUnless("status", ("creating", "stopped"))]
    """The process id of its first process, as the reader's side sees it."""
    bundle: Required[str]
    """The absolute path of the bundle."""
    annotations: dict[str, str]
    """Those of config.json."""
    rootfs: str
    """The absolute path of the root filesystem; an addition of ocipy's, as are those below."""
    created: str
    """The time of creation: RFC 3339."""
    owner: str
    """The name of the user who created it; may be empty."""
