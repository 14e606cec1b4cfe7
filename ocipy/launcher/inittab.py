"""Write a table of built-in modules for a static libpython that cannot be linked with its own table.

    python inittab.py NM ARCHIVE FILE.c

One module of Debian's libpython3.13.a (_sha2), and five of its libpython3.14.a, refer to functions of the HACL* library
that no package ships. The linker takes from an archive only what something refers to, and only the table
(`_PyImport_Inittab`, CPython's Modules/config.c) refers to modules. This table leaves those modules out, so importing
one raises ImportError, as in a Python built without it. hashlib then uses OpenSSL's functions, or blake2.py's for
BLAKE2.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TABLE = "_PyImport_Inittab"
# Functions whose names are not made from their modules' (Modules/config.c.in).
NAMES = {"PyMarshal_Init": "marshal", "_PyWarnings_Init": "_warnings"}
# Python makes these before it looks at the table, which only lists them for sys.builtin_module_names.
WITHOUT_FUNCTION = ("builtins", "sys")
# Prefixes of Python's own symbols; HACL*'s are python_hashlib_… in 3.13, _Py_LibHacl_… in 3.14.
OWN = ("Py", "_Py", "python_")


class ArchiveMember:
    """An object file of the archive: the symbols that it defines, and those that it refers to."""

    def __init__(self) -> None:
        self.defined: set[str] = set()
        self.undefined: set[str] = set()


def read_symbols(listing: str) -> list[ArchiveMember]:
    """The members of an archive, from what `nm --extern-only --format=posix ARCHIVE` prints (nm in POSIX.1-2017)."""
    members: list[ArchiveMember] = []
    for line in listing.split("\n"):
        words = line.split(" ")
        if line.endswith(":") and len(words) == 1:
            members.append(ArchiveMember())
        elif len(words) >= 2 and members:
            wanted = members[-1].undefined if words[1] in "Uvw" else members[-1].defined
            wanted.add(words[0])
    return members


def choose(members: list[ArchiveMember]) -> dict[str, str]:
    """The functions that make built-in modules, by module, except those from a member with unresolved references."""
    everything = {name for member in members for name in member.defined}
    (table,) = (member for member in members if TABLE in member.defined)
    functions = {NAMES.get(name, name.removeprefix("PyInit_")): name for name in sorted(table.undefined)}
    broken = {
        name
        for member in members
        for name in member.defined
        if any(symbol.startswith(OWN) and symbol not in everything for symbol in member.undefined)
    }
    return {module: function for module, function in functions.items() if function not in broken}


def write(functions: dict[str, str]) -> str:
    """The table as C source."""
    lines = ["/* Written by ocipy/launcher/inittab.py. */", "#include <Python.h>", ""]
    lines += [f"PyObject *{function}(void);" for function in functions.values()]
    lines += ["", f"struct _inittab {TABLE}[] = {{"]
    lines += [f'    {{"{module}", {function}}},' for module, function in functions.items()]
    lines += [f'    {{"{module}", NULL}},' for module in WITHOUT_FUNCTION]
    lines += ["    {NULL, NULL},", "};", ""]
    return "\n".join(lines)


def main(nm: str, archive: str, file: str) -> None:
    """Write the table to the file. Meson runs this when it configures the build."""
    done = subprocess.run(
        [nm, "--extern-only", "--format=posix", archive], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    Path(file).write_text(write(choose(read_symbols(done.stdout.decode(errors="replace")))))


if __name__ == "__main__":
    main(*sys.argv[1:])
