"""What a snapshot has besides the hot modules (launcher/at_hand.py): what commands import when they are called, and
what children are for. Each with all that it imports in turn."""

from __future__ import annotations

MODULES = (
    "ocipy.cli.commands.checkpoint",
    "ocipy.cli.commands.events",
    "ocipy.cli.commands.features",
    "ocipy.cli.commands.plan",
    "ocipy.cli.commands.restore",
    "ocipy.cli.commands.spec",
    "ocipy.cli.commands.validate",
    "ocipy.cli.help",
    "ocipy.host.rtnetlink",
    "ocipy.tracing.format",
    "traceback",
)
