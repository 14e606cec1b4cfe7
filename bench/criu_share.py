"""What a runtime itself adds to criu's time, in `checkpoint` and `restore`.

A small program in criu's place notes when criu begins and ends. The rest of the command is the runtime's own.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench.measure import Bench, CallError
from bench.runtimes import Contestant, MissingError

ROUNDS = 8
# Appends the ns that criu took to the file in its own directory.
PROGRAM = r"""
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}
int main(int argc, char **argv) {
    long long began = now();
    int status = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        execv(CRIU, argv);
        _exit(127);
    }
    waitpid(pid, &status, 0);
    FILE *times = fopen(TIMES, "a");
    if (times) {
        fprintf(times, "%lld\n", now() - began);
        fclose(times);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
"""


def measure_share(
    bench: Bench, contestants: list[Contestant], tell: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Return the medians in ms of the own share, by command and runtime. Raises MissingError, CallError."""
    times = bench.scratch / "criu-times"
    path = f"{_wrapped(bench.scratch / 'criu', times)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    found: dict[str, dict[str, list[float]]] = {command: {} for command in ("checkpoint", "restore")}
    for number in range(-1, ROUNDS):
        for contestant in contestants:
            shares = _once(bench, contestant, path, times)
            for command, share in shares.items():
                if number >= 0:
                    found[command].setdefault(contestant.name, []).append(share)
        tell(f"checkpoint and restore, round {number + 1} of {ROUNDS}")
    return {
        command: {name: statistics.median(values) for name, values in by_name.items()}
        for command, by_name in found.items()
    }


def _wrapped(folder: Path, times: Path) -> Path:
    """Make the program. Return its directory, for PATH."""
    criu, compiler = shutil.which("criu") or shutil.which("criu", path="/usr/sbin:/usr/local/sbin"), shutil.which("cc")
    if criu is None or compiler is None:
        raise MissingError("the own share of checkpoint takes criu and a C compiler")
    folder.mkdir()
    source = folder / "criu.c"
    source.write_text(PROGRAM)
    defines = [f'-DCRIU="{criu}"', f'-DTIMES="{times}"']
    subprocess.run([compiler, "-O1", "-D_GNU_SOURCE", *defines, str(source), "-o", str(folder / "criu")], check=True)
    return folder


def _once(bench: Bench, contestant: Contestant, path: str, times: Path) -> dict[str, float]:
    name, images = bench.new_id(), bench.scratch / "images"
    shutil.rmtree(images, ignore_errors=True)
    variables = {"PATH": path}
    bench.create(contestant, name)
    bench.call(contestant, "start", name)
    try:
        shares = {}
        place = ["--image-path", str(images)]
        for command, words in (
            ("checkpoint", [*place, name]),
            ("restore", [*place, "--bundle", str(bench.sleep_bundle), "--detach", name]),
        ):
            times.unlink(missing_ok=True)
            whole = bench.call(contestant, command, *words, variables=variables)
            shares[command] = whole - sum(int(line) for line in times.read_text().split()) / 1e6
            bench.reap()
        return shares
    except OSError as error:
        raise CallError(f"{contestant.name}: criu was not called by its name in PATH: {error}") from error
    finally:
        bench.call(contestant, "delete", "--force", name)
        bench.reap()
        if os.path.isdir(images):
            shutil.rmtree(images)
