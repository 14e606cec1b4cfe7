"""Compile the modules that can run in Python's core phase into one file, which the start library maps.

    python -m ocipy.launcher.freeze OUTPUT

A module can run there if each of its top-level imports is built in or can run there too. Imports inside functions do
not count: such a function completes the start first. Docstrings, annotations, asserts and TYPE_CHECKING blocks are left
out, and the names of kernel constants are replaced with their values.

The modules that a hot command imports are in the file a second time, as the command's group: a dictionary from names to
code objects, which unmarshal faster because they share strings. The group is named after the command's module, in angle
brackets.

The format, in the machine's byte order; the reader is frozen.c:

- 8 bytes "ocipyfz2";
- the version of Python (major << 8 | minor) and the number of entries, 4 bytes each;
- a SHA-256 of everything that follows, by which a snapshot recognizes the file. It covers the cold modules too, through
  an entry without code;
- for each entry its name (60 bytes, padded with zeros), is_package, offset and size of its code (4 bytes each), and a
  SHA-256 of its sources;
- the code, as marshal writes it.
"""

from __future__ import annotations

import ast
import hashlib
import marshal
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

MAGIC = b"ocipyfz2"
HEADER = struct.Struct("=8sII32s")
ENTRY = struct.Struct("=60sIII32s")
#: The bytecode is the same for all releases of one minor version.
PYTHON = sys.hexversion >> 16

#: The modules that are built into every CPython and loaded when it reaches the core phase.
BUILT_IN = frozenset(("_signal", "builtins", "errno", "marshal", "posix", "sys", "time"))
#: The modules that the start library adds.
ADDED = frozenset(("ocipy.linux._kernel",))

#: GROUPS has the commands that have a group, with what it contains in addition to the command's top-level imports:
#: modules that the command imports on demand for an ordinary container.
REMOVED = ("ocipy.cgroups.cgroup", "ocipy.cgroups.ending")
PLANNED = (
    *(f"ocipy.cgroups.{name}" for name in ("creation", "device_filter", "device_program")),
    *(f"ocipy.host.{name}" for name in ("cgroup", "namespaces", "pid_file", "process", "waiting")),
    *(f"ocipy.init.{name}" for name in (
        "capabilities", "cgroup_enter", "cgroup_mount", "devices", "identity", "keyring", "lookup", "loopback", "masks",
        "mounts", "namespaces", "process", "rlimits", "rootfs", "uts", "waiting",
    )),
)  # fmt: skip
EXECUTED = (
    "ocipy.operations.exec_file",
    *(f"ocipy.host.{name}" for name in ("exec", "pid_file", "process")),
    *(f"ocipy.init.{name}" for name in (
        "capabilities", "cgroup_enter", "exec", "identity", "keyring", "lookup", "process", "rlimits", "waiting",
    )),
)  # fmt: skip
GROUPS = {
    "create": PLANNED, "run": (*PLANNED, *REMOVED), "exec": EXECUTED, "start": (), "state": (), "kill": (),
    "delete": REMOVED,
    "pause": (), "resume": (), "ps": ("ocipy.operations.process_table",), "update": (), "list": (),
}  # fmt: skip
#: The entry without code, whose digest covers all cold modules: they are in snapshots too.
COLD = "<cold>"
#: Loaded before the command is known.
FIRST = "ocipy.cli.main"

CONSTANTS = "ocipy.linux.constants"
CONSTANTS_FILE = Path(__file__).resolve().parents[1] / "linux" / "constants.py"


class Source:
    """A module's source. digest covers everything that its frozen form depends on."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.is_package = path.name == "__init__.py"
        self.text = path.read_bytes()
        self.digest = hashlib.sha256(name.encode() + b"\0" + _shared_text() + self.text).digest()
        self.tree = ast.parse(self.text, str(path))


def _shared_text() -> bytes:
    """What the frozen form of every module depends on: this file, and the constants."""
    return Path(__file__).read_bytes() + CONSTANTS_FILE.read_bytes()


def constants() -> dict[str, int]:
    """The names in ocipy.linux.constants and their values."""
    values: dict[str, object] = {}
    exec(compile(CONSTANTS_FILE.read_bytes(), str(CONSTANTS_FILE), "exec", dont_inherit=True), values)
    return {name: value for name, value in values.items() if name.isupper() and isinstance(value, int)}


def read_sources(package: Path) -> dict[str, Source]:
    """All modules below a package's directory, by their full names."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Source(name, path)
    return found


