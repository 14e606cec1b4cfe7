"""Commands for several containers: all below the root directory, or those of crun's --regex."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.errors import Error
from ocipy.linux.files import exists
from ocipy.state.directory import ID_CHARACTERS, STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def for_each(root: str, pattern: str, act: Callable[[str], None]) -> None:
    """Call act with the id of each, in order. As in crun what fails is a warning, and none at all is no error.

    Raises Error for an expression that is none.
    """
    from ocipy.launcher.python import complete_start

    complete_start()
    import re

    try:
        found = re.compile(pattern).search
    except re.error as error:
        raise Error(f"invalid regular expression {pattern!r}: {error}") from None
    try:
        names = container_ids(root)
    except FileNotFoundError:
        return
    for name in names:
        if found(name):
            try:
                act(name)
            except Error as error:
                log.warning(f"{name}: {error.line}")


def container_ids(root: str) -> list[str]:
    """The ids of the containers below the root directory, sorted. Raises OSError."""
    # Not everything here is a container, and one that is being made or deleted may not be one any more.
    names = posix.listdir(root)
    return sorted(name for name in names if ID_CHARACTERS.issuperset(name) and exists(f"{root}/{name}/{STATE}"))
