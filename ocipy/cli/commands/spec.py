"""`ocipy spec`: write a starting config.json. Cold."""

from __future__ import annotations

import json
import os

from ocipy.cli.arguments import Arguments, Flag
from ocipy.config.template import rootless_template, template
from ocipy.errors import Error, reported_as

SUMMARY = "write a config.json to start from"
USAGE = "[FLAGS]"
FLAGS: tuple[Flag, ...] = (
    Flag("bundle", "text", "the directory to write it to", aliases=("b",), metavar="DIR", default="."),
    Flag("rootless", "switch", "write one for a container without root's rights"),
)


def run(arguments: Arguments) -> int:
    """Write the file. Prints nothing."""
    arguments.expect()
    write(arguments.text("bundle"), rootless=arguments.switch("rootless"))
    return 0


def write(bundle: str, *, rootless: bool = False) -> None:
    """Write config.json into the directory bundle. Raises Error if it exists or cannot be written."""
    config = rootless_template(os.geteuid(), os.getegid()) if rootless else template()
    path = os.path.join(bundle, "config.json")
    with reported_as("cannot be written", pointer=path):
        try:
            with open(path, "x", encoding="utf-8") as file:
                file.write(json.dumps(config, indent=4) + "\n")
        except FileExistsError:
            raise Error("already exists; remove it first", pointer=path) from None
