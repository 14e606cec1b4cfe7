"""What a runtime itself adds to criu's time, in `checkpoint` and `restore`.

A small program in criu's place notes when criu begins and ends. The rest of the command is the runtime's own.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from bench import sid
from bench.measure import Bench, CallError
from bench.runtimes import Contestant, MissingError

ROUNDS = 8
# Becomes criu, and has an orphan wait for its end: a runtime may kill criu, which must not end the stopwatch. Appends
# "+" at the beginning, and the ns that criu took at its end, to the file TIMES.
PROGRAM = r"""
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}
static void note(const char *text) {
    int times = open(TIMES, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    dprintf(times, "%s\n", text);
    close(times);
}
int main(int argc, char **argv) {
    long long began = now();
    struct pollfd criu = {.fd = (int)syscall(SYS_pidfd_open, getpid(), 0), .events = POLLIN};
    note("+");
    pid_t child = fork();
    if (child == 0) {
        char took[32];
        if (fork() > 0)
            _exit(0);
        dup2(criu.fd, 0);
        close_range(1, ~0U, 0);
        criu.fd = 0;
        poll(&criu, 1, -1);
        snprintf(took, sizeof(took), "%lld", now() - began);
        note(took);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    execv(CRIU, argv);
    return 127;
}
"""


def measure_share(
    bench: Bench, contestants: list[Contestant], tell: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Return the medians in ms of the runtime's own share, by command and runtime. Raises MissingError, CallError."""
    times = bench.scratch / "criu-times"
    path = f"{_wrapped(bench.scratch / 'criu', times)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    bundle = _writable(bench)
    found: dict[str, dict[str, list[float]]] = {command: {} for command in ("checkpoint", "restore")}
    for number in range(-1, ROUNDS):
        for contestant in contestants:
            shares = _once(bench, contestant, bundle, path, times)
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
    compiler = shutil.which("cc")
    if compiler is None:
        raise MissingError("no C compiler here, which timing checkpoint without criu needs")
    if shutil.which("iptables-restore") is None:
        raise MissingError("no iptables-restore here, which criu calls in checkpoint: install iptables")
    criu = shutil.which("criu") or sid.program("criu")
    folder.mkdir()
    source = folder / "criu.c"
    source.write_text(PROGRAM)
    defines = [f'-DCRIU="{criu}"', f'-DTIMES="{times}"']
    subprocess.run([compiler, "-O1", "-D_GNU_SOURCE", *defines, str(source), "-o", str(folder / "criu")], check=True)
    return folder


def _ended(times: Path) -> int:
    """Return the ns that all criu processes took, once all have ended. Raises OSError if there was none."""
    while True:
        lines = times.read_text().split()
        if lines.count("+") * 2 == len(lines):
            return sum(int(line) for line in lines if line != "+")
        time.sleep(0.01)


def _writable(bench: Bench) -> Path:
    """The bundle of the sleeping container with a root that can be written: criu needs a directory in it at restore."""
    bundle = bench.scratch / "writable"
    config = json.loads((bench.sleep_bundle / "config.json").read_text())
    config["root"] = {"path": str(bench.sleep_bundle / "rootfs")}
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle


def _once(bench: Bench, contestant: Contestant, bundle: Path, path: str, times: Path) -> dict[str, float]:
    name, images = bench.new_id(), bench.scratch / "images"
    shutil.rmtree(images, ignore_errors=True)
    variables = {"PATH": path}
    # criu can only dump a standard stream that the restored process can have too.
    create = bench.command(contestant, "create", "--bundle", str(bundle), name)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    if subprocess.run(create, check=False, **streams).returncode:  # type: ignore[call-overload]
        raise CallError(f"{contestant.name}: create failed")
    try:
        bench.call(contestant, "start", name)
        shares = {}
        place = ["--image-path", str(images)]
        for command, words in (
            ("checkpoint", [*place, name]),
            ("restore", [*place, "--bundle", str(bundle), "--detach", name]),
        ):
            times.unlink(missing_ok=True)
            whole = bench.call(contestant, command, *words, variables=variables)
            shares[command] = whole - _ended(times) / 1e6
            bench.reap()
        return shares
    except OSError as error:
        raise CallError(f"{contestant.name}: criu was not called by its name in PATH: {error}") from error
    finally:
        bench.call(contestant, "delete", "--force", name)
        bench.reap()
        if os.path.isdir(images):
            shutil.rmtree(images)
