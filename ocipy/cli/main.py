"""The command line: finds the command for argv and turns errors into an exit status. arguments.py parses.

A command is a module of ocipy.cli.commands with a SUMMARY, a USAGE, FLAGS and `run(arguments)`, which returns the exit
status or raises Error. If it has FLAGS_END_AT_ID, words after the ID are not parsed: they belong to another program.
"""

from __future__ import annotations

import posix
import sys

from ocipy import log
from ocipy.cli.arguments import GLOBALS, HELP, Arguments, Flag, UnknownFlag, UsageError, parse
from ocipy.cli.output import write_stdout
from ocipy.cli.table import COLD, HOT, IMAGES, QUIET, load_command
from ocipy.errors import LONGEST_PLACE, Error, place_of, printable, refused, shortened
from ocipy.launcher.python import is_at_hand
from ocipy.linux import _kernel
from ocipy.linux.files import hold_streams
from ocipy.phases import phase
from ocipy.version import SPEC_VERSION, VERSION


def main(argv: list[str]) -> int:
    """Run one command; argv[0] is the program. Returns the exit status. Never raises."""
    arguments = Arguments()
    status = _main(argv, arguments)
    if arguments.values.get("trace"):
        from ocipy.tracing import trace

        trace.end(status)
    return status


def _main(argv: list[str], arguments: Arguments) -> int:
    command = ""
    try:
        command = _command(argv, arguments)
        if not command:
            return _version() if arguments.switch("version") else _help([])
        return _run_command(command, argv, arguments)
    except Error as error:
        return _report(command, arguments, error)
    except OSError as problem:
        file = problem.filename if isinstance(problem.filename, str) else ""
        return _report(command, arguments, refused(problem, place_of(problem.__traceback__), file))
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        return _report(command, arguments, Error("out of memory"))
    except Exception as problem:
        if isinstance(problem, ImportError) and (gone := _gone()):
            return _report(command, arguments, gone)
        if arguments.values.get("debug"):
            _print_traceback(problem)
        what = f"internal error: {type(problem).__name__}: {problem}"
        return _report(command, arguments, Error(what, hint="a bug in ocipy: --debug shows where"))


def _gone() -> Error | None:
    """The Error for a failed import if its cause is that Python has been removed."""
    from ocipy.launcher.python import expect_python

    try:
        expect_python()
    except Error as error:
        return error
    return None


def _command(argv: list[str], arguments: Arguments) -> str:
    """Parse the globals. Returns the command, "" if there is none. Raises Error for an unknown command."""
    index = 1 + _parse(argv[1:], GLOBALS, arguments, stop_at_positional=True)
    log_format = arguments.text("log-format")
    log.configure(arguments.text("log"), log_format == "json", arguments.switch("debug"))
    arguments.check_words()
    del argv[1:index]
    if arguments.switch("version") or arguments.switch("help") or len(argv) < 2:
        return ""
    if argv[1] not in HOT and argv[1] not in COLD and argv[1] != "help":
        _prepare_help()
        from ocipy.cli.help import no_such_command

        raise no_such_command(argv[1])
    return argv[1]


def _run_command(command: str, argv: list[str], arguments: Arguments) -> int:
    if arguments.values["trace"]:
        from ocipy.tracing import trace

        trace.begin(arguments.text("trace"), command)
    # A container inherits the streams; for our own output a closed stream is an error.
    hold_streams(posix.O_RDWR if command in ("create", "run", "exec", "restore") else posix.O_RDONLY)
    if command == "help":
        words = argv[2:]
        return _help(["help"] if words[:1] in (["--help"], ["-h"]) else words)
    if command not in HOT and not (command in QUIET and is_at_hand()):
        _complete_start()
    with phase("import the command"):
        module = load_command(command)
    words = argv[2:]
    stop = hasattr(module, "FLAGS_END_AT_ID")
    arguments.positional += words[_parse(words, (*module.FLAGS, HELP), arguments, stop, command) :]
    if arguments.switch("help"):
        return _help([command])
    arguments.check_words()
    try:
        return module.run(arguments)
    except UsageError as error:
        error.hint = f"usage: ocipy {command} {module.USAGE}".rstrip()
        if command in ("create", "run") and len(arguments.positional) > 1:
            error.hint += f"\n{IMAGES}"
        raise


def _parse(
    words: list[str], flags: tuple[Flag, ...], arguments: Arguments, stop_at_positional: bool, command: str = ""
) -> int:
    """Like arguments.parse, but the error for an unknown flag suggests the one that was meant."""
    try:
        return parse(words, flags, arguments, stop_at_positional)
    except UnknownFlag as error:
        _prepare_help()
        from ocipy.cli.help import hint_for_flag

        error.hint = hint_for_flag(error.typed, error.known, command)
        raise


def _version() -> int:
    """Only the first line may contain the word "version": Docker takes the last one that does (daemon/info_unix.go)."""
    from ocipy.launcher.python import how_it_starts, standard_library

    python = f"{sys.version.partition(' ')[0]} ({standard_library()})"
    lines = (f"ocipy version {VERSION}", f"commit: v{VERSION}", f"spec: {SPEC_VERSION}", f"python: {python}")
    write_stdout("\n".join((*lines, f"start: {how_it_starts()}\n")))
    return 0


def _help(words: list[str]) -> int:
    _prepare_help()
    from ocipy.cli import help as help_text

    write_stdout(help_text.for_command(words[0]) if words else help_text.overview())
    return 0


def _prepare_help() -> None:
    if not is_at_hand():
        _complete_start()


def _complete_start() -> None:
    from ocipy.launcher.python import complete_start

    complete_start()


def _report(command: str, arguments: Arguments, error: Error) -> int:
    place = command
    if command and arguments.positional and arguments.positional[0]:
        place += " " + arguments.positional[0]
    line = f"{printable(shortened(place, LONGEST_PLACE))}: {error.line}" if place else error.line
    log.error(line)
    if not arguments.values.get("error-fd") or not _tell(arguments.number("error-fd"), error):
        log.write_stderr(f"ocipy: {line}\n{error.advice}")
    return error.status


def _tell(fd: int, error: Error) -> bool:
    """Send the error to the program that called us (ocipy/library/executable.py). Returns whether that worked."""
    try:
        posix.write(fd, _kernel.json_dumps(error.to_message()))
    except (OSError, OverflowError):
        return False
    return True


def _print_traceback(problem: Exception) -> None:
    _complete_start()
    import traceback

    log.write_stderr("".join(traceback.format_exception(problem)))
