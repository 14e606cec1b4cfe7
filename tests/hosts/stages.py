"""The stages in another Debian: README's commands, the engines, checkpoint and restore, boxes. Pure."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, replace

PYTEST = ".venv/bin/python -m pytest -q -p no:cacheprovider"
INSTALL = "apt-get install -y -qq --no-install-recommends"
# Suites whose criu (4.2) should work on the newest kernels.
CRIU = {"sid"}
# criu 4.2 saves a process whose session leader has ended, and loses it at the restore, with runc too.
LOST = "tests/integration/test_checkpoint.py::test_processes_that_exec_has_started"


@dataclass(frozen=True)
class Stage:
    name: str
    minutes: int
    command: str


# A user's boxes, by the kernel's overlayfs and by fuse-overlayfs.
BOX_SMOKE = (
    "tests/box/test_rootless.py::test_other_ids_are_the_allotted_ones_and_end_with_the_box",
    "tests/box/test_rootless.py::test_the_kernels_overlay_where_it_agrees",
    "tests/box/test_fuse_overlay.py::test_the_life_of_a_box",
    "tests/box/test_fuse_overlay.py::test_the_server_has_only_the_capabilities_that_it_needs",
)
# packages-box.txt without the browser, which is large and not needed by the smoke set.
BOX_PACKAGES = "$(sed 's/#.*//; /^chromium$/d' packages-box.txt)"


def of_box() -> list[Stage]:
    """The stages for `ocipy box` alone, with all its tests."""
    return [Stage("setup", 8, "make setup"), Stage("box", 40, "make test-box")]


def of(suite: str, *, smoke: bool) -> list[Stage]:
    """The stages of a suite, in order; smoke: CI's short set."""
    stages = [
        Stage("demo", 8, "make demo"),
        # Check it: a build without a snapshot still works, only slower.
        Stage("snapshot", 2, f"test -s build/default/_snapshot.bin && {PYTEST} tests/integration/test_snapshot.py"),
    ]
    if smoke:
        stages.append(Stage("tests", 8, f"make build && {PYTEST} -m smoke tests/integration"))
        stages.append(Stage("box", 5, f"{INSTALL} {BOX_PACKAGES} && {PYTEST} {' '.join(BOX_SMOKE)}"))
        return stages
    stages.append(Stage("tests", 40, "make test"))
    stages.append(Stage("engines", 20, f"{INSTALL} golang-go && tests/engines/run -m smoke"))
    if suite in CRIU:
        criu = f"{INSTALL} criu iptables nftables && criu check && {PYTEST} tests/integration/test_checkpoint*.py"
        stages.append(Stage("criu", 20, f"{criu} --deselect {LOST}"))
    return [*stages, *of_box()[1:]]


def patient(stages: list[Stage], factor: float) -> list[Stage]:
    """The same with longer time limits, for a slow or busy machine."""
    return [replace(stage, minutes=math.ceil(stage.minutes * factor)) for stage in stages]


def script(stages: list[Stage]) -> str:
    """A bash script: each stage with its time limit, then a summary; exit status 1 if a stage failed."""
    lines = [
        "cd /src || exit 2",
        "failed=0 summary=",
        "stage() {",
        '    printf \'\\n==== %s (at most %s minutes): %s\\n\' "$1" "$2" "$3"',
        "    local began=$SECONDS status",
        '    timeout --kill-after=30 "$2m" sh -c "$3" </dev/null',
        "    status=$?",
        '    [ "$status" = 0 ] || failed=1',
        "    summary+=$(printf '%5s s  %-10s exit status %s' $((SECONDS - began)) \"$1\" \"$status\")$'\\n'",
        "}",
    ]
    lines += [f"stage {stage.name} {stage.minutes} {shlex.quote(stage.command)}" for stage in stages]
    lines += ["printf '\\n==== Debian %s, Python %s\\n%s' \"$(cat /etc/debian_version)\" \\"]
    lines += ['    "$(python3 -c \'import platform; print(platform.python_version())\')" "$summary"', "exit $failed"]
    return "\n".join(lines) + "\n"
