"""`ocipy box …`: containers from images with one command. The code is in ocipy/box, on the public library. Cold."""

from __future__ import annotations

from ocipy.cli.arguments import Arguments, Flag

SUMMARY = "make and run boxes: containers from an image, with limits and a network"
USAGE = "COMMAND …"
FLAGS: tuple[Flag, ...] = ()
FLAGS_END_AT_ID = True


def help_text() -> str:
    """ocipy box --help, with the commands."""
    from ocipy.box.cli import parser

    return parser().format_help()


def run(arguments: Arguments) -> int:
    """Pass the words on unparsed."""
    from ocipy.box.cli import main

    return main(arguments.positional)
