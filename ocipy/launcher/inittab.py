"""Write the table of built-in modules for a static libpython that does not link with its own.

    python inittab.py NM ARCHIVE FILE.c

Debian's libpython3.13.a has one module (_sha2) and its libpython3.14.a five that refer to functions of Python's own,
of the HACL* library, which no package ships. The linker takes from an archive only what is referred to, and modules
by the table alone (`_PyImport_Inittab`, CPython's Modules/config.c). Linked with this table, which leaves
them out, their import is an ImportError, as on a Python that was built without: hashlib takes OpenSSL's functions, and
BLAKE2 from blake2.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TABLE = "_PyImport_Inittab"
# The functions that do not have the name of their module (Modules/config.c.in).
NAMES = {"PyMarshal_Init": "marshal", "_PyWarnings_Init": "_warnings"}
# Those that Python makes before it looks at the table, which has them for sys.builtin_module_names alone.
WITHOUT_FUNCTION = ("builtins", "sys")
# What a symbol of Python's own begins with; HACL*'s are python_hashlib_… in 3.13, _Py_LibHacl_… in 3.14.
OWN = ("Py", "_Py", "python_")


class Member:
    """An object file of the archive: the symbols that it defines, and those that it refers to."""

    def __init__(self) -> None:
        self.defined: set[str] = set()
        self.undefined: set[str] = set()


def read_symbols(listing: str) -> list[Member]:
    """The members of an archive, from what `nm --extern-only --format=posix ARCHIVE` prints (nm in POSIX.1-2017)."""
    members: list[Member] = []
    for line in listing.split("\n"):
        words = line.split(" ")
        if line.endswith(":") and len(words) == 1:
            members.append(Member())
        elif len(words) >= 2 and members:
            wanted = members[-1].undefined if words[1] in "Uvw" else members[-1].defined
            wanted.add(words[0])
    return members


def choose(members: list[Member]) -> dict[str, str]:
    """The functions that make the built-in modules, by module, without those whose member refers to what is nowhere."""
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
    """The C source."""
    lines = ["/* Written by ocipy/launcher/inittab.py. */", "#include <Python.h>", ""]
    lines += [f"PyObject *{function}(void);" for function in functions.values()]
    lines += ["", f"struct _inittab {TABLE}[] = {{"]
    lines += [f'    {{"{module}", {function}}},' for module, function in functions.items()]
    lines += [f'    {{"{module}", NULL}},' for module in WITHOUT_FUNCTION]
    lines += ["    {NULL, NULL},", "};", ""]
    return "\n".join(lines)


def main(nm: str, archive: str, file: str) -> None:
    """What meson calls at configuration."""
    done = subprocess.run(
        [nm, "--extern-only", "--format=posix", archive], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    Path(file).write_text(write(choose(read_symbols(done.stdout.decode(errors="replace")))))


if __name__ == "__main__":
    main(*sys.argv[1:])
