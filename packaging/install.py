"""Install ocipy below a prefix, as `make install` does.

    python3 packaging/install.py [--destdir DIR] [--engines-conf FILE] PREFIX

PREFIX/lib/ocipy becomes a virtual environment with ocipy and the packages that it needs, and nothing else. The command
goes to PREFIX/bin; man pages, documents and completion go to PREFIX/share. PREFIX/lib/ocipy/installed.json lists what
uninstall.py removes. The packages come from the checkout's own environment (make setup), from this Python's packages,
or from the package index: only the last needs a network. The caller owns the installed files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SYSTEM_PREFIXES = ("/usr", "/usr/local")
ENGINES_CONF = "/etc/containers/containers.conf.d/ocipy.conf"
SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
# What ocipy imports, and the oldest versions: Debian 12's. Either of the two modules for libseccomp is enough.
NEEDED = {"jsonschema": (4, 10), "pyroute2": (0, 7), "prctl": (1, 8), "rich": (13,)}
CHECK = """
import importlib.util, sys
from importlib.metadata import PackageNotFoundError, version
needed = {needed}
for module, least in needed.items():
    if importlib.util.find_spec(module) is None:
        sys.exit(1)
    try:
        number = version({{"prctl": "python-prctl"}}.get(module, module))
    except PackageNotFoundError:
        sys.exit(1)
    if tuple(int(part) for part in number.split(".")[:2] if part.isdigit()) < least:
        sys.exit(1)
