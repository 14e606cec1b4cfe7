"""ocipy kill: send a signal to a container."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag
from ocipy.linux import signals
from ocipy.operations.kill import kill
from ocipy.state.state import load

SUMMARY = "send a signal to the container's process (default: TERM)"
USAGE = "[FLAGS] ID [SIGNAL]"
FLAGS: tuple[Flag, ...] = (
    Flag("all", "switch", "signal all processes of the container; no error if it is stopped", aliases=("a",)),
    Flag("regex", "switch", "treat ID as a regular expression: signal every container that it matches", aliases=("r",)),
)


def run(arguments: Arguments) -> int:
    """Send the signal, given as NAME, SIGNAME or number."""
    words = arguments.expect("the container's ID", "the signal", optional=1)
    # An empty word counts as absent, as in runc: scripts pass "$SIGNAL" on.
    signal = signals.number((words[1] if len(words) > 1 else "") or "TERM")
    root, everyone = arguments.root, arguments.switch("all")
    if arguments.switch("regex"):
        from ocipy.operations.several import for_each

        for_each(root, words[0], lambda name: kill(load(root, name), signal, everyone))
    else:
        kill(load(root, words[0]), signal, everyone)
    return 0
