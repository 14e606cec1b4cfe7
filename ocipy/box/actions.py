"""The commands of `ocipy box`, thin wrappers around Boxes and Box. Each returns the exit status, or raises Error."""

from __future__ import annotations

import argparse
import errno
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from ocipy import Error
from ocipy.box.box import Box
from ocipy.box.boxes import Boxes
from ocipy.box.flags import make_environment, make_request
from ocipy.box.oom import KILLED
from ocipy.box.request import ExecRequest
from ocipy.box.sizes import shown_size
from ocipy.box.status import OutOfMemory
from ocipy.errors import printable, reported_as

INTERVAL = 1.0
CLEAR = "\x1b[H\x1b[2J"


def show(text: str, end: str = "\n") -> None:
    """Print and flush. Raises Error, or BrokenPipeError if nobody reads the output any more."""
    try:
        with reported_as("cannot write to standard output"):
            print(text, end=end, flush=True)
    except Error as error:
        if error.errno == errno.EPIPE:
            raise BrokenPipeError from None
        raise


def run(boxes: Boxes, given: argparse.Namespace) -> int:
    """Create a box and run it."""
    if given.dry_run:
        return show_plan_of_request(boxes, given, detach=given.detach)
    request = make_request(given)
    box = boxes.create(request, name=given.name, pull=given.pull, remove=given.rm)
    try:
        status = 0 if given.detach else box.run()
        if given.detach:
            box.start()
    except BaseException as error:
        # Do not keep a box that could not run: the user will correct the command and reuse the name.
        if given.rm or isinstance(error, Error):
            box.remove(force=True)
        raise
    if given.detach:
        show_new(box)
    if box.record.oom_kills:
        killed = "was killed" if status == KILLED else f"the kernel killed {box.record.oom_kills} of its processes"
        raise OutOfMemory(
            f"box {box.record.name} ran out of memory, and {killed}",
            hint=f"raise --memory: the limit is {shown_size(request.limits.memory or 0)}",
            status=status,
        )
    return status


def show_new(box: Box) -> None:
    """Print the id of a new box. If that fails, remove the box, since the caller does not know its id. Raises Error."""
    try:
        show(box.id)
    except Error:
        box.remove(force=True)
        raise


def create(boxes: Boxes, given: argparse.Namespace) -> int:
    """Create a box."""
    if given.dry_run:
        return show_plan_of_request(boxes, given, detach=True)
    box = boxes.create(make_request(given), name=given.name, pull=given.pull, remove=given.rm)
    show_new(box)
    return 0


def show_plan_of_request(boxes: Boxes, given: argparse.Namespace, *, detach: bool) -> int:
    """Print what run or create would do."""
    from ocipy.box import dry_run

    show(dry_run.of_request(boxes, make_request(given), given.name, detach=detach))
    return 0


def ps(boxes: Boxes, given: argparse.Namespace) -> int:
    """List boxes."""
    rows = [("ID", "NAME", "IMAGE", "STATUS", "COMMAND")]
    found, problems = boxes.listed()
    for box in found:
        if given.all or box.is_running():
            if given.quiet:
                show(box.id)
                continue
            rows.append(
                (
                    box.id,
                    box.record.name,
                    box.record.image_name,
                    shown_status(box),
                    " ".join(box.record.request.command),
                )
            )
    if not given.quiet:
        show(table(rows))
    tell(given, problems.values())
    return 0


def tell(given: argparse.Namespace, problems: Iterable[Error]) -> None:
    """Report errors that do not stop the command, in the form of those that do."""
    for error in problems:
        print(f"ocipy: box {given.called}: {error.line}\n{error.advice}", end="", file=sys.stderr)


