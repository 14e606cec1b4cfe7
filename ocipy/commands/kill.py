"""ocipy kill: send a signal to a container."""

from __future__ import annotations

from ocipy.cli import Arguments, Flag
from ocipy.container.lifecycle import kill
from ocipy.container.state import load
from ocipy.linux import signals

SUMMARY = "send a signal to the container's process (default: TERM)"
USAGE = "[FLAGS] ID [SIGNAL]"
FLAGS: tuple[Flag, ...] = (
    Flag("all", "switch", "to all processes of the container, and no error if it is stopped", aliases=("a",)),
)


def run(arguments: Arguments) -> int:
    """Send the signal, given by name, SIG-name or number."""
    words = arguments.expect("the container's ID", "the signal", optional=1)
    signal = signals.number(words[1] if len(words) > 1 else "TERM")
    kill(load(arguments.root, words[0]), signal, arguments.switch("all"))
    return 0
