"""--trace FILE: when each phase and each step of both lanes began and ended, as a Chrome trace (docs/performance.md).

Imported only where it is asked for, and nothing elsewhere asks at every step whether it is: the functions of PHASES are
replaced by ones that look at the clock before and after, and the lanes go through other iterables of the same steps.
The clock is CLOCK_MONOTONIC in both processes. Init writes its times into memory that it shares with the host's
process: no descriptor and no path leads to it, and its exec lets go of it. Whoever may have taken over init can write
nothing but numbers there.
"""

from __future__ import annotations

import posix
import sys
import time
from errno import ELOOP

from ocipy import log
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_TRUNC, O_WRONLY, S_IFMT, S_IFREG
from ocipy.plan.model import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from ocipy.host.context import HostRun
    from ocipy.plan.model import Step

# By module: the functions that are phases, as that module calls them, and what they are called in the trace.
PHASES = {
    "ocipy.cli.main": {"load_command": "import the command"},
    "ocipy.operations.bundle": {
        "read_document": "read config.json",
        "parse": "parse it",
        "check": "check it by the schema",
        "errors": "check the other rules",
    },
    "ocipy.operations.create": {
        "describe_host": "probe the host",
        "build": "plan",
        "make_directory": "make the state directory",
        "carry_out": "carry out the plan",
        "undo": "undo",
    },
    "ocipy.operations.exec": {
        "process_to_execute": "put the process together",
        "describe_host": "probe the host",
        "build": "plan",
        "carry_out": "carry out the plan, until the process has executed",
        "undo": "undo",
    },
    "ocipy.init.lane": {"load": "import the steps' modules"},
    "ocipy.operations.lifecycle": {
        "_let_go": "let init go on, until it has executed",
        "remove_cgroup": "remove the cgroup",
        "remove_directory": "remove the state directory",
        "run_poststop": "poststop hooks",
    },
    "ocipy.operations.foreground": {"_until_end": "wait for the end"},
    "ocipy.cli.commands.run": {"start": "start", "run_poststart": "poststart hooks", "delete_ended": "delete"},
    "ocipy.cli.commands.start": {"start": "start", "run_poststart": "poststart hooks"},
}
# An init that executes its process is at the end of its lane when one of these phases ends.
EXECUTED = ("let init go on, until it has executed", "carry out the plan, until the process has executed")

# Numbers of 64 bits for each step of the init lane in the shared memory.
BEGIN, END, DONE, SIZE = 0, 1, 2, 3

SECOND = 1_000_000_000
now = _kernel.monotonic_ns


class Trace:
    """One command's trace on its way.

    began: of the process, in ns of CLOCK_MONOTONIC; entered: of the command. events: (name, begin, end, arguments) of
    the phases. steps: (step, begin, end, done) of the host lane. times: what init writes, SIZE numbers a step.
    """

    __slots__ = ("began", "command", "entered", "events", "path", "run", "steps", "times")

    def __init__(self, path: str, command: str) -> None:
        self.path = path
        self.command = command
        self.entered = now()
        self.began = process_began(self.entered)
        self.events: list[tuple[str, int, int, dict[str, Any]]] = []
        self.steps: list[tuple[Step, int, int, bool]] = []
        self.run: HostRun | None = None
        self.times: memoryview | None = None

    def wrap_phases(self) -> None:
        """Replace the functions of PHASES in the modules that are loaded by now."""
        for module, functions in PHASES.items():
            if module in sys.modules:
                members = sys.modules[module].__dict__
                for name, phase in functions.items():
                    if not isinstance(members[name], _Phase):
                        members[name] = _Phase(self, phase, members[name])

    def host_lane(self, run: HostRun) -> Iterator[Step]:
        """The steps of the host lane. Maps the memory for those of init, which is not yet cloned."""
        self.run = run
        self.times = _kernel.shared_memory(8 * SIZE * max(1, len(run.plan.init))).cast("Q")
        for step in run.plan.host:
            begin = now()
            done = False
            # A step that fails ends the loop, and so closes this generator.
            try:
                yield step
                done = True
            finally:
                self.steps.append((step, begin, now(), done))

    def init_lane(self, steps: Sequence[Step]) -> Iterator[Step]:
        """The steps of the init lane, in the init process."""
        times = self.times
        assert times is not None
        at = 0
        for step in steps:
            times[at + BEGIN] = now()
            try:
                yield step
                times[at + DONE] = 1
            finally:
                times[at + END] = now()
            at += SIZE

    def finish(self, status: int) -> None:
        """Write the file. Raises Error."""
        end = now()
        from ocipy.launcher.python import complete_start

        complete_start()
        from ocipy.tracing.format import document, init_steps

        if self.path.endswith(".html"):
            from ocipy.picture.of_trace import page_of

            data = page_of(self, init_steps(self, end), status, end).encode("utf-8", "replace")
        else:
            data = _kernel.json_dumps(document(self, status, end)) + b"\n"
        try:
            write(self.path, data)
        except OSError as error:
            raise Error("cannot write the trace", pointer=self.path, errno=error.errno or 0) from None