def shown_status(box: Box) -> str:
    """The status as `ps` shows it, with the exit status and whether the box ran out of memory."""
    status = box.status()
    if status == "exited" and box.record.exit_status is not None:
        return f"exited ({box.record.exit_status})" + (", out of memory" if box.record.oom_kills else "")
    return status


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in aligned columns; the first row is the heading. Cells may come from an image, or contain newlines."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def each(given: argparse.Namespace, names: Sequence[str], action: Callable[[str], object]) -> int:
    """Call action for each name, and print its answer, or the name. Continue after an error, but then return 1."""
    status = 0
    for name in names:
        try:
            answer = action(name)
            show(name if answer is None else str(answer))
        except Error as error:
            tell(given, [error])
            status = 1
    return status


def start(boxes: Boxes, given: argparse.Namespace) -> int:
    """Start boxes."""

    def begin(name: str) -> str | None:
        box = boxes.find(name)
        if given.dry_run:
            box.check_idle()
        return start_or_show(boxes, box, given)

    return each(given, given.boxes, begin)


def start_or_show(boxes: Boxes, box: Box, given: argparse.Namespace) -> str | None:
    """Start a box; with --dry-run, return what that would do."""
    if given.dry_run:
        from ocipy.box import dry_run

        return dry_run.of_start(boxes, box)
    box.start()
    return None


def restart(boxes: Boxes, given: argparse.Namespace) -> int:
    """Stop and start boxes."""

    def again(name: str) -> str | None:
        box = boxes.find(name)
        if not given.dry_run:
            box.stop(given.time)
        return start_or_show(boxes, box, given)

    return each(given, given.boxes, again)


def stop(boxes: Boxes, given: argparse.Namespace) -> int:
    """Stop boxes."""
    return each(given, given.boxes, lambda name: boxes.find(name).stop(given.time))


def kill(boxes: Boxes, given: argparse.Namespace) -> int:
    """Send a signal."""
    return each(given, given.boxes, lambda name: boxes.find(name).kill(given.signal))


def wait(boxes: Boxes, given: argparse.Namespace) -> int:
    """Wait until boxes end."""
    return each(given, given.boxes, lambda name: boxes.find(name).wait())


def rm(boxes: Boxes, given: argparse.Namespace) -> int:
    """Remove boxes."""
    boxes.sweep()

    def remove(name: str) -> None:
        if not (given.force and boxes.remove_unreadable(name)):
            boxes.find(name).remove(force=given.force)

    return each(given, given.boxes, remove)


def execute(boxes: Boxes, given: argparse.Namespace) -> int:
    """Run another command."""
    if not given.command:
        raise Error("no command was given", hint="give one after the name of the box", status=2)
    if given.workdir and not given.workdir.startswith("/"):
        raise Error(f"--workdir takes an absolute path in the box, not {given.workdir!r}", status=2)
    request = ExecRequest(
        command=tuple(given.command),
        environment=make_environment(given.env),
        cwd=given.workdir,
        user=given.user,
        terminal=given.tty,
        interactive=given.interactive,
        detach=given.detach,
    )
    box = boxes.find(given.box)
    if given.dry_run:
        show(str(box.plan_exec(request)), end="")
        return 0
    return box.exec(request)


def logs(boxes: Boxes, given: argparse.Namespace) -> int:
    """Print the log."""
    for line in boxes.find(given.box).logs(follow=given.follow):
        stream = sys.stderr.buffer if line.stream == "stderr" else sys.stdout.buffer
        stream.write(line.text)
        stream.flush()
    return 0


def images(boxes: Boxes, given: argparse.Namespace) -> int:
    """List images."""
    rows = [("NAME", "DIGEST", "SIZE", "MADE")]
    found, problems = boxes.images.listed()
    for image in found:
        made = image.created.astimezone().strftime("%Y-%m-%d %H:%M")
        rows.append((image.name or "-", image.digest[:19], shown_size(image.size), made))
    show(table(rows))
    tell(given, problems)
    return 0


def pull(boxes: Boxes, given: argparse.Namespace) -> int:
    """Fetch an image."""
    from ocipy.box.images import lookup

    show(lookup.get(boxes.images, given.image, pull=True).digest)
    return 0


