"""`ocipy validate [BUNDLE]`: every finding in a bundle at once, each with its JSON pointer. Cold.

First the schema; if that holds the rules across fields; if they hold what the plan refuses on this host. Warnings
come last.
"""

from __future__ import annotations

import json
import posix
from typing import TYPE_CHECKING, NamedTuple

from ocipy import bundle
from ocipy.cli import Arguments, Flag, write_stdout
from ocipy.config import advice, semantic
from ocipy.config.check import check
from ocipy.container.probe import describe_host
from ocipy.errors import Error
from ocipy.plan.build import build
from ocipy.plan.model import Options
from ocipy.plan.mount_options import parse
from ocipy.plan.mounts import is_bind

if TYPE_CHECKING:
    from ocipy.config.types import Config

SUMMARY = "list everything that is wrong in a bundle"
USAGE = "[FLAGS] [BUNDLE]"
FLAGS: tuple[Flag, ...] = (
    Flag("config", "text", "the configuration, relative to the bundle", aliases=("f",), metavar="FILE"),
    Flag("format", "text", "how to print it", metavar="text|json", default="text"),
)

ERROR = "error"
WARNING = "warning"


class Finding(NamedTuple):
    """severity: "error" or "warning". pointer: JSON pointer, or a file's path, or "". text: the end of a sentence."""

    severity: str
    pointer: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.pointer}: {self.text}" if self.pointer else f"{self.severity}: {self.text}"


def validate(path: str, config_name: str = "config.json") -> list[Finding]:
    """All findings in the bundle at path, errors first; empty if there is nothing to say. Raises nothing but a bug."""
    try:
        directory = bundle.open_directory(path)
    except Error as error:
        return [_from_error(error)]
    try:
        return _validate_open(directory, posix.readlink(f"/proc/self/fd/{directory}"), config_name)
    finally:
        posix.close(directory)


def _validate_open(directory: int, path: str, config_name: str) -> list[Finding]:
    file = config_name if config_name[:1] == "/" else f"{path}/{config_name}"
    try:
        config = bundle.parse(bundle.read_document(config_name, directory, file), file)
    except Error as error:
        return [_from_error(error)]
    if check(config) is not None:
        from ocipy.config.wording import schema_errors

        return [Finding(ERROR, pointer, text) for pointer, text in schema_errors(config)]
    found = [Finding(ERROR, pointer, text) for pointer, text in semantic.errors(config)]
    if not any(finding.pointer.startswith("/root") for finding in found):
        try:
            bundle.check_rootfs(config, directory, path)
        except Error as error:
            found.append(_from_error(error))
    if not found:
        found += _refused(config, path) + _missing_sources(config, directory)
    told = {finding.pointer for finding in found}
    return found + [Finding(WARNING, *warning) for warning in advice.warnings(config) if warning[0] not in told]


def _refused(config: Config, path: str) -> list[Finding]:
    """What `create` would refuse or warn of on this host, as far as the plan knows it; nothing is done."""
    try:
        plan = build(config, describe_host(), Options(container_id="validate", bundle=path, has_console=True))
    except Error as error:
        return [_from_error(error)]
    return [Finding(WARNING, pointer, text) for pointer, text in plan.warnings]


def _missing_sources(config: Config, directory: int) -> list[Finding]:
    """Bind mounts that have nothing to bind: create would fail, unless somebody makes it in between."""
    found = []
    for index, mount in enumerate(config.get("mounts") or ()):
        source = mount.get("source") or ""
        if source and is_bind(mount, parse(mount.get("options") or ())):
            try:
                posix.stat(source, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                text = f"{source} does not exist on this host"
                found.append(Finding(WARNING, f"/mounts/{index}/source", text))
            except OSError:  # whoever validates may not look there, and create may
                pass
    return found


def _from_error(error: Error) -> Finding:
    line = error.line
    return Finding(ERROR, error.pointer, line.removeprefix(f"{error.pointer}: ") if error.pointer else line)


def run(arguments: Arguments) -> int:
    """Print the findings, one a line or as one JSON array; status 1 if there is an error among them."""
    output_format = arguments.text("format")
    if output_format not in ("text", "json"):
        raise Error(f"--format is text or json, not {output_format!r}")
    given = arguments.expect("the bundle", optional=1)
    found = validate(given[0] if given else ".", arguments.text("config") or "config.json")
    if output_format == "json":
        write_stdout(json.dumps([finding._asdict() for finding in found], indent=2) + "\n")
    else:
        write_stdout("".join(str(finding).replace("\n", " ") + "\n" for finding in found))
    return 1 if any(finding.severity == ERROR for finding in found) else 0