sys.exit(not (importlib.util.find_spec("pyseccomp") or importlib.util.find_spec("seccomp")))
"""


def say(text: str) -> None:
    """Report progress to the user."""
    print(text, flush=True)


def run(*words: str | Path, environment: dict[str, str] | None = None) -> None:
    """Run a command of the build. Exits with its output if it fails."""
    done = subprocess.run(
        words, cwd=TOP, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        sys.stderr.buffer.write(done.stdout)
        sys.exit(f"install: {' '.join(map(str, words))}: exit status {done.returncode}")


class Tools:
    """What builds ocipy. python: of the environment with the packages that ocipy needs; None if the system has them."""

    def __init__(self, meson: Path, ninja: Path, python: Path | None) -> None:
        self.meson, self.ninja, self.python = meson, ninja, python


def find_tools(temporary: Path) -> Tools:
    """The checkout's environment, or the system's packages, or a new environment from the index."""
    own = TOP / ".venv/bin"
    if (own / "meson").exists() and _base(own / "python") == _base(Path(sys.executable)):
        say(f"packages: copied from {own.parent}")
        return Tools(own / "meson", own / "ninja", own / "python")
    meson, ninja = shutil.which("meson"), shutil.which("ninja")
    complete = subprocess.run([sys.executable, "-I", "-c", CHECK.format(needed=NEEDED)], check=False).returncode == 0
    if complete and meson and ninja:
        say(f"packages: those of {sys.executable}")
        return Tools(Path(meson), Path(ninja), None)
    say("packages: from the package index")
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    run(sys.executable, "-m", "venv", temporary)
    # First these: with them, pip makes wheels of all packages, and records their files.
    run(temporary / "bin/pip", "install", "-q", "setuptools", "wheel")
    run(temporary / "bin/pip", "install", "-q", "meson", "ninja", "packaging", *project["project"]["dependencies"])
    return Tools(temporary / "bin/meson", temporary / "bin/ninja", temporary / "bin/python")


def _base(python: Path) -> str:
    show = "import os, sys; print(os.path.realpath(sys._base_executable))"
    return subprocess.run([python, "-I", "-c", show], check=False, stdout=subprocess.PIPE, text=True).stdout


def build(tools: Tools, temporary: Path, environment: Path, stage: Path) -> Path:
    """Build ocipy to run from `environment`. Return where it is put, below the stage."""
    path = f"{tools.meson.parent}:{os.environ.get('PATH', os.defpath)}"
    variables = {**os.environ, "NINJA": str(tools.ninja), "PATH": path, "DESTDIR": str(stage)}
    layout = [f"-Dpython.{kind}libdir={environment / SITE}" for kind in ("plat", "pure")]
    # By default, meson uses its own Python's headers.
    native = temporary / "native.ini"
    python = tools.python or Path(sys.executable)
    native.write_text(f"[binaries]\npython = '{python}'\n")
    where: list[str | Path] = ["--prefix", environment, "--libdir", "lib", "--bindir", "bin", "--native-file", native]
    run(tools.meson, "setup", temporary / "build", *where, *layout, environment=variables)
    run(tools.meson, "install", "-C", temporary / "build", "--quiet", environment=variables)
    return Path(f"{stage}{environment}")


def complete(made: Path, tools: Tools, final: Path) -> None:
    """Turn the directory into a virtual environment, without pip and without the scripts of its packages."""
    base = Path(getattr(sys, "_base_executable", sys.executable))
    system = "true" if tools.python is None else "false"
    version = ".".join(map(str, sys.version_info[:3]))
    (made / "pyvenv.cfg").write_text(
        f"home = {base.parent}\ninclude-system-site-packages = {system}\nversion = {version}\nexecutable = {base}\n"
    )
    for name in ("python", "python3"):
        (made / "bin" / name).symlink_to(base)
    if tools.python is not None:
        run(tools.python, "-I", TOP / "packaging/dependencies.py", made / SITE)
    # Bytecode for programs that import it; the executable has its modules frozen.
    strip: list[str | Path] = ["-s", made, "-p", final]
    run(made / "bin/python", "-I", "-m", "compileall", "-q", *strip, made / SITE)


class Installed:
    """What has been installed. Paths are those of the target system, without DESTDIR."""

    def __init__(self, destination: str, prefix: Path) -> None:
        self.destination, self.prefix = destination, prefix
        self.files: list[str] = []
        self.directories: list[str] = []

    def real(self, path: Path) -> Path:
        """Where a path of the target system is now."""
        return Path(f"{self.destination}{path}")

    def directory(self, path: Path) -> None:
        """Make a directory and the ones above it."""
        missing = [parent for parent in (path, *path.parents) if not self.real(parent).exists()]
        for parent in reversed(missing):
            self.real(parent).mkdir(mode=0o755)
            self.directories.append(str(parent))

    def put(self, source: Path, path: Path) -> None:
        """Copy a file, and rename it into place."""
        self.directory(path.parent)
        new = self.real(path.with_name(f".{path.name}.new"))
        shutil.copyfile(source, new)
        new.chmod(0o644)
        new.replace(self.real(path))
        self.files.append(str(path))

    def remember(self, older: dict[str, list[str]], *, complete: bool) -> str:
        """The text of installed.json. older: of the installation that this one replaces, whose files are still there
        until this one is complete."""
        directories = sorted({*older.get("directories", []), *self.directories})
        files = self.files if complete else sorted({*older.get("files", []), *self.files})
        return json.dumps({"prefix": str(self.prefix), "files": files, "directories": directories}, indent=1)


def put_environment(made: Path, environment: Path, target: Installed) -> dict[str, list[str]]:
    """Replace the environment. Return what the old one's installed.json says."""
    real = target.real(environment)
    target.directory(environment.parent)
    new, old = real.with_name(".ocipy.new"), real.with_name(".ocipy.old")
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(made, new, symlinks=True)
    older = read_record(real / "installed.json")
    # If this is killed, uninstall.py still removes the environment, and what the older installation had.
    write_record(new / "installed.json", target.remember(older, complete=False))
    if real.exists():
        real.rename(old)
    new.rename(real)
    shutil.rmtree(old, ignore_errors=True)
    return older


