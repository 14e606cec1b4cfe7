"""Runs the suite's programs against one runtime, one by one, and restores the host."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from conformance import host, tap
from conformance.suite import Suite

PASSED, FAILED, TIMEOUT = "passed", "failed", "timeout"


@dataclass
class Outcome:
    """One program's result: its status, its tests, and its leftovers (already removed)."""

    program: str
    status: str
    seconds: float
    exit_status: int
    tests: list[tap.Test] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stderr: str = ""
    left: list[str] = field(default_factory=list)
    attempts: int = 1


@dataclass
class RuntimeRun:
    """All outcomes of one runtime."""

    name: str
    path: str
    version: str
    outcomes: list[Outcome] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many programs ended with this status."""
        return sum(outcome.status == status for outcome in self.outcomes)


def describe(path: str) -> RuntimeRun:
    """A runtime's name and version, from its `--version`. Raises OSError if it cannot be run."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
    found = re.match(r"(\S+) version (\S+)", done.stdout)
    name, version = (found[1], found[2]) if found else (Path(path).name, "")
    return RuntimeRun(name, path, version)


class _TimeLimitError(Exception):
    pass


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def expired(_signal: int, _frame: FrameType | None) -> None:
        raise _TimeLimitError

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _wait_reaping(pid: int) -> int:
    """Wait for `pid` as an init does: reap every orphan meanwhile, or a container's init would stay a zombie."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def spawn_and_wait(
    command: list[str], folder: Path, environment: dict[str, str], limit: float, cwd: Path | None = None
) -> tuple[str, int]:
    """Run a program in a new process group, with its output in files in `folder`. Return (status, exit status).

    cwd: defaults to `folder`. The caller is a subreaper (host.become_subreaper)."""
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=cwd or folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        with _time_limit(limit):
            process.returncode = _wait_reaping(process.pid)
    except _TimeLimitError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.returncode = _wait_reaping(process.pid)
        return TIMEOUT, process.returncode
    return FAILED, process.returncode


class Runner:
    """A scratch folder with the suite's files and a wrapper that gives the runtime a private state folder."""

    def __init__(self, suite: Suite, run: RuntimeRun, limit: float) -> None:
        self.suite = suite
        self.run = run
        self.limit = limit
        self.work = Path(tempfile.mkdtemp(prefix="conformance-"))
        self.work.chmod(0o711)  # a container's root in a user namespace must be able to pass through
        self.state = self.work / "state"
        self.bundles = self.work / "bundles"
        for name in (suite.rootfs, "runtimetest"):
            shutil.copy(suite.folder / name, self.work / name)
        self.wrapper = self.work / "runtime"
        self.wrapper.write_text(f"#!/bin/sh\nexec '{run.path}' --root '{self.state}' \"$@\"\n")
        self.wrapper.chmod(0o755)

    def close(self) -> None:
        """Remove the scratch folder, unless something is still mounted in it."""
        if not host.unmount_below(self.work):
            shutil.rmtree(self.work, ignore_errors=True)

    def run_all(self, programs: tuple[str, ...], attempts: dict[str, int], tell: Callable[[Outcome], None]) -> None:
        """Run these programs, and call `tell` after each. `attempts`: how often to try one that fails by chance."""
        for program in programs:
            outcome = self._run_one(program)
            while outcome.status != PASSED and outcome.attempts < attempts.get(program, 1):
                tell(outcome)
                outcome = replace(self._run_one(program), attempts=outcome.attempts + 1)
            self.run.outcomes.append(outcome)
            tell(outcome)

    def _run_one(self, program: str) -> Outcome:
        self.bundles.mkdir(mode=0o711)
        before = host.cgroups()
        environment = {**os.environ, "RUNTIME": str(self.wrapper), "TMPDIR": str(self.bundles)}
        started = time.monotonic()
        status, exit_status = spawn_and_wait(
            [str(self.suite.folder / "bin" / program)], self.work, environment, self.limit
        )
        seconds = time.monotonic() - started
        report = tap.parse((self.work / "stdout").read_text(errors="replace"))
        if status != TIMEOUT and report.passed(exit_status):
            status = PASSED
        stderr = (self.work / "stderr").read_text(errors="replace")[-4000:]
        return Outcome(program, status, seconds, exit_status, report.tests, report.errors, stderr, self._clean(before))

    def _clean(self, cgroups_before: set[str]) -> list[str]:
        left = []
        containers = sorted(entry.name for entry in self.state.iterdir()) if self.state.is_dir() else []
        for container in containers:
            left.append(f"container {container}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    [str(self.wrapper), "delete", "--force", container],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=20,
                )
        left += [f"process {name}" for name in host.end_descendants()]
        left += [f"mount {point}" for point in host.unmount_below(self.work)]
        appeared = host.new_cgroups_of_suite(cgroups_before)
        left += [f"cgroup {path}" for path in appeared]
        left += [f"cgroup {path} (cannot be removed)" for path in host.remove_cgroups(appeared)]
        shutil.rmtree(self.bundles, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)
        return left
