"""The published config.json files of ../shared/configs, and why ocipy refuses some: tests/configs/refused.toml.

python -m tests.unit.published       updates the places in that file; new reasons must be written by hand
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from unittest import mock

from ocipy.errors import Error
from ocipy.operations import plan, validate
from ocipy.plan.model import Host

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP.parent / "shared" / "configs"
REFUSED = TOP / "tests" / "configs" / "refused.toml"

HOST = Host(
    cgroup_mode="v1",
    cgroup_controllers=(
        "cpuset", "cpu,cpuacct", "blkio", "memory", "devices", "freezer", "net_cls,net_prio", "pids", "hugetlb",
        "perf_event", "rdma",
    ),
    apparmor=True,
    selinux=True,
)  # fmt: skip
"""One that has all that a config may ask for, so that only the document is judged."""

_OF_FILES = ("does not exist on this host", "does not exist", "must be a directory")


def documents() -> list[Path]:
    """The files, by their numbers; empty if the folder does not exist."""
    return sorted(FOLDER.glob("*.json"))


def judged(path: Path, bundle: Path, host: Host | None = HOST) -> tuple[list[str], str]:
    """(the errors of `validate` as "POINTER: TEXT", the error of `plan` or ""), except errors about this host's files.

    bundle: a directory with a rootfs. host: None for this one.
    """
    config = str(path)
    here = mock.patch.object(validate, "describe_host", return_value=host) if host else mock.MagicMock()
    there = mock.patch.object(plan, "describe_host", return_value=host) if host else mock.MagicMock()
    with here, there:
        found = [finding for finding in validate.validate(str(bundle), config) if finding.severity == validate.ERROR]
        refused = ""
        try:
            plan.plan_bundle(
                str(bundle), config, root="/run/ocipy", rootless=None, no_pivot=False, no_new_keyring=False,
                cgroup_manager="cgroupfs",
            )  # fmt: skip
        except Error as error:
            refused = error.line
    errors = [
        f"{finding.pointer.replace(config, 'file')}: {finding.text}"
        for finding in found
        if not (finding.pointer.endswith(("/source", "/root/path")) and finding.text.endswith(_OF_FILES))
    ]
    return errors, refused


def reasons() -> list[dict[str, Any]]:
    """The entries of refused.toml."""
    found: list[dict[str, Any]] = tomllib.loads(REFUSED.read_text())["reason"]
    return found


def by_reason(errors: dict[str, list[str]]) -> dict[str, list[str]]:
    """The regular expression of a reason → "NUMBER POINTER" of its cases. Raises KeyError for one without a reason."""
    places: dict[str, list[str]] = {reason["text"]: [] for reason in reasons()}
    for number, lines in errors.items():
        for line in lines:
            pointer, _, text = line.partition(": ")
            reason = next((reason for reason in places if re.match(reason, text)), None)
            if reason is None:
                raise KeyError(f"{number} {line}: no reason in {REFUSED.name}")
            places[reason].append(f"{number} {pointer}".strip())
    return places


def rewrite(bundle: Path) -> None:
    """Update the places in refused.toml."""
    places = by_reason({path.stem: judged(path, bundle)[0] for path in documents()})
    text = REFUSED.read_text()
    parts = [text[: text.index("[[reason]]")].rstrip() + "\n"]
    for reason in reasons():
        at = "".join(f'    "{place}",\n' for place in places[reason["text"]])
        if at:
            parts.append(
                f"[[reason]]\ntext = '''{reason['text']}'''\nbecause = \"{reason['because']}\"\n"
                f'runc = "{reason["runc"]}"\nat = [\n{at}]\n'
            )
    REFUSED.write_text("\n".join(parts))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "rootfs").mkdir()
        rewrite(Path(directory))
