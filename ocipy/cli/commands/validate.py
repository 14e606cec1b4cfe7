"""`ocipy validate [BUNDLE]`: print every finding in a bundle. Cold."""

from __future__ import annotations

import json

from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.options import config_path
from ocipy.cli.output import write_stdout
from ocipy.operations.validate import ERROR, validate

SUMMARY = "list everything that is wrong in a bundle"
USAGE = "[FLAGS] [BUNDLE]"
FLAGS: tuple[Flag, ...] = (
    Flag("config", "text", "use this file instead of the bundle's config.json", aliases=("f",), metavar="FILE"),
    Flag("format", "text", "how to print it", metavar="text|json", default="text"),
)


def run(arguments: Arguments) -> int:
    """Print the findings, one per line or as one JSON array. Returns 1 if one of them is an error."""
    output_format = arguments.text("format")
    given = arguments.expect("the bundle", optional=1)
    found = validate(given[0] if given else ".", config_path(arguments.text("config")))
    if output_format == "json":
        write_stdout(json.dumps([finding._asdict() for finding in found], indent=2) + "\n")
    else:
        write_stdout("".join(str(finding).replace("\n", " ") + "\n" for finding in found))
    return 1 if any(finding.severity == ERROR for finding in found) else 0
