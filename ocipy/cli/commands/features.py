"""`ocipy features`: print what this runtime supports (spec: features.md). Cold."""

from __future__ import annotations

import json

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.output import write_stdout
from ocipy.operations.features import features

SUMMARY = "print what this runtime supports, as JSON"
USAGE = ""
FLAGS: tuple[Flag, ...] = ()


def run(arguments: Arguments) -> int:
    """Print the document."""
    arguments.expect()
    write_stdout(json.dumps(features(), indent=2) + "\n")
    return 0
