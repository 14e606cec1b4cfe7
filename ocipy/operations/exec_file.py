"""`exec --process FILE`: a separate process object, checked like that of a config.json."""

from __future__ import annotations

from ocipy.config.check import check_process, forget
from ocipy.config.semantic import nul_errors, process_errors
from ocipy.errors import Error
from ocipy.operations import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.check import Unknown
    from ocipy.config.types import Process


def read_process(path: str) -> Process:
    """The process object in a file or pipe, checked. Raises Error with the file and the pointer in it."""
    data = bundle.read_file_or_pipe(path, "the process object")
    process = bundle.parse(data, path)
    unknown: Unknown = []
    failure = check_process(process, unknown)
    if failure is not None:
        raise _error(path, [failure])
    forget(unknown)
    broken: list[tuple[str, str]] = []
    process_errors(process, broken, "")
    if b"\\u0000" in data:
        nul_errors(process, "", broken)
    if broken:
        raise _error(path, broken)
    return process  # type: ignore[no-any-return]


def _error(path: str, broken: list[tuple[str, str]]) -> Error:
    pointer, text = broken[0]
    others = len(broken) - 1
    return Error(f"{pointer}: {text}" if pointer else text, pointer=path, hint=f"and {others} more" if others else "")
