"""Times single calls: posix_spawn, then a blocking wait.

A wait with a timeout would poll, and round the times.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.runtimes import Contestant

CALLS = ("create", "start", "state", "kill", "delete")
OPERATIONS = ("run", "five", *CALLS, "exec")
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class CallError(Exception):
    """A call failed: its command and what it wrote to standard error."""


@dataclass
class Samples:
    """Milliseconds of one runtime, by operation; `five` is the sum of the five calls of one container."""

    contestant: Contestant
    times: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in OPERATIONS})


def environment(variables: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of every call: a PATH, and these variables."""
    return {**_ENVIRONMENT, **(variables or {})}


def timed(argv: list[str], out: Path, variables: dict[str, str] | None = None, *, fails: bool = False) -> float:
    """Milliseconds from the spawn to the end of a call. Its output goes to files next to `out`. Raises CallError.

    variables: environment variables in addition to PATH. fails: whether the call must fail."""
    error_file = f"{out}.err"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(out), flags, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, error_file, flags, 0o600),
    ]
    began = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, environment(variables), file_actions=actions)
    _, status = os.waitpid(pid, 0)
    ended = time.perf_counter_ns()
    if (status != 0) != fails:
        said = Path(error_file).read_text(errors="replace").strip()
        raise CallError(f"{' '.join(argv)}: exit status {os.waitstatus_to_exitcode(status)}: {said}")
    return (ended - began) / 1e6


def is_tmpfs(path: str) -> bool:
    """Whether the folder is on a tmpfs: proc(5), /proc/self/mounts."""
    lines = os.fsdecode(Path("/proc/self/mounts").read_bytes()).rstrip("\n").split("\n")
    mounts = [line.split(" ")[1:3] for line in lines]
    above = [(point, kind) for point, kind in mounts if f"{path}/".startswith(point.rstrip("/") + "/")]
    return max(enumerate(above), key=lambda entry: (len(entry[1][0]), entry[0]))[1][1] == "tmpfs"


def state_folder(scratch: Path) -> Path:
    """The folder for the runtimes' state: a tmpfs if possible, as their default /run is on most hosts."""
    place = next((place for place in ("/run", "/dev/shm") if os.access(place, os.W_OK) and is_tmpfs(place)), None)
    return Path(place, scratch.name + "-state") if place else scratch / "state"


class Bench:
    """Bundles, and a state directory for each runtime, below one scratch folder."""

    def __init__(self, scratch: Path, run_bundle: Path, sleep_bundle: Path, *, systemd: bool = False) -> None:
        self.scratch = scratch
        self.flags = ["--systemd-cgroup"] if systemd else []
        self.state = state_folder(scratch)
        self.run_bundle = run_bundle
        self.sleep_bundle = sleep_bundle
        self._number = 0

    def command(self, contestant: Contestant, *words: str) -> list[str]:
        """A command line with this runtime's state directory."""
        root = self.state / contestant.name.replace(" ", "-")
        return [contestant.path, "--root", str(root), *self.flags, *words]

    def call(self, contestant: Contestant, *words: str, variables: dict[str, str] | None = None) -> float:
        """Any call, in ms. `out` has its output. variables: as for timed."""
        return timed(self.command(contestant, *words), self.out, variables)

    def reap(self) -> None:
        """Reap the processes of containers that have ended."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def new_id(self) -> str:
        """A new id for a container."""
        self._number += 1
        return f"bench-{os.getpid()}-{self._number}"

    @property
    def out(self) -> Path:
        """The file with the output of the last call."""
        return self.scratch / "out"

    def create(self, contestant: Contestant, container: str) -> float:
        """`create` of a sleeping container, in ms."""
        return self.call(contestant, "create", "--bundle", str(self.sleep_bundle), container)

    def init_of(self, contestant: Contestant, container: str) -> tuple[int, float]:
        """The pid of a container's process, and the time of that `state` call in ms."""
        milliseconds = self.call(contestant, "state", container)
        return int(json.loads(self.out.read_text())["pid"]), milliseconds

    def run_command(self, contestant: Contestant) -> list[str]:
        """The command line of the next `run true`."""
        return self.command(contestant, "run", "--bundle", str(self.run_bundle), self.new_id())

    def run_once(self, contestant: Contestant) -> float:
        """`run true`, in ms."""
        return timed(self.run_command(contestant), self.out)

    def life_cycle(self, contestant: Contestant) -> dict[str, float]:
        """Take one container through the five calls and an `exec true`. Return the ms of each.

        The wait for its end, after kill, is not counted."""
        container = self.new_id()
        times = {"create": self.create(contestant, container), "start": self.call(contestant, "start", container)}
        init, times["state"] = self.init_of(contestant, container)
        times["exec"] = self.call(contestant, "exec", container, "/bin/true")
        times["kill"] = self.call(contestant, "kill", container, "KILL")
        os.waitpid(init, 0)
        times["delete"] = self.call(contestant, "delete", container)
        return times


def measure(
    bench: Bench, contestants: list[Contestant], rounds: int, warm_up: int, tell: Callable[[str], None]
) -> list[Samples]:
    """Rounds in which every runtime has its turn; each round begins with the next runtime. Raises CallError."""
    samples = [Samples(contestant) for contestant in contestants]
    for number in range(-warm_up, rounds):
        turn = number % len(samples)
        for sample in samples[turn:] + samples[:turn]:
            run = bench.run_once(sample.contestant)
            calls = bench.life_cycle(sample.contestant)
            if number < 0:
                continue
            sample.times["run"].append(run)
            sample.times["five"].append(sum(calls[call] for call in CALLS))
            for call, milliseconds in calls.items():
                sample.times[call].append(milliseconds)
        tell(f"round {number + 1} of {rounds}")
    return samples
