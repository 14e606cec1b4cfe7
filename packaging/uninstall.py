"""Remove what install.py has installed below a prefix: all of it, and nothing else.

    python3 packaging/uninstall.py [--destdir DIR] PREFIX

Containers, images and boxes stay: they are in /run/ocipy and /var/lib/ocipy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path


def is_still_ours(path: Path, prefix: str) -> bool:
    """Whether an installed file has not been replaced by another installation or by the user."""
    if path.parent.name == "bin":
        return path.is_symlink() and os.readlink(path) == "../lib/ocipy/bin/ocipy"
    if path.suffix == ".conf":
        return path.is_file() and f'"{prefix}/bin/ocipy"' in path.read_text(errors="replace")
    return path.is_file()


def uninstall(prefix: Path, destination: str) -> None:
    """Remove it. Exits with a message if nothing is installed there."""
    environment = Path(f"{destination}{prefix}/lib/ocipy")
    for left in (environment.with_name(".ocipy.new"), environment.with_name(".ocipy.old")):
        shutil.rmtree(left, ignore_errors=True)  # of an interrupted `make install`
    record = environment / "installed.json"
    try:
        installed = json.loads(record.read_text())
        files, directories, owner = installed["files"], installed["directories"], installed["prefix"]
    except FileNotFoundError:
        print(f"nothing to remove: `make install` has installed nothing in {prefix}")
        return
    except (ValueError, KeyError, TypeError):
        sys.exit(f"uninstall: {record} is damaged: run `make install`, which writes it again, then `make uninstall`")
    for name in files:
        path = Path(f"{destination}{name}")
        if is_still_ours(path, owner):
            path.unlink()
        elif path.exists() or path.is_symlink():
            print(f"kept: {name}, which something else has replaced")
    shutil.rmtree(environment)
    for name in sorted(directories, key=len, reverse=True):
        try:
            Path(f"{destination}{name}").rmdir()
        except OSError:
            continue  # it contains other files
    print(f"removed from {prefix}: the command, its environment, man pages, documents and completion")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--destdir", default="", help="as for install.py")
    parser.add_argument("prefix", type=Path)
    arguments = parser.parse_args()
    prefix = arguments.prefix if arguments.destdir else Path(os.path.realpath(arguments.prefix))
    try:
        uninstall(prefix, os.path.abspath(arguments.destdir) if arguments.destdir else "")
    except OSError as error:
        sys.exit(f"uninstall: {error}")


if __name__ == "__main__":
    main()