def is_type_checking(node: ast.stmt) -> bool:
    """Whether this is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_at_top(source: Source, known: dict[str, Source]) -> set[str]:
    """The modules that importing this one imports. known: tells which names in a package are modules."""
    found: set[str] = set()
    pending: list[ast.AST] = list(source.tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.stmt) and is_type_checking(node):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            found.update(_imported_from(node, source, known))
        pending.extend(ast.iter_child_nodes(node))
    return found


def _imported_from(node: ast.ImportFrom, source: Source, known: dict[str, Source]) -> set[str]:
    module = node.module or ""
    if node.level:
        base = source.name.split(".")
        kept = len(base) - node.level + (1 if source.is_package else 0)
        module = ".".join(base[:kept] + ([module] if module else []))
    below = {f"{module}.{alias.name}" for alias in node.names}
    return {module} | {name for name in below if name in known or name in ADDED}


def closure(names: Iterable[str], sources: dict[str, Source]) -> set[str]:
    """These modules, everything that they import at the top, directly or indirectly, and the packages of all."""
    pending, found = list(names), set[str]()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += imported_at_top(sources[name], sources) if name in sources else ()
            pending += [name.rpartition(".")[0]] if "." in name else []
    return found


def groups(sources: dict[str, Source]) -> dict[str, list[str]]:
    """The modules of each group, by its name."""
    first = closure([FIRST], sources)
    return {
        f"<ocipy.cli.commands.{command}>": sorted(
            (closure([f"ocipy.cli.commands.{command}", *more], sources) - first) & sources.keys()
        )
        for command, more in GROUPS.items()
        if f"ocipy.cli.commands.{command}" in sources
    }


def obstacles(sources: dict[str, Source]) -> dict[str, str]:
    """The modules that cannot run in the core phase, each with an import that is not available there."""
    # Importing a module imports its package too.
    imports = {
        name: imported_at_top(source, sources) | {name.rpartition(".")[0]} - {""} for name, source in sources.items()
    }
    allowed = BUILT_IN | ADDED
    found: dict[str, str] = {}
    while True:
        new = {
            name: wanted
            for name, wanteds in imports.items()
            if name not in found
            for wanted in wanteds
            if wanted not in allowed and (wanted not in sources or wanted in found)
        }
        if not new:
            return found
        found.update(new)


class Stripper(ast.NodeTransformer):
    """Removes annotations, their __future__ import and what only type checkers read; inserts values of constants."""

    def __init__(self, known: dict[str, int]) -> None:
        self.known = known
        self.imported: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Removes the annotations of parameters and result."""
        arguments = node.args
        named = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
        for argument in (*named, arguments.vararg, arguments.kwarg):
            if argument is not None:
                argument.annotation = None
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Removes the annotation from an assignment, and all of a bare annotation."""
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Keeps only the else branch of `if TYPE_CHECKING:`."""
        self.generic_visit(node)
        return (node.orelse or ast.copy_location(ast.Pass(), node)) if is_type_checking(node) else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        """Removes the __future__ import, since no annotations remain, and the imports of constants."""
        names = {alias.name for alias in node.names}
        if node.module == CONSTANTS and names <= self.known.keys() and not any(alias.asname for alias in node.names):
            self.imported |= names
        elif node.module != "__future__":
            return node
        return ast.copy_location(ast.Pass(), node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Replaces a constant's name with its value. Relies on imports that precede all uses of what they import."""
        if node.id not in self.imported:
            return node
        if not isinstance(node.ctx, ast.Load):
            raise ValueError(f"line {node.lineno}: {node.id} is a kernel constant and must not be assigned to")
        return ast.copy_location(ast.Constant(self.known[node.id]), node)


def group_digest(names: Iterable[str], sources: dict[str, Source]) -> bytes:
    """The digest of everything that a group depends on."""
    return hashlib.sha256(b"".join(sources[name].digest for name in names)).digest()


def compile_module(source: Source) -> bytes:
    """The code of a module, as marshal writes it."""
    tree = ast.fix_missing_locations(Stripper(constants()).visit(source.tree))
    name = source.name.replace(".", "/") + ("/__init__.py" if source.is_package else ".py")
    return marshal.dumps(compile(tree, name, "exec", dont_inherit=True, optimize=2))


def read_frozen(path: Path) -> dict[str, tuple[bytes, bytes]]:
    """(digest, code) of each entry in a frozen file; empty if there is no such file, or it is for another Python."""
    try:
        file = path.read_bytes()
        magic, python, count, _ = HEADER.unpack_from(file)
    except (OSError, struct.error):
        return {}
    if magic != MAGIC or python != PYTHON:
        return {}
    found = {}
    for index in range(count):
        name, _, offset, size, digest = ENTRY.unpack_from(file, HEADER.size + index * ENTRY.size)
        found[name.rstrip(b"\0").decode("ascii", "replace")] = (digest, file[offset : offset + size])
    return found


def frozen_file(hot: dict[str, Source], old: dict[str, tuple[bytes, bytes]], cold: bytes = b"") -> bytes:
    """The contents of the frozen file. Entries whose sources have not changed are copied from the old one.

    cold: the digest of the modules that are not in it. Raises ValueError for a name of 60 bytes or more."""
    made = {COLD: (cold, b"")}
    grouped = groups(hot)  # before compiling, which removes imports from the trees
    for name, source in hot.items():
        digest, code = old.get(name, (b"", b""))
        made[name] = (source.digest, code if digest == source.digest else compile_module(source))
    for name, members in grouped.items():
        digest, code = old.get(name, (b"", b""))
        new = group_digest(members, hot)
        if digest != new:
            code = marshal.dumps({member: marshal.loads(made[member][1]) for member in members})
        made[name] = (new, code)
    entries, codes = [], []
    offset = HEADER.size + len(made) * ENTRY.size
    for name, (digest, code) in made.items():
        if len(name.encode()) >= 60:
            raise ValueError(f"{name}: the name is too long to be frozen")
        is_package = name in hot and hot[name].is_package
        entries.append(ENTRY.pack(name.encode(), is_package, offset, len(code), digest))
        codes.append(code)
        offset += len(code)
    rest = b"".join((*entries, *codes))
    return HEADER.pack(MAGIC, PYTHON, len(made), hashlib.sha256(rest).digest()) + rest


def differences(path: Path, package: Path) -> list[str]:
    """The entries whose sources have changed since the frozen file was made."""
    sources = read_sources(package)
    cold = obstacles(sources)
    hot = {name: source for name, source in sources.items() if name not in cold}
    old = {name: digest for name, (digest, _) in read_frozen(path).items()}
    new = {name: source.digest for name, source in hot.items()}
    new |= {name: group_digest(members, hot) for name, members in groups(hot).items()}
    new[COLD] = group_digest(sorted(cold), sources)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def main(arguments: list[str]) -> int:
    """Write the frozen file unless it is up to date. Fails if the command line cannot run in the core phase."""
    output, package = Path(arguments[0]), Path(__file__).resolve().parent.parent
    sources = read_sources(package)
    cold = obstacles(sources)
    if "ocipy.cli.main" in cold:
        print(f"ocipy.cli.main cannot run in the core phase: {_why('ocipy.cli.main', cold)}", file=sys.stderr)
        return 1
    hot = {name: source for name, source in sources.items() if name not in cold}
    contents = frozen_file(hot, read_frozen(output), group_digest(sorted(cold), sources))
    if output.exists() and output.read_bytes() == contents:
        return 0
    temporary = output.with_name(output.name + f".{os.getpid()}")
    temporary.write_bytes(contents)
    temporary.chmod(0o644)
    temporary.replace(output)
    print(f"froze {len(hot)} modules, {len(contents) // 1024} KiB")
    return 0


def _why(name: str, cold: dict[str, str]) -> str:
    chain = [name]
    while chain[-1] in cold:
        chain.append(cold[chain[-1]])
    return " imports ".join(chain)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
