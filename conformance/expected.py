"""The list of programs that are known to fail, always or by chance, each with its reason."""

from __future__ import annotations

import platform
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conformance import host
from conformance.runner import PASSED, Outcome


class ExpectationError(Exception):
    """The list does not have the form that docs/conformance.md describes."""


@dataclass(frozen=True)
class Expectation:
    """Why a program fails; `when` names the condition of the host under which it does (`always`: on every host).

    With `attempts` above 0 it fails by chance, and must pass in one of that many attempts."""

    reason: str
    when: str = "always"
    attempts: int = 0


def _cap_sys_resource_missing() -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return not int(line.split()[1], 16) >> 24 & 1  # linux/capability.h: CAP_SYS_RESOURCE is 24
    return False


def _kernel_at_least(major: int, minor: int) -> Callable[[], bool]:
    def newer() -> bool:
        found = re.match(r"(\d+)\.(\d+)", platform.release())
        return found is not None and (int(found[1]), int(found[2])) >= (major, minor)

    return newer


def _not_mounted(controller: str) -> Callable[[], bool]:
    return lambda: not any(kind == "cgroup" and controller in options.split(",") for _, kind, options in host.mounts())


CONDITIONS: dict[str, Callable[[], bool]] = {
    "always": lambda: True,
    "no CAP_SYS_RESOURCE": _cap_sys_resource_missing,
    "no SELinux": lambda: not Path("/sys/fs/selinux/enforce").exists(),
    "net_cls not mounted": _not_mounted("net_cls"),
    "kernel 5.0 or later": _kernel_at_least(5, 0),
    "kernel 5.16 or later": _kernel_at_least(5, 16),
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
        expectation = Expectation(
            str(entry["reason"]).strip(), str(entry.get("when", "always")), int(entry.get("attempts", 0))
        )
        if expectation.when not in CONDITIONS:
            raise ExpectationError(
                f"{path}: {program}: no condition {expectation.when!r}; there are: {', '.join(CONDITIONS)}"
            )
        expectations[program] = expectation
    return expectations


def judge(outcomes: list[Outcome], expectations: dict[str, Expectation]) -> list[str]:
    """A line for each difference from the list; empty if everything is as expected."""
    holds = {name: condition() for name, condition in CONDITIONS.items()}
    surprises = []
    for outcome in outcomes:
        expectation = expectations.get(outcome.program)
        expected = expectation is not None and holds[expectation.when] and not expectation.attempts
        if outcome.status != PASSED and not expected:
            surprises.append(f"{outcome.program} {outcome.status} and is not expected to")
        elif outcome.status == PASSED and expected and expectation is not None:
            surprises.append(f"{outcome.program} passed, but is listed as failing: {expectation.reason}")
    return surprises
