"""runc's own integration tests, run against any runtime: the command `conformance/runc-tests`.

They come from runc 1.5.2's Go module, and are written for bats. This tree has only the names of those that ocipy does
not pass, with the reasons.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from conformance import host
from conformance.private import private_host
from conformance.runner import TIMEOUT, spawn_and_wait
from conformance.suite import SuiteError, cache_root, copy_writable, fetch, find_go, go_environment

MODULE = "github.com/opencontainers/runc"
VERSION = "v1.5.2"
MODULE_SUM = "h1:eUUowc2WJCnFYzI87C1WqRcu356Dk/wsoi90y+2wEfE="
DIFFERENCES = Path(__file__).parent / "runc-differences.toml"
# Programs that the tests call, and their packages.
PROGRAMS = {
    "bats": "bats",
    "busybox": "busybox-static",
    "debootstrap": "debootstrap",
    "gawk": "gawk",
    "jq": "jq",
    "gcc": "gcc",
}
# These need a special criu, SELinux, an sshfs server or the network, and can only fail without it.
LEFT_OUT = ("checkpoint.bats", "selinux.bats", "mounts_sshfs.bats")
HELPERS = ("fs-idmap", "key_label", "pidfd-kill", "recvtty", "remap-rootfs", "sd-helper", "seccompagent")
CGROUP = "runc-cgroups-integration-test"  # in the path of each cgroup that the tests make
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
GROUP = "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"
TEST = re.compile(r"^(?P<not>not )?ok \d+ (?P<name>.*?)(?P<skip> # skip.*)?$")


@dataclass
class Results:
    """One runtime's results: `FILE: NAME` of the tests that passed, failed, and skipped themselves."""

    runtime: str
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)

    def add(self, file: str, output: str) -> None:
        """Add bats' output for a file."""
        for line in output.splitlines():
            found = TEST.match(line)
            if found:
                kind = self.failed if found["not"] else self.skipped if found["skip"] else self.passed
                kind.add(f"{file}: {found['name'].strip()}")