class _Phase:
    """A function that is timed."""

    __slots__ = ("function", "name", "trace")

    def __init__(self, trace: Trace, name: str, function: Callable[..., Any]) -> None:
        self.trace = trace
        self.name = name
        self.function = function

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        begin = now()
        arguments: dict[str, Any] = {}
        try:
            result = self.function(*args, **keywords)
        except Exception as error:
            arguments["error"] = str(error)
            raise
        finally:
            self.trace.events.append((self.name, begin, now(), arguments))
        if isinstance(result, Plan):
            result.onlooker = self.trace
        # What it has imported may have phases of its own.
        self.trace.wrap_phases()
        return result


_running: list[Trace] = []


def begin(path: str, command: str) -> None:
    """Begin to trace. The file is opened and left empty, so that nothing is done where it cannot be. Raises Error."""
    if not path.startswith("/"):
        path = posix.getcwd() + "/" + path
    try:
        write(path, b"")
    except OSError as error:
        hint = "symbolic links are not followed" if error.errno == ELOOP else ""
        raise Error("cannot write the trace", pointer=path, errno=error.errno or 0, hint=hint) from None
    trace = Trace(path, command)
    _running.append(trace)
    trace.wrap_phases()


def end(status: int) -> None:
    """Write the trace, if one was begun. What fails is only told: the command is done."""
    while _running:
        try:
            _running.pop().finish(status)
        except Error as error:
            log.write_stderr(f"ocipy: {error.line}\n")


def write(path: str, data: bytes) -> None:
    """Write a regular file, of the caller's alone if it is new. Raises OSError, Error."""
    # By its name each time: a descriptor kept open could be taken for one of those that are the payload's.
    fd = posix.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
    try:
        if posix.fstat(fd).st_mode & S_IFMT != S_IFREG:
            raise Error("the trace is no regular file", pointer=path)
        while data:
            data = data[posix.write(fd, data) :]
    finally:
        posix.close(fd)


def process_began(moment: int) -> int:
    """When this process began, in ns of CLOCK_MONOTONIC; moment: now.

    The kernel tells it in ticks of 10 ms (proc(5), field 22 of stat). Within a tick the time on and for a processor
    tells more: until here a process waits for hardly anything else.
    """
    from ocipy.linux.files import read_file
    from ocipy.linux.text import words_of
    from ocipy.state.state import process_start

    tick = SECOND // posix.sysconf("SC_CLK_TCK")
    # The field counts from boot, time in suspend included.
    asleep = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now()
    least = process_start(posix.getpid()) * tick - asleep
    try:
        used = sum(map(int, words_of(read_file("/proc/self/schedstat"))[:2]))
    except (OSError, ValueError):  # a kernel without CONFIG_SCHED_INFO
        used = time.process_time_ns()
    return max(least, min(moment - used, least + tick))
