"""validate: every finding in a bundle at once, each with its JSON pointer. Cold.

The schema, the rules across fields, the files of the host, and what the plan refuses: each judges what those before
it have found no fault with. Warnings come last.
"""

from __future__ import annotations

import posix
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ocipy.config import advice, semantic
from ocipy.config.check import check
from ocipy.config.draft import Draft
from ocipy.config.finding import Finding
from ocipy.config.misspelt import unknown_members, unknown_text
from ocipy.config.old import at, broken_once, unknown_once
from ocipy.config.wording import schema_errors
from ocipy.errors import Error, escape
from ocipy.host.machine import describe_host
from ocipy.linux.constants import MS_REMOUNT
from ocipy.operations import bundle
from ocipy.plan.build import build
from ocipy.plan.model import Options
from ocipy.plan.mount_options import parse
from ocipy.plan.mounts import is_bind

if TYPE_CHECKING:
    from ocipy.config.types import Config

    Findings = list[tuple[str, str]]

NAMESPACES = "/linux/namespaces"
MOST_PLANS = 200
"""Findings of the plan; it is made anew after each."""

ERROR = "error"
WARNING = "warning"


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
    repeated: list[tuple[str | int, ...]] = []
    try:
        document = bundle.parse(bundle.read_document(config_name, directory, file), file, repeated)
    except Error as error:
        return [_from_error(error)]
    judge = _Judge(document)
    places = dict.fromkeys("".join(map(escape, parts)) for parts in repeated)
    judge.warnings += [Finding(WARNING, place, "is given more than once; the last one counts") for place in places]
    if judge.draft.is_object:
        judge.rules()
        judge.bundle(directory, path)
        judge.plan(path, judge.advice())
    return judge.errors + judge.warnings


class _Judge:
    """What is found in a document, step by step. What one step finds fault with is left out for those after it.

    draft: what nothing is said against so far. All pointers are into the document as it is written.
    """

    def __init__(self, document: Any) -> None:
        self.document = document
        self.draft = Draft(document)
        broken = schema_errors(document) if check(document) is not None else []
        self.errors = [Finding(ERROR, pointer, text) for pointer, text in broken_once(document, broken)]
        self.warnings: list[Finding] = []

    def error(self, found: Findings) -> bool:
        """Add errors, and leave out of the draft what they are about. Whether anything could be left out.

        Nothing is told of what is left out already, of what is only the rest of something, nor of a namespace that is
        missing where one is wrong.
        """
        doubtful = self.draft.is_wrong(NAMESPACES) or self.draft.is_rest(NAMESPACES)
        new = [
            Finding(ERROR, pointer, text)
            for pointer, text in found
            if not (doubtful and "in linux.namespaces" in text)
            and not (pointer and (self.draft.is_wrong(pointer) or self.draft.is_rest(pointer)))
        ]
        self.errors += new
        return self.draft.remove_all(pointer for pointer, _ in found)

    def warn(self, found: Iterable[tuple[str, str]]) -> None:
        """Add warnings, but of what has a finding already, or is the rest of something wrong."""
        told = {finding.pointer for finding in self.errors + self.warnings}
        for pointer, text in found:
            if pointer not in told and not self.draft.is_wrong(pointer) and not self.draft.is_rest(pointer):
                told.add(pointer)
                self.warnings.append(Finding(WARNING, pointer, text))

    def rules(self) -> None:
        """The rules across fields."""
        self.error(self._broken())

    def bundle(self, directory: int, path: str) -> None:
        """The root filesystem, and the sources of bind mounts."""
        if not self.draft.is_wrong("/root/path"):
            try:
                bundle.check_rootfs(self.draft.config, directory, path)
            except Error as error:
                self.errors.append(_from_error(error))
        missing = self._original(_missing_sources(self.draft.config, directory))
        self.errors += [Finding(ERROR, pointer, text) for pointer, text in missing]

    def advice(self) -> Findings:
        """What deserves a warning in any case."""
        return self._original(advice.warnings(self.draft.config))

    def plan(self, path: str, advised: Findings) -> None:
        """What `create` would refuse or warn of on this host, as far as the plan knows it; nothing is done."""
        host, options = describe_host(), Options(container_id="validate", bundle=path, has_console=True)
        self._leave_out_capabilities(advised)
        warnings: Findings = []
        for left in range(MOST_PLANS, -1, -1):
            if not left:
                self.errors.append(
                    Finding(ERROR, "", f"there may be more: the plan has been refused {MOST_PLANS} times")
                )
            if not left or not self._settles():
                break
            try:
                plan = build(self.draft.config, host, options)
            except Error as error:
                pointer, text = _from_error(error)[1:]
                if self.error(self._original([(pointer, text)])):
                    continue
            else:
                warnings = self._original(plan.warnings)
            break
        self.warn(advised)
        self._warn_of_unknown_members()
        self.warn(warnings)

    def _warn_of_unknown_members(self) -> None:
        unknown = {pointer: (name, known) for pointer, name, known in unknown_members(self.document)}
        old, others = unknown_once(unknown, [finding.text for finding in self.errors])
        self.warnings += [Finding(WARNING, pointer, text) for pointer, text in old]
        # Also in what is left out: it may be the member that is missing there.
        for pointer, (name, known) in others.items():
            self.warnings.append(Finding(WARNING, pointer, unknown_text(name, known)))

    def _settles(self) -> bool:
        """Leave out what breaks a rule only because something else is left out. False where that cannot be."""
        while broken := self._broken():
            if not self.draft.remove_all(pointer for pointer, _ in broken):
                return False
        return True

    def _leave_out_capabilities(self, advised: Findings) -> None:
        """What is told of by name already, so that the plan does not tell it again."""
        sets = (self.draft.config.get("process") or {}).get("capabilities") or {}
        told = {at(self.document, pointer) for pointer, _ in advised if pointer.startswith("/process/capabilities/")}
        for names in sets.values():
            names[:] = [name for name in names if name not in told]

    def _broken(self) -> Findings:
        return self._original(semantic.errors(self.draft.config))

    def _original(self, found: Iterable[tuple[str, str]]) -> Findings:
        return [(self.draft.original(pointer), text) for pointer, text in found]


def _missing_sources(config: Config, directory: int) -> Iterator[tuple[str, str]]:
    """Bind mounts that have nothing to bind: create is sure to fail."""
    for index, mount in enumerate(config.get("mounts") or ()):
        source = mount.get("source") or ""
        options = parse(mount.get("options") or ())
        if not source or not is_bind(mount, options) or options.flags & MS_REMOUNT:
            continue
        try:
            posix.stat(source, dir_fd=directory, follow_symlinks=not (options.copy_symlink or options.source_nofollow))
        except (FileNotFoundError, NotADirectoryError):
            yield f"/mounts/{index}/source", f"{source} does not exist on this host"
        except (OSError, ValueError):  # whoever validates may not look there, and create may
            pass


def _from_error(error: Error) -> Finding:
    line = error.line
    return Finding(ERROR, error.pointer, line.removeprefix(f"{error.pointer}: ") if error.pointer else line)
