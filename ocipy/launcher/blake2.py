"""BLAKE2 by OpenSSL, for a static libpython that is linked without its own (inittab.py).

hashlib can take every other function from OpenSSL, but it takes BLAKE2 only from the module _blake2. Without that
module, the first import of hashlib, random or tempfile prints a traceback. blake2.py takes its place. Cold.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

NAME = "_blake2"


def stand_in() -> None:
    """Make hashlib find this module as _blake2, unless Python has its own."""
    if NAME not in sys.builtin_module_names and PathFinder.find_spec(NAME) is None:
        sys.modules[NAME] = sys.modules[__name__]


def blake2b(data: bytes = b"", /, *, digest_size: int = 64, usedforsecurity: bool = True) -> _Hash:
    """Like hashlib.blake2b, but only with its default parameters: OpenSSL has no others. ValueError otherwise."""
    return _new("blake2b512", data, digest_size, 64, usedforsecurity)


def blake2s(data: bytes = b"", /, *, digest_size: int = 32, usedforsecurity: bool = True) -> _Hash:
    """Like hashlib.blake2s, with the same restriction."""
    return _new("blake2s256", data, digest_size, 32, usedforsecurity)


def _new(name: str, data: bytes, size: int, only: int, usedforsecurity: bool) -> _Hash:
    import _hashlib

    if size != only:
        raise ValueError(f"OpenSSL's {name} makes {only} bytes, not {size}")
    made: _Hash = _hashlib.new(name, data, usedforsecurity=usedforsecurity)
    return made