def read_record(record: Path) -> dict[str, list[str]]:
    """What an installation has installed; {} if there is none, or if a full disk has cut the record short."""
    try:
        older = json.loads(record.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return older if isinstance(older, dict) else {}


def write_record(record: Path, text: str) -> None:
    """Write installed.json, and rename it into place."""
    new = record.with_name(".installed.json.new")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(record)


def remove_older(older: dict[str, list[str]], target: Installed) -> None:
    """Remove what only the replaced installation had, such as the man page of a removed command."""
    for name in set(older.get("files", [])) - set(target.files):
        if name.startswith(f"{target.prefix}/share/"):
            target.real(Path(name)).unlink(missing_ok=True)


def tell_engines(conf: Path, target: Installed, temporary: Path) -> None:
    """Write the file that tells podman, buildah and CRI-O about --runtime=ocipy."""
    command = f"{target.prefix}/bin/ocipy"
    real = target.real(conf)
    if real.exists() and f'"{command}"' not in real.read_text():
        say(f"podman used another ocipy: {conf} is replaced")
    text = temporary / "conf"
    text.write_text(
        "# Written by ocipy's make install. Only the table that names the runtime: a list would replace podman's.\n"
        f'[engine.runtimes]\nocipy = ["{command}"]\n'
    )
    target.put(text, conf)
    say(f"podman: --runtime=ocipy, by {conf}")


def put_files(target: Installed, temporary: Path, conf: str) -> None:
    """Put everything outside the environment where it belongs: the command, pages, podman's file."""
    prefix = target.prefix
    link = prefix / "bin/ocipy"
    target.directory(link.parent)
    if target.real(link).is_symlink() or target.real(link).exists():
        target.real(link).unlink()
    target.real(link).symlink_to("../lib/ocipy/bin/ocipy")
    target.files.append(str(link))
    for page in sorted(path for path in (temporary / "share").rglob("*") if path.is_file()):
        target.put(page, prefix / "share" / page.relative_to(temporary / "share"))
    say(f"man pages, documents, completion: {prefix}/share")
    if not conf and str(prefix) in SYSTEM_PREFIXES:
        conf = ENGINES_CONF
    if conf:
        tell_engines(Path(conf), target, temporary)
    else:
        say("podman is not configured; ENGINES_CONF=FILE writes its configuration")


def install(prefix: Path, destination: str, conf: str) -> None:
    """Install. Exits with a message if something fails; an existing installation stays until everything is built."""
    environment = prefix / "lib/ocipy"
    target = Installed(destination, prefix)
    record = target.real(environment / "installed.json")
    with tempfile.TemporaryDirectory(prefix="ocipy-install-") as name:
        temporary = Path(name)
        tools = find_tools(temporary / "tools")
        say("building: takes some 20 seconds")
        made = build(tools, temporary, environment, temporary / "stage")
        complete(made, tools, environment)
        run(made / "bin/python", "-I", "-m", "ocipy.pages", temporary / "share", "docs")
        older = put_environment(made, environment, target)
        say(f"environment: {environment}")
        try:
            put_files(target, temporary, conf)
        except BaseException:
            write_record(record, target.remember(older, complete=False))
            raise
        remove_older(older, target)
        write_record(record, target.remember(older, complete=True))
    if destination:
        say("snapshot: made by the first start, or by `ocipy setup`")
    else:
        run(environment / "bin/ocipy", "setup")
    say(f"installed: {prefix}/bin/ocipy")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--destdir", default="", help="put everything below this directory, for a package")
    parser.add_argument("--engines-conf", default="", help="the file that tells podman about ocipy")
    parser.add_argument("prefix", type=Path)
    arguments = parser.parse_args()
    os.umask(0o022)
    prefix = Path(os.path.realpath(arguments.prefix)) if not arguments.destdir else arguments.prefix
    if not prefix.is_absolute():
        sys.exit(f"install: the prefix {prefix} must be absolute with a DESTDIR")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") is None:
        sys.exit(f"install: {sys.executable} does not say how it was built")
    destination = os.path.abspath(arguments.destdir) if arguments.destdir else ""
    try:
        install(prefix, destination, arguments.engines_conf)
    except OSError as error:
        sys.exit(f"install: {error}")


if __name__ == "__main__":
    main()
