"""What several concerns read from a config in the same way."""

from __future__ import annotations

from ocipy.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Process, User


def process_of(config: Config) -> Process:
    """process, without which a container cannot be started (config.md, Process). Raises Error."""
    process = config.get("process")
    if process is None:
        raise Error("there is no process to run", pointer="/process")
    return process


def user_of(config: Config) -> User:
    """process.user, empty where it is absent: then the ids are 0."""
    return process_of(config).get("user") or {}


def check_text(text: str, pointer: str) -> str:
    """The string itself, if the kernel can take it: no NUL in it, and representable in UTF-8. Raises Error."""
    if "\0" in text:
        raise Error("the string has a NUL byte in it", pointer=pointer)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Error("the string has half of a surrogate pair in it", pointer=pointer) from None
    return text