def rmi(boxes: Boxes, given: argparse.Namespace) -> int:
    """Remove images."""
    from ocipy.box.images.reference import names_of

    def name_of(word: str) -> str:
        known = boxes.images.names()
        return next((name for name in names_of(word) if name in known), word)

    unwanted = [word for word in given.images if not given.force or boxes.images.knows(name_of(word))]
    return each(given, unwanted, lambda word: "\n".join(boxes.remove_image(name_of(word))))


def end(boxes: Boxes, given: argparse.Namespace) -> int:
    """Record that a box in the background has ended. conmon calls this."""
    from ocipy.box.monitor import exit_status

    box = boxes.find(given.box)
    with box.directory.locked():
        box.reload()
        box.ended(exit_status(box.directory))
    return 0


def watch(boxes: Boxes, given: argparse.Namespace) -> int:
    """Start a process that watches the memory of a box in the background."""
    from ocipy.box.oom import stay

    box = boxes.find(given.box)
    state = box.state()
    if state is None:
        raise Error(f"box {box.record.name} is not running")
    stay(box.cgroup(), state.pid, box.directory)
    return 0


def attach(boxes: Boxes, given: argparse.Namespace) -> int:
    """Connect to the streams of a box."""
    from ocipy.box.attach import attach as attach_to

    return attach_to(boxes.find(given.box))


def copy(boxes: Boxes, given: argparse.Namespace) -> int:
    """Copy files: either the source or the target is BOX:PATH."""
    from ocipy.box.copying import copy_in, copy_out
    from ocipy.box.files import at_root_of

    source_box, source = _place(given.source)
    target_box, target = _place(given.target)
    if bool(source_box) == bool(target_box):
        raise Error("exactly one of SOURCE and TARGET must be BOX:PATH; the other is a path on the host", status=2)
    box = boxes.find(source_box or target_box)

    def work(root: str) -> bytes:
        if source_box:
            copy_out(root, source, target, follow=given.follow_link)
        else:
            copy_in(source, root, target, follow=given.follow_link)
        return b""

    with reported_as(f"cannot copy {given.source} to {given.target}"):
        with box.files() as pid:
            at_root_of(pid, work, rootless=boxes.home.rootless)
    return 0


def _place(word: str) -> tuple[str, str]:
    """(box, path); the box is "" for a path on the host, which needs a / before any colon."""
    box, colon, path = word.partition(":")
    return (box, path or "/") if colon and "/" not in box and box not in (".", "..") else ("", word)


def diff(boxes: Boxes, given: argparse.Namespace) -> int:
    """List what a box has changed."""
    from ocipy.box.files import changes_of

    box = boxes.find(given.box)
    for kind, path in changes_of(box.directory, box.record, rootless=boxes.home.rootless):
        show(f"{kind} {printable(path)}")
    return 0


def inspect_boxes(boxes: Boxes, given: argparse.Namespace) -> int:
    """Show everything that is known about boxes."""
    from ocipy.box.inspect import as_text, inspect

    documents = [inspect(boxes.find(name)) for name in given.boxes]
    show(json.dumps(documents, indent=2) if given.format == "json" else "\n\n".join(map(as_text, documents)))
    return 0


def explain_box(boxes: Boxes, given: argparse.Namespace) -> int:
    """Explain what isolates a box."""
    from ocipy.box.explain import as_text, explain

    show(as_text(explain(boxes.find(given.box))))
    return 0


def stats(boxes: Boxes, given: argparse.Namespace) -> int:
    """Show what boxes use."""
    from ocipy.box.stats import rows, running

    if not given.boxes:
        tell(given, boxes.listed()[1].values())
    while True:
        text = table(rows(running(boxes, given.boxes), INTERVAL))
        show(CLEAR + text if sys.stdout.isatty() and not given.no_stream else text)
        if given.no_stream:
            return 0


def top(boxes: Boxes, given: argparse.Namespace) -> int:
    """Show the processes of a box."""
    box = boxes.find(given.boxes[0])
    while True:
        text = box.processes()
        show(CLEAR + text if sys.stdout.isatty() and not given.no_stream else text)
        if given.no_stream:
            return 0
        time.sleep(INTERVAL)
