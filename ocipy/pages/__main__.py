"""python -m ocipy.pages SHARE [DOCS]: writes the pages below PREFIX/share, where man and the shells look for them.

DOCS: the sources' docs directory; the man pages take their descriptions from it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ocipy.pages import bash, fish, man, zsh
from ocipy.pages.markdown import Section, sections
from ocipy.pages.table import table

# The later document describes a command in more detail.
DOCUMENTS = ("commands.md", "features.md")


def pages(docs: Path | None) -> dict[str, str]:
    """The text of each file by its path below share."""
    commands = table()
    documented: dict[str, Section] = {}
    if docs is not None:
        for name in DOCUMENTS:
            documented |= sections((docs / name).read_text(encoding="utf-8"), [command.name for command in commands])
    return {
        **{f"man/man1/{name}": text for name, text in man.pages(commands, documented).items()},
        "bash-completion/completions/ocipy": bash.completion(commands),
        "zsh/site-functions/_ocipy": zsh.completion(commands),
        "fish/vendor_completions.d/ocipy.fish": fish.completion(commands),
    }


def main(share: Path, docs: Path | None) -> None:
    """Write all pages."""
    for name, text in pages(docs).items():
        path = share / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
