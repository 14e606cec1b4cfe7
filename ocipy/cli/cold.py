"""The modules in a snapshot in addition to the hot ones (launcher/at_hand.py): those that cold commands and children
import. Each imports what it needs."""

from __future__ import annotations

from ocipy.launcher import at_hand

MODULES = (
    "ocipy.box.cli",
    "ocipy.box.dry_run",
    "ocipy.box.monitor",
    "ocipy.box.network.bridge",
    "ocipy.cli.commands.checkpoint",
    "ocipy.cli.commands.events",
    "ocipy.cli.commands.features",
    "ocipy.cli.commands.plan",
    "ocipy.cli.commands.restore",
    "ocipy.cli.commands.setup",
    "ocipy.cli.commands.spec",
    "ocipy.cli.commands.validate",
    "ocipy.cli.help",
    "ocipy.cli.practice",
    "ocipy.cli.trial",
    "ocipy.host.rtnetlink",
    "ocipy.tracing.format",
    "difflib",  # errors.did_you_mean
    "shutil",
    "traceback",
)


def load() -> None:
    """Import and practise everything that a snapshot contains."""
    at_hand.load(MODULES, _practise)


def _practise() -> None:
    from ocipy.cli.practice import practise  # not earlier: it imports typing (at_hand.py)

    practise()
