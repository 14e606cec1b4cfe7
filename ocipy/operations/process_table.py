"""The lines of the host's ps(1) for a container's processes."""

from __future__ import annotations

import posix

from ocipy.errors import Error, caused_by
from ocipy.linux.files import read_file
from ocipy.linux.text import decode, lines_of, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def table(pids: Collection[int], options: Sequence[str]) -> str:
    """The output of `ps OPTIONS` for these processes, with its heading. Raises Error."""
    reader, writer = posix.pipe()
    streams = [
        (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
        (posix.POSIX_SPAWN_DUP2, writer, 1),
        (posix.POSIX_SPAWN_DUP2, writer, 2),
    ]
    try:
        pid = posix.posix_spawnp("ps", ["ps", *options], posix.environ, file_actions=streams)
    except OSError as error:
        posix.close(reader)
        raise caused_by(error, "cannot run ps", hint="it is in the package procps") from None
    finally:
        posix.close(writer)
    text = decode(read_file(reader))
    status = posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
    if status:
        raise Error(f"ps {' '.join(options)} ended with status {status}: {text.strip().partition(chr(10))[0]}")
    return chosen(text, pids)


def chosen(text: str, pids: Collection[int]) -> str:
    """The heading of ps's output, and the lines with one of these ids under PID. Raises Error if PID is missing."""
    heading, *lines = lines_of(text) or [""]
    try:
        column = words_of(heading).index("PID")
    except ValueError:
        raise Error("couldn't find PID field in ps output", hint="choose options that show the column PID") from None
    kept = [heading]
    for line in lines:
        fields = words_of(line)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            kept.append(line)
    return "\n".join(kept) + "\n"
