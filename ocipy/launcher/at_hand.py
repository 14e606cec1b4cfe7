"""What a snapshot contains in addition to the hot modules: a completed start, the standard library, our cold modules.

A process that starts from it is asleep: as in the core phase, it finds no modules in files and has no streams and no
fork handlers. Code that needs all of Python wakes it (python.py), which takes 1.5 ms.
"""

from __future__ import annotations

import atexit
import io
import os
import stat
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder

TYPE_CHECKING = False  # not from typing, which would import an extension module before load() can refuse it
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

#: Extension modules that their importers can do without (we make no archives with shutil). A module that needs any
#: other extension module cannot be in a snapshot: a shared library is at a different address in each process.
EXPENDABLE = frozenset(("_bz2", "_json", "_lzma", "_typing"))

_finders: list[Any] = []
_fork_handlers: list[dict[str, Callable[[], object]]] = []
_awake = False
#: Whether the snapshot has all modules that load() was asked for. With a Python whose extension modules are files, such
#: as pyenv's, some are missing.
complete = True


class _NoLibraries:
    """A finder that finds what PathFinder finds, except extension modules, and remembers which it refused."""

    def __init__(self) -> None:
        self.refused: set[str] = set()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module (importlib.abc.MetaPathFinder)."""
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None and spec.origin.endswith(tuple(EXTENSION_SUFFIXES)):
            self.refused.add(name)
            raise ModuleNotFoundError(f"{name} cannot be in a snapshot", name=name)
        return spec


def load(modules: Iterable[str], practise: Callable[[], None]) -> None:
    """Import the modules, practise, and go to sleep, in the process that makes the snapshot."""
    register = os.register_at_fork
    os.register_at_fork = lambda **handlers: _fork_handlers.append(handlers)
    try:
        for name in modules:
            _try(name)
    finally:
        os.register_at_fork = register
    practise()
    _sleep()


def _try(module: str) -> None:
    """Import a module. If it cannot be in a snapshot, remove it again, with everything that it imported."""
    global complete
    before = set(sys.modules)
    finder = _NoLibraries()
    sys.meta_path.insert(0, finder)
    try:
        __import__(module)
    except ImportError:
        finder.refused.add(module)
    finally:
        sys.meta_path.remove(finder)
    if finder.refused <= EXPENDABLE:
        return
    complete = False
    for name in sys.modules.keys() - before:
        package, _, tail = name.rpartition(".")
        del sys.modules[name]
        if package in before and hasattr(sys.modules[package], tail):
            delattr(sys.modules[package], tail)


def _sleep() -> None:
    _finders[:] = [finder for finder in sys.meta_path if finder is PathFinder]
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not PathFinder]
    sys.path_importer_cache.clear()
    sys._clear_type_cache()
    for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"):
        setattr(sys, name, None)


def wake() -> None:
    """Give this process what a normal start of Python would have: streams, fork handlers, and imports from files."""
    global _awake
    _awake = True
    sys.meta_path += _finders
    for handlers in _fork_handlers:
        handlers.get("after_in_child", int)()  # to the process that went to sleep, this one is a forked child
        os.register_at_fork(**handlers)
    for name, stream in (
        ("stdin", _stream(0, "<stdin>", "r", "surrogateescape")),
        ("stdout", _stream(1, "<stdout>", "w", "surrogateescape")),
        ("stderr", _stream(2, "<stderr>", "w", "backslashreplace")),
    ):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _stream(fd: int, name: str, mode: str, errors: str) -> io.TextIOWrapper | None:
    """A standard stream like those that Python makes; None if the descriptor is closed."""
    try:
        about = os.fstat(fd)
        buffer = open(fd, mode + "b", closefd=False)
    except OSError:
        return None
    buffer.raw.name = name  # type: ignore[attr-defined]
    by_line = fd == 2 or (stat.S_ISCHR(about.st_mode) and os.isatty(fd))
    stream = io.TextIOWrapper(buffer, "utf-8", errors, newline="\n", line_buffering=by_line)
    stream.mode = mode  # type: ignore[misc]
    return stream


def finish() -> bool:
    """Run exit handlers and flush the streams, as Python would at its end.

    Returns False if Python itself must do so. Raises OSError if a stream cannot be flushed."""
    threading = sys.modules.get("threading")
    if not _awake or (threading is not None and threading.active_count() > 1):
        return False
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()
    return True
