"""conmon(8): stays with a box in the background, and keeps its output, exit status and terminal."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ocipy import Error
from ocipy.box import tools
from ocipy.box.orphans import ENDED
from ocipy.box.record import Directory, Record
from ocipy.box.runtime import executable_path


def words(directory: Directory, record: Record, runtime: Sequence[str]) -> list[str]:
    """conmon's command line. runtime: the first words of its calls of the runtime."""
    request = record.request
    made = [
        "conmon", "--api-version", "1", "--cid", record.id, "--cuuid", record.id, "--name", record.name,
        "--runtime", runtime[0], "--bundle", str(directory.bundle),
        "--container-pidfile", str(directory.bundle / "pid"), "--conmon-pidfile", str(directory.bundle / "conmon.pid"),
        "--exit-dir", str(directory.exit_file.parent), "--persist-dir", str(directory.bundle),
        "--log-path", f"k8s-file:{directory.log}", "--log-level", "error", "--full-attach",
    ]  # fmt: skip
    for word in runtime[1:]:
        made += ["--runtime-arg", word]
    made += ["--exit-command", executable_path()]
    for word in ("box", ENDED, record.id):
        made += ["--exit-command-arg", word]
    made += ["--terminal"] if request.terminal else []
    return made + (["--stdin", "--leave-stdin-open"] if request.interactive else [])


def begin(arguments: Sequence[str], bundle: Path, pass_fds: Sequence[int] = ()) -> int:
    """Have conmon create the box, which then waits to be started. Return its pid on the host. Raises the runtime's
    Error, or one in conmon's words.

    The runtime sends its error through a descriptor that conmon passes on, since conmon itself would report only one
    line of it. conmon runs in the bundle: when memory has run out, it creates a file there, and another in its working
    directory. Its option parser accepts only text that is valid in its locale (GOption).
    """
    reading, writing = os.pipe()
    told, telling = os.pipe()
    errors = ("--runtime-arg", "--error-fd", "--runtime-arg", str(telling))
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "_OCI_SYNCPIPE": str(writing)}
    for name in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME", "HOME", "DBUS_SESSION_BUS_ADDRESS"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if os.environ.get("OCIPY_BOX"):
        environment["OCIPY_BOX"] = os.path.abspath(os.environ["OCIPY_BOX"])  # a relative path starts at our directory
    try:
        process = tools.begin(
            (*arguments, *errors), "cannot run a box in the background", "run it without -d",
            cwd=bundle, env=environment, pass_fds=(writing, telling, *pass_fds),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except Error:
        for fd in (reading, writing, told, telling):
            os.close(fd)
        raise
    os.close(writing)
    os.close(telling)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.readline()
    process.wait()
    assert process.stdout is not None
    with process.stdout:
        words = b"" if said else process.stdout.read(4096)
    error = _error(told)
    if error is not None:
        raise error
    return _pid(said, words)


def _error(told: int) -> Error | None:
    """The error that the runtime has sent, if any. Closes the descriptor."""
    os.set_blocking(told, False)  # conmon may have the other end open, but nothing more will come
    with os.fdopen(told, "rb", buffering=0) as pipe:
        message = (pipe.read(1 << 16) or b"").strip()
    return Error.from_message(json.loads(message)) if message else None


def _pid(said: bytes, words: bytes) -> int:
    """The pid in conmon's answer: {"data": PID}, or a negative number and a message."""
    try:
        document = json.loads(said)
        pid = int(document.get("data", document.get("pid", -1)))
        message = str(document.get("message") or "")
    except (ValueError, TypeError, AttributeError):
        pid, message = -1, words.decode("utf-8", "replace")
    if pid > 0:
        return pid
    line = message.strip().split("\n")[0]
    raise Error(line or "conmon ended without an error message", hint="run it without -d to see more")


def exit_status(directory: Directory) -> int | None:
    """The exit status that conmon has written; None until then."""
    try:
        return int(directory.exit_file.read_bytes() or b"-1")
    except (OSError, ValueError):
        return None


class LogLine(NamedTuple):
    """time: as conmon writes it (RFC 3339). stream: "stdout" or "stderr". text: with its newline, if any."""

    time: str
    stream: str
    text: bytes


def log_lines(path: Path, offset: int = 0) -> Iterator[tuple[int, LogLine]]:
    """The lines of a log after an offset: (offset after the line, line). Leaves out an incomplete last line."""
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            time, _, rest = line.partition(b" ")
            stream, _, rest = rest.partition(b" ")
            tag, _, text = rest.partition(b" ")
            # Tag "P": the next record has the rest of the line.
            yield (
                offset,
                LogLine(
                    time.decode("ascii", "replace"),
                    stream.decode("ascii", "replace"),
                    text if tag == b"F" else text[:-1],
                ),
            )