def busybox_image(target: Path) -> None:
    """A root filesystem of busybox's programs, as a tar file."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for folder in ("bin", "dev", "etc", "home", "root", "tmp", "usr/bin", "usr/sbin", "var"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "tmp").chmod(0o1777)
        busybox = shutil.which("busybox") or ""
        shutil.copy(busybox, root / "bin/busybox")
        listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for applet in listed:
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        (root / "usr/bin/env").symlink_to("../../bin/env")
        (root / "etc/passwd").write_text(PASSWD)
        (root / "etc/group").write_text(GROUP)
        (root / "etc/shadow").write_text("root:*:::::::\n")
        subprocess.run(["tar", "-C", name, "-cf", str(target), "."], check=True)


def debian_image(target: Path) -> None:
    """A minimal Debian, as a tar file."""
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        command = ["debootstrap", "--variant=minbase", "bookworm", f"{name}/root"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        Path(f"{name}/root").chmod(0o755)
        subprocess.run(["tar", "-C", f"{name}/root", "--exclude=./dev/*", "-cf", str(target), "."], check=True)


def build() -> Path:
    """The folder of the tests, built into the cache if needed. Raises SuiteError, CalledProcessError."""
    folder = cache_root() / f"runc-tests-{VERSION}"
    if folder.is_dir():
        return folder / "tests/integration"
    go, module = fetch(folder, MODULE, VERSION, MODULE_SUM)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        fresh = Path(name) / "runc"
        copy_writable(module, fresh)
        for script in fresh.glob("tests/**/*.sh"):
            script.chmod(script.stat().st_mode | stat.S_IXUSR)
        for helper in HELPERS:
            command = [go, "build", "-tags", "seccomp", "-o", f"tests/cmd/_bin/{helper}", f"./tests/cmd/{helper}"]
            subprocess.run(command, cwd=fresh, env=go_environment(), check=True)
        # Under the names of the files that runc's script would download.
        busybox_image(fresh / "tests/integration/testdata/busybox-amd64.tar.xz")
        debian_image(fresh / "tests/integration/testdata/debian-amd64.tar.xz")
        fresh.rename(folder)
    return folder / "tests/integration"


def run(tests: Path, runtime: str, files: list[str], limit: float) -> Results:
    """Run the files with a runtime, each in a new mount namespace."""
    results = Results(runtime)
    go = Path(find_go()).parent
    environment = {**go_environment(), "RUNC": runtime, "PATH": f"{go}:{os.environ['PATH']}"}
    for file in files:
        command = ["unshare", "-m", "--propagation", "private", "bats", "--tap", file]
        before = host.cgroups()
        with tempfile.TemporaryDirectory() as name:
            status, _ = spawn_and_wait(command, Path(name), environment, limit, tests)
            results.add(file, Path(name, "stdout").read_text(errors="replace"))
        if status == TIMEOUT:
            print(f"{file}: ended after {limit:g} s", file=sys.stderr)
        host.end_descendants()
        host.remove_cgroups(sorted(path for path in host.cgroups() - before if CGROUP in path))
        print(f"{Path(runtime).name}: {file}: {len(results.failed)} failed so far", file=sys.stderr)
    return results


def judge(ours: Results, reference: Results | None, reasons: dict[str, str]) -> list[str]:
    """Unexpected results: a failure without a reason that the reference passes, or a reason for a test that passes."""
    failed = ours.failed - (reference.failed if reference else set())
    return [f"{name}: failed" for name in sorted(failed - reasons.keys())] + [
        f"{name}: passed, but is listed" for name in sorted(ours.passed & reasons.keys())
    ]


def load_reasons() -> dict[str, str]:
    """The reasons of DIFFERENCES, by `FILE: NAME`."""
    document = tomllib.loads(DIFFERENCES.read_text())
    return {f"{file}: {name}": reason for file, tests in document.items() for name, reason in tests.items()}


def report(all_results: list[Results], reasons: dict[str, str]) -> str:
    """A line for each runtime, and the tests that differ."""
    lines = [
        f"{one.runtime}: {len(one.passed)} passed, {len(one.failed)} failed, {len(one.skipped)} skipped by themselves"
        for one in all_results
    ]
    for name in sorted(all_results[0].failed):
        also = "; ".join(f"{Path(one.runtime).name} fails too" for one in all_results[1:] if name in one.failed)
        lines.append(f"  not passed: {name}: {reasons.get(name) or also or 'NOT EXPECTED'}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the command. Return its exit status: 0, 1 (an unexplained failure), 2 (it could not run)."""
    parser = argparse.ArgumentParser(prog="conformance/runc-tests", description=__doc__)
    parser.add_argument("--runtime", required=True, metavar="PATH", help="the runtime")
    parser.add_argument("--reference", metavar="PATH", help="another runtime; what it fails too is expected")
    parser.add_argument("--only", action="append", default=[], metavar="FILE", help="this .bats file only")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="limit for each file (600)")
    arguments = parser.parse_args(argv)
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        need = f"install these packages: {' '.join(missing)}" if missing else "needs root, as runc's tests do"
        print(f"conformance/runc-tests: {need}", file=sys.stderr)
        return 2
    try:
        tests = build()
        files = arguments.only or sorted(path.name for path in tests.glob("*.bats") if path.name not in LEFT_OUT)
        runtimes = [arguments.runtime, *([arguments.reference] if arguments.reference else [])]
        host.become_subreaper()
        with private_host() as changed:
            results = [run(tests, str(Path(path).absolute()), files, arguments.timeout) for path in runtimes]
        reasons = load_reasons()
    except (SuiteError, subprocess.CalledProcessError, OSError) as error:
        print(f"conformance/runc-tests: {error}", file=sys.stderr)
        return 2
    print(report(results, reasons))
    surprises = changed + judge(results[0], results[1] if len(results) > 1 else None, reasons)
    for line in surprises:
        print(f"unexpected: {line}")
    return 1 if surprises else 0
