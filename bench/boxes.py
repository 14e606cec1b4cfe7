"""`bench/run --boxes`: compares a box with the engines' containers. It times `run --rm` from call to end, without a
network and with a bridge. It runs in new network and mount namespaces, so the host gets no bridges and rules."""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.engine import IMAGE, Podman
from bench.measure import Bench, timed
from bench.runtimes import MissingError
from conformance.host import cgroups, reap, remove_cgroups

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
NETWORKS = ("none", "bridge")
# The highest allowed ratio of a box's time to that of podman with its default runtime.
BAR = 0.35
DOCKER_PATIENCE = 60.0  # seconds
DOCKER_PARENT = f"ocipy-bench-docker-{os.getpid()}"


@dataclass
class Row:
    """One way to run `true` in a container. command: by network; times: milliseconds by network."""

    name: str
    command: Callable[[str], list[str]]
    variables: dict[str, str]
    times: dict[str, list[float]] = field(default_factory=lambda: {network: [] for network in NETWORKS})

    def median(self, network: str) -> float:
        """In ms."""
        return statistics.median(self.times[network])


def enter_namespaces() -> None:
    """Give this process its own bridges, rules and mounts. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def measure_boxes(bench: Bench, ours: str, rounds: int, warm_up: int, tell: Callable[[str], None]) -> list[Row]:
    """Rounds in which each way has its turn; each round begins with the next way. Raises CallError, MissingError."""
    with _podman(bench) as podman, _docker(bench) as docker:
        rows = [_box(bench, ours), *_podmen(podman, ours), *([docker] if docker else [])]
        for number in range(-warm_up, rounds):
            turn = number % len(rows)
            for row in rows[turn:] + rows[:turn]:
                for network in NETWORKS:
                    milliseconds = timed(row.command(network), bench.out, row.variables)
                    if number >= 0:
                        row.times[network].append(milliseconds)
            reap()  # conmon and the shims become our children: their zombies would keep cgroups
            tell(f"boxes, round {number + 1} of {rounds}")
    return rows


def _box(bench: Bench, ours: str) -> Row:
    def command(network: str) -> list[str]:
        return [ours, "box", "run", "--rm", "--network", network, "busybox", "true"]

    return Row("ocipy box", command, {"OCIPY_BOX": str(bench.scratch / "boxes")})


@contextmanager
def _podman(bench: Bench) -> Iterator[Podman]:
    podman = Podman(bench.scratch / "podman", bench.run_bundle / "rootfs")
    try:
        yield podman
    finally:
        podman.remove()
        shutil.rmtree(podman.home, ignore_errors=True)


def _podmen(podman: Podman, ours: str) -> list[Row]:
    """Podman with Debian's default runtime, and with ours."""
    made = []
    for name, runtime in (("podman, crun", shutil.which("crun") or ""), ("podman, ocipy", ours)):
        if not runtime:
            raise MissingError("no crun here: install crun")

        def command(network: str, runtime: str = runtime) -> list[str]:
            parent = f"--cgroup-parent=/{podman.cgroup_parent}"
            words = ["--runtime", runtime, "run", "--rm", f"--network={network}", parent, IMAGE, "true"]
            return [podman.path, *words]

        made.append(Row(name, command, podman.variables))
    return made


@contextmanager
def _docker(bench: Bench) -> Iterator[Row | None]:
    """Docker with a private daemon and its default runtime; None without Docker."""
    client = next((path for path in ("/usr/bin/docker", shutil.which("docker") or "") if os.access(path, os.X_OK)), "")
    if not client or shutil.which("dockerd") is None:
        yield None
        return
    home = bench.scratch / "docker"
    home.mkdir()
    variables = {"DOCKER_HOST": f"unix://{home}/d.sock", "DOCKER_CONFIG": str(home)}
    words = [
        "dockerd",
        "--host",
        variables["DOCKER_HOST"],
        "--data-root",
        f"{home}/data",
        "--exec-root",
        f"{home}/exec",
    ]
    words += [
        "--pidfile",
        f"{home}/pid",
        "--config-file",
        f"{home}/daemon.json",
        "--cgroup-parent",
        f"/{DOCKER_PARENT}",
    ]
    (home / "daemon.json").write_text("{}\n")
    with open(home / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        environment = {**os.environ, **variables}
        deadline = time.monotonic() + DOCKER_PATIENCE
        while subprocess.run([client, "info"], capture_output=True, env=environment).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise MissingError(f"dockerd does not start: {(home / 'log').read_text(errors='replace')[-400:]}")
            time.sleep(0.2)
        archive = bench.scratch / "podman/image.tar"
        subprocess.run([client, "import", archive, "bench"], check=True, capture_output=True, env=environment)
        yield Row(
            "docker, runc",
            lambda network: [client, "run", "--rm", f"--network={network}", "bench", "true"],
            variables,
        )
    finally:
        daemon.terminate()
        daemon.wait()
        remove_cgroups([path for path in cgroups() if DOCKER_PARENT in path.split("/")])


def table(rows: list[Row]) -> str:
    """A row per way, a column per network: the median in ms and its ratio to podman's."""
    cells = [["run --rm busybox true, ms", *(f"--network {network}" for network in NETWORKS)]]
    for row in rows:
        medians = [(row.median(network), row.median(network) / rows[1].median(network)) for network in NETWORKS]
        cells.append([row.name, *(f"{median:.1f} ({ratio:.2f})" for median, ratio in medians)])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in cells)


def bars(rows: list[Row]) -> list[tuple[str, float, float, bool]]:
    """(title, ratio, bar, whether it is met)."""
    ratios = [(network, rows[0].median(network) / rows[1].median(network)) for network in NETWORKS]
    return [(f"box run --network {network}", ratio, BAR, ratio <= BAR) for network, ratio in ratios]
