"""validate: every finding in a bundle at once, each with its JSON pointer. Cold.

The schema, the rules across fields, the host's files and the plan are checked in this order, each for the parts that
passed the earlier checks. Warnings come last.
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
from ocipy.config.mount_options import read_mounts
from ocipy.config.old import at, broken_once, unknown_once
from ocipy.config.wording import schema_errors
from ocipy.errors import Error, escape
from ocipy.host.machine import describe_host
from ocipy.operations import bundle
from ocipy.plan.build import build
from ocipy.plan.model import Options

if TYPE_CHECKING:
    from ocipy.config.types import Config

    Findings = list[tuple[str, str]]

NAMESPACES = "/linux/namespaces"
MOST_PLANS = 200
"""The most errors to report from the plan, which is made again after each."""

ERROR = "error"
WARNING = "warning"


def validate(path: str, config_name: str = "config.json") -> list[Finding]:
    """All findings in the bundle at path, errors first; empty if it is fine. Never raises."""
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
        missing = judge.missing_sources(directory)  # not later: a mount with a broken rule is not looked at again
        judge.rules()
        judge.bundle(directory, path)
        judge.errors += missing
        judge.plan(path, judge.advice())
    return judge.errors + judge.warnings


class _Judge:
    """Collects the findings in a document, step by step. Later steps do not see the parts with earlier errors.

    draft: the document without these parts. All pointers refer to the document as written.
    """

    def __init__(self, document: Any) -> None:
        self.document = document
        self.draft = Draft(document)
        broken = schema_errors(document) if check(document) is not None else []
        self.errors = [Finding(ERROR, pointer, text) for pointer, text in broken_once(document, broken)]
        self.warnings: list[Finding] = []

    def error(self, found: Findings) -> bool:
        """Add errors, and remove their parts from the draft. Returns whether anything could be removed.

        Leaves out errors in parts that have been removed, or that have become incomplete, and a missing namespace if
        one of the namespaces is wrong.
        """
        doubtful = self.draft.is_wrong(NAMESPACES) or self.draft.is_incomplete(NAMESPACES)
        new = [
            Finding(ERROR, pointer, text)
            for pointer, text in found
            if not (doubtful and "in linux.namespaces" in text)
            and not (pointer and (self.draft.is_wrong(pointer) or self.draft.is_incomplete(pointer)))
        ]
        self.errors += new
        return self.draft.remove_all(pointer for pointer, _ in found)

    def warn(self, found: Iterable[tuple[str, str]]) -> None:
        """Add warnings, except for parts that have a finding already, or are incomplete because of one."""
        told = {finding.pointer for finding in self.errors + self.warnings}
        for pointer, text in found:
            if pointer not in told and not self.draft.is_wrong(pointer) and not self.draft.is_incomplete(pointer):
                told.add(pointer)
                self.warnings.append(Finding(WARNING, pointer, text))

    def rules(self) -> None:
        """Check the rules across fields."""
        self.error(self._broken())

    def missing_sources(self, directory: int) -> list[Finding]:
        """An error for each bind mount whose source does not exist."""
        missing = self._original(_missing_sources(self.draft.config, directory))
        return [Finding(ERROR, pointer, text) for pointer, text in missing]

    def bundle(self, directory: int, path: str) -> None:
        """Check the root filesystem."""
        if not self.draft.is_wrong("/root/path"):
            try:
                bundle.check_rootfs(self.draft.config, directory, path)
            except Error as error:
                self.errors.append(_from_error(error))

    def advice(self) -> Findings:
        """Add the warnings that do not depend on errors."""
        return self._original(advice.warnings(self.draft.config))

    def plan(self, path: str, advised: Findings) -> None:
        """Add what `create` would refuse or warn about on this host, as far as the plan knows it."""
        host, options = describe_host(), Options(container_id="validate", bundle=path, has_console=True)
        self._leave_out_capabilities(advised)
        warnings: Findings = []
        for left in range(MOST_PLANS, -1, -1):
            if not left:
                self.errors.append(Finding(ERROR, "", f"there may be more errors: the plan failed {MOST_PLANS} times"))
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
        # Also in removed parts: the member may be missing there.
        for pointer, (name, known) in others.items():
            self.warnings.append(Finding(WARNING, pointer, unknown_text(name, known)))

    def _settles(self) -> bool:
        """Remove a part that breaks a rule only because another part is removed. Returns False if that fails."""
        while broken := self._broken():
            if not self.draft.remove_all(pointer for pointer, _ in broken):
                return False
        return True

    def _leave_out_capabilities(self, advised: Findings) -> None:
        """Remove names that have been reported, so that the plan does not report them again."""
        sets = (self.draft.config.get("process") or {}).get("capabilities") or {}
        told = {at(self.document, pointer) for pointer, _ in advised if pointer.startswith("/process/capabilities/")}
        for names in sets.values():
            names[:] = [name for name in names if name not in told]

    def _broken(self) -> Findings:
        return self._original(semantic.errors(self.draft.config))

    def _original(self, found: Iterable[tuple[str, str]]) -> Findings:
        return [(self.draft.original(pointer), text) for pointer, text in found]


def _missing_sources(config: Config, directory: int) -> Iterator[tuple[str, str]]:
    """Bind mounts with a missing source: create is sure to fail."""
    for mount in read_mounts(config):
        source, options = mount.given.get("source") or "", mount.options
        if not source or not mount.is_bind or mount.is_remount:
            continue
        try:
            posix.stat(source, dir_fd=directory, follow_symlinks=not (options.copy_symlink or options.source_nofollow))
        except (FileNotFoundError, NotADirectoryError):
            yield mount.pointer + "/source", f"{source} does not exist on this host"
        except (OSError, ValueError):  # the caller of validate may lack access that the caller of create has
            pass


def _from_error(error: Error) -> Finding:
    line = error.line
    return Finding(ERROR, error.pointer, line.removeprefix(f"{error.pointer}: ") if error.pointer else line)
