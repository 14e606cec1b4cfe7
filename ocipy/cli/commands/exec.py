"""ocipy exec: run another process in a container."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag, UsageError
from ocipy.cli.options import claim_descriptors
from ocipy.errors import Error, place_of, refused
from ocipy.linux.files import unlink
from ocipy.operations import foreground
from ocipy.operations.exec import execute, undo
from ocipy.plan.exec_process import Changes

SUMMARY = "run a process in a running container"
USAGE = "[FLAGS] ID COMMAND [ARGUMENT…]"
FLAGS: tuple[Flag, ...] = (
    Flag(
        "process",
        "text",
        "file with a process object, to use instead of the one in config.json",
        aliases=("p",),
        metavar="FILE",
    ),
    Flag("tty", "switch", "give it a terminal", aliases=("t",)),
    Flag("detach", "switch", "do not wait until it ends", aliases=("d",)),
    Flag(
        "stay",
        "switch",
        "with --detach: wait until it ends; --error-fd closes when it begins",
        hidden=True,
    ),
    Flag("console-socket", "text", "socket to send the terminal's master to", metavar="PATH"),
    Flag("pidfd-socket", "text", "socket to send a pidfd of the process to", metavar="PATH"),
    Flag("pid-file", "text", "file to write the pid to", metavar="FILE"),
    Flag("cwd", "text", "its working directory", metavar="DIR"),
    Flag("env", "list", "an additional variable", aliases=("e",), metavar="NAME=VALUE"),
    Flag("user", "text", "its user and group, as numbers", aliases=("u",), metavar="UID[:GID]"),
    Flag("additional-gids", "list", "an additional group", aliases=("g",), metavar="GID"),
    Flag("cap", "list", "an additional capability", aliases=("c",), metavar="CAP_NAME"),
    Flag("no-new-privs", "switch", "set no_new_privs"),
    Flag("preserve-fds", "number", "pass N more descriptors to the process", metavar="N"),
    Flag("cgroup", "list", "put it into an existing cgroup below the container's", metavar="[CONTROLLER:]PATH"),
    Flag("apparmor", "text", "its AppArmor profile", metavar="PROFILE"),
    Flag("process-label", "text", "its SELinux label", metavar="LABEL"),
    Flag("ignore-paused", "switch", "start it even if the container is paused: it runs once the container is resumed"),
)
FLAGS_END_AT_ID = True
# The exit status of exec's own failures, as in runc, so that it does not look like the process's.
FAILED = 255


def run(arguments: Arguments) -> int:
    """Returns the exit status of the process, 128 + the signal that killed it; 0 once a detached one has executed."""
    if not arguments.positional:
        raise UsageError("the container's ID is missing")
    try:
        return _run(arguments)
    except Error as error:
        if error.status == 1:
            error.status = FAILED
        raise
    except OSError as problem:
        file = problem.filename if isinstance(problem.filename, str) else ""
        raise refused(problem, place_of(problem.__traceback__), file, status=FAILED) from None


def _run(arguments: Arguments) -> int:
    words = arguments.positional
    if arguments.text("pid-file"):
        from ocipy.host.pid_file import check_pid_file

        check_pid_file(arguments.text("pid-file"))
        # An engine takes any pid file for success, even an old one.
        unlink(arguments.text("pid-file"))
    changes = Changes(
        args=words[1:],
        cwd=arguments.text("cwd"),
        env=arguments.texts("env"),
        user=arguments.text("user"),
        additional_gids=arguments.texts("additional-gids"),
        capabilities=arguments.texts("cap"),
        no_new_privileges=arguments.switch("no-new-privs") if "no-new-privs" in arguments.given else None,
        apparmor=arguments.text("apparmor"),
        label=arguments.text("process-label"),
        terminal=arguments.switch("tty"),
    )
    detach = arguments.switch("detach")
    claim_descriptors(0, arguments.number("preserve-fds"))
    stay = arguments.switch("stay")
    waiter = foreground.prepare("" if stay else arguments.text("console-socket"), detach and not stay, subreaper=False)
    started = execute(
        arguments.root,
        words[0],
        changes,
        process_file=arguments.text("process"),
        cgroups=arguments.texts("cgroup"),
        console_socket=arguments.text("console-socket"),
        detach=detach,
        ignore_paused=arguments.switch("ignore-paused"),
        pid_file=arguments.text("pid-file"),
        pidfd_socket=arguments.text("pidfd-socket"),
        preserve_fds=arguments.number("preserve-fds"),
        rootless=arguments.rootless,
    )
    if waiter is None:
        return 0
    if stay:
        arguments.end_telling()
    try:
        return waiter.wait(started.pid, started.pidfd, started.master)
    except BaseException:
        # Nobody would learn how the process ends.
        undo(started)
        raise
