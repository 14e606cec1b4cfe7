"""Where each millisecond of `run` goes: the phases of a run, told apart by their system calls.

strace stops the process only at the marking calls (--seccomp-bpf), which costs some 20 µs each; the table also has
the time without strace.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.runtimes import MissingError

_CALLS = (
    "execve,execveat,openat,clone,clone3,fsopen,mkdir,pivot_root,exit_group,mount_setattr,unshare,setns,capset,"
    "move_mount,rmdir,unlink,sendmsg"
)
_LINE = re.compile(r"^(?P<pid>\d+)\s+(?P<time>\d+\.\d+) (?P<call>.*)$")


@dataclass(frozen=True)
class Phase:
    """A phase lasts until the first line that `end` matches; `who` wrote it: "runtime", "init" or "any"."""

    name: str
    end: str
    who: str = "any"


# ocipy's phases. A phase whose mark does not appear is left out, and its time counts for the next.
PHASES = (
    Phase("launcher: exec, overlay", r"^execveat\("),
    Phase("launcher again: exec, libc", r"^openat\(AT_FDCWD, \".*_snapshot\.bin\""),
    Phase("Python mapped and made this process's, arguments", r"^openat\(.*\"config\.json\""),
    Phase("config read and checked, host described, plan", r"^mkdir\("),
    Phase("state directory, FIFO, procfs, sources", r"^mkdir\(\"/sys/fs/cgroup"),
    Phase("cgroups made", r"^clone3?\("),
    Phase("clone into the namespaces, cgroups joined, state", r"^sendmsg\(.*begin"),
    Phase("init begins: descriptors, session, keyring", r"^mount_setattr\(", "init"),
    Phase("root, mounts, devices", r"^sendmsg\(.*mounted", "init"),
    Phase("limits, device rules, hooks (host)", r"^sendmsg\(.*\"go\\?\"", "runtime"),
    Phase("pivot, masked and read-only paths, names", r"^sendmsg\(.*ready", "init"),
    Phase("rlimits, ids, capabilities, environment, lookup", r"^sendmsg\(.*waiting", "init"),
    Phase("created, started: state, FIFO, exec begins", r"^execve\(", "init"),
    Phase("exec of the payload, and the payload itself", r"^\+\+\+ exited", "init"),
    Phase("reap, cgroups and state removed", r"^exit_group\(", "runtime"),
    Phase("exit of the interpreter", r"^\+\+\+ exited", "runtime"),
)


def trace(argv: list[str], log: Path) -> list[tuple[float, bool, str]]:
    """Run a command under strace: (seconds, whether it is the command's own process, call) of each line.

    Raises MissingError if strace is missing or the command fails."""
    strace = shutil.which("strace")
    if strace is None:
        raise MissingError("no strace here: install strace")
    command = [strace, "-f", "--seccomp-bpf", "-ttt", "-s", "128", "-e", f"trace={_CALLS}", "-o", str(log), *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingError(f"{' '.join(argv)} under strace: {done.stderr.strip()}")
    lines = []
    first = ""
    for text in log.read_text(errors="replace").splitlines():
        found = _LINE.match(text)
        if found:
            first = first or found["pid"]
            lines.append((float(found["time"]), found["pid"] == first, found["call"]))
    return lines


def split(lines: list[tuple[float, bool, str]], phases: tuple[Phase, ...] = PHASES) -> dict[str, float]:
    """Milliseconds of each phase whose end was found."""
    times: dict[str, float] = {}
    began = lines[0][0]
    position = 1
    for phase in phases:
        for number in range(position, len(lines)):
            when, ours, call = lines[number]
            right = phase.who == "any" or (phase.who == "runtime") == ours
            if right and re.search(phase.end, call):
                times[phase.name] = (when - began) * 1000
                began, position = when, number + 1
                break
    return times


def medians(samples: list[dict[str, float]]) -> dict[str, float]:
    """The median of each phase, in order."""
    return {
        phase.name: statistics.median(sample.get(phase.name, 0.0) for sample in samples)
        for phase in PHASES
        if any(phase.name in sample for sample in samples)
    }


def table(phases: dict[str, float], untraced: float) -> str:
    """A row per phase, with milliseconds and share."""
    whole = sum(phases.values())
    width = max(map(len, phases))
    lines = [f"{name:<{width}}  {value:7.2f} ms  {100 * value / whole:5.1f} %" for name, value in phases.items()]
    lines.append(f"{'sum under strace':<{width}}  {whole:7.2f} ms")
    lines.append(f"{'the same without strace':<{width}}  {untraced:7.2f} ms")
    return "\n".join(lines)
