"""The list of programs that are known to fail, each with its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conformance.runner import PASSED, Outcome


class ExpectationError(Exception):
    """The list is not of the form that docs/conformance.md describes."""


@dataclass(frozen=True)
class Expectation:
    """Why a program fails; `when` names the condition of the host under which it does (`always`: on every host)."""

    reason: str
    when: str = "always"


def _cap_sys_resource_missing() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return not int(line.split()[1], 16) >> 24 & 1  # linux/capability.h: CAP_SYS_RESOURCE is 24
    return False


def _apparmor_missing() -> bool:
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    return not enabled.exists() or enabled.read_text().strip() != "Y"


def _v1_file_missing(controller: str, name: str) -> Callable[[], bool]:
    # In a v1 hierarchy the root has no limit files of most controllers, so a cgroup's own are looked for as well.
    def missing() -> bool:
        top = Path("/sys/fs/cgroup", controller)
        return top.is_dir() and next(top.rglob(name), None) is None

    return missing


def _controller_missing(name: str) -> Callable[[], bool]:
    return lambda: not any(line.split()[0] == name for line in Path("/proc/cgroups").read_text().splitlines())


CONDITIONS: dict[str, Callable[[], bool]] = {
    "always": lambda: True,
    "no CAP_SYS_RESOURCE": _cap_sys_resource_missing,
    "no AppArmor": _apparmor_missing,
    "no SELinux": lambda: not Path("/sys/fs/selinux/enforce").exists(),
    "no net_cls controller": _controller_missing("net_cls"),
    "no blkio.leaf_weight": _v1_file_missing("blkio", "blkio.leaf_weight"),
    "no memory.kmem.limit_in_bytes": _v1_file_missing("memory", "memory.kmem.limit_in_bytes"),
}


def load(path: Path, programs: tuple[str, ...]) -> dict[str, Expectation]:
    """Read the list; raises ExpectationError for an unknown program or condition, or a missing reason."""
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ExpectationError(f"{path}: {error}") from error
    expectations = {}
    for program, entry in data.items():
        if program not in programs:
            raise ExpectationError(f"{path}: the suite has no program {program}")
        if not isinstance(entry, dict) or not str(entry.get("reason", "")).strip():
            raise ExpectationError(f"{path}: {program} has no reason")
        expectation = Expectation(str(entry["reason"]).strip(), str(entry.get("when", "always")))
        if expectation.when not in CONDITIONS:
            raise ExpectationError(f"{path}: {program}: no condition {expectation.when!r}; there are: {', '.join(CONDITIONS)}")
        expectations[program] = expectation
    return expectations


def judge(outcomes: list[Outcome], expectations: dict[str, Expectation]) -> list[str]:
    """What differs from the list, a line each; empty where all is as expected."""
    holds = {name: condition() for name, condition in CONDITIONS.items()}
    surprises = []
    for outcome in outcomes:
        expectation = expectations.get(outcome.program)
        expected = expectation is not None and holds[expectation.when]
        if outcome.status != PASSED and not expected:
            surprises.append(f"{outcome.program} {outcome.status} and is not expected to")
        elif outcome.status == PASSED and expected and expectation is not None:
            surprises.append(f"{outcome.program} passed, but is listed as failing: {expectation.reason}")
    return surprises
