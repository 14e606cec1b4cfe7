"""Commands for several containers: all in the root directory, or those that crun's --regex matches."""

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
    """Call act with each matching id, in order. As in crun, a failure is only a warning, and no match is not an error.

    Raises Error for an invalid expression.
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
    """The ids of the containers in the root directory, sorted. Raises OSError."""
    # Not every entry is a container, and one that is being made or deleted may be gone.
    names = posix.listdir(root)
    return sorted(name for name in names if ID_CHARACTERS.issuperset(name) and exists(f"{root}/{name}/{STATE}"))
