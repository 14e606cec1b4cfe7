"""A start without ld.so and glibc's start: from a snapshot that has the libraries (ocipy/launcher/restore.c)."""

from __future__ import annotations

import os
import re
import resource
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime
from tests.harness.host import umount
from tests.integration.test_snapshot import BEHIND, PAGE, SNAPSHOT, WITH_LD_SO, check_sealed, maps

pytestmark = [
    pytest.mark.ocipy_only(reason="its own start"),
    pytest.mark.needs_program("strace"),
    pytest.mark.skipif(not BEHIND.exists(), reason="this build has no launcher without glibc"),
]
# Places in the second page of headers (ocipy/launcher/snapshot_format.h, struct libraries).
RESUME, CPU, COUNTS, FILES = PAGE, PAGE + 32, PAGE + 64, PAGE + 72 + 48 * 32
FILE_SIZE = 136


def executions(runtime: Runtime, work: Path, *words: str, env: dict[str, str] | None = None) -> int:
    """How many programs the runtime executes for a command that fails early."""
    trace = ["strace", "-qq", "-o", str(work / "calls"), "-e", "trace=execve,execveat"]
    runtime.spawn([*trace, runtime.path, *words], env=env or {}).wait()
    return (work / "calls").read_text().count("execve")


@pytest.fixture
def changed(work: Path) -> Iterator[Callable[[Callable[[bytearray], None]], None]]:
    """Changes the snapshot that processes see."""
    mounted = []

    def change(how: Callable[[bytearray], None]) -> None:
        data = bytearray(SNAPSHOT.read_bytes())
        how(data)
        other = work / "snapshot"
        other.write_bytes(data)
        other.chmod(0o644)
        subprocess.run(["mount", "--bind", other, SNAPSHOT], check=True)
        mounted.append(other)

    yield change
    for _ in mounted:
        umount(str(SNAPSHOT))


@pytest.mark.parametrize("words", ["state nobody", "features", "kill nobody", "--version"])
def test_it_takes_one_execution_and_no_ld_so(runtime: Runtime, work: Path, words: str) -> None:
    """The libraries are opened for their build ids alone."""
    trace = ["strace", "-qq", "-y", "-o", str(work / "calls"), "-e", "trace=execve,?open,openat,read,mmap"]
    runtime.spawn([*trace, runtime.path, *words.split()]).wait()
    calls = (work / "calls").read_text()
    assert calls.count("execve") == 1
    assert "ld.so.cache" not in calls
    used = [line for line in calls.splitlines() if line.startswith(("mmap", "read"))]
    assert "_snapshot.bin>" in "".join(used)
    assert not [line for line in used if "libc.so" in line or "ld-linux" in line]


@pytest.mark.parametrize("variable", ["LD_LIBRARY_PATH", "LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX"])
def test_a_variable_of_ld_so_or_glibc_is_heeded(runtime: Runtime, work: Path, variable: str) -> None:
    assert executions(runtime, work, "state", "nobody", env={variable: ""}) == 2


def other_cpu(data: bytearray) -> None:
    data[CPU] ^= 1


def upgraded(data: bytearray) -> None:
    data[FILES + 8] ^= 1  # the first library's build id


def without(data: bytearray) -> None:
    data[RESUME : RESUME + 8] = bytes(8)


def too_many(data: bytearray) -> None:
    struct.pack_into("=I", data, COUNTS + 4, 1 << 20)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (other_cpu, "slow (the snapshot was made on another processor; make build makes one)"),
        (upgraded, "slow (the snapshot was made with other libraries; make build makes one)"),
        (without, "snapshot"),
        (too_many, "snapshot"),
    ],
)
def test_without_the_libraries_the_executable_starts_from_the_rest(
    runtime: Runtime,
    work: Path,
    changed: Callable[[Callable[[bytearray], None]], None],
    how: Callable[[bytearray], None],
    says: str,
) -> None:
    changed(how)
    assert executions(runtime, work, "state", "nobody") == 2
    assert runtime.call("--version").ok().stdout.splitlines()[-1] == f"start: {says}"
    assert runtime.call("features").ok().json["ociVersionMax"]


@pytest.mark.parametrize(("call", "fault"), [("mmap", "error=ENOMEM:when=9"), ("arch_prctl", "error=EPERM:when=2")])
def test_a_start_that_fails_half_way_is_undone_by_an_execution(
    runtime: Runtime, work: Path, call: str, fault: str
) -> None:
    """A seccomp filter around us may forbid arch_prctl(2), whose first call comes from musl itself."""
    trace = ["strace", "-qq", "-o", str(work / "calls"), "-e", f"trace=execve,{call}", "-e", f"inject={call}:{fault}"]
    runtime.spawn([*trace, runtime.path, "state", "nobody"]).wait().fails("container does not exist")
    calls = (work / "calls").read_text()
    assert calls.count("execve") == 2
    assert "(INJECTED)" in calls


def test_the_executable_on_the_overlay_is_executed_if_the_kernel_does_not_take_it(
    container: Callable[..., Container], bundle: Bundle, work: Path
) -> None:
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    trace = ["strace", "-qq", "-o", str(work / "calls"), "-e", "trace=execve,execveat,prctl"]
    # The first call asks whether it can, the second names the process.
    init = container(bundle.args("sleep", "1000"), prefix=[*trace, "-e", "inject=prctl:error=EPERM:when=3"])
    calls = (work / "calls").read_text()
    assert re.search(r"PR_SET_MM_MAP, .*INJECTED", calls)
    assert calls.count("execve") == 2
    check_sealed(init)
    init.start()
    init.end()


@pytest.mark.parametrize("words", ["state nobody", "create --bundle /nowhere nobody"])
def test_nothing_stays_open(runtime: Runtime, work: Path, words: str) -> None:
    """The executable and the snapshot are closed once they are mapped."""
    trace = ["strace", "-qq", "-o", str(work / "calls"), "-e", "trace=?open,openat,fsmount,fsopen,close"]
    runtime.spawn([*trace, runtime.path, *words.split()]).wait()
    descriptors: set[int] = set()
    for line in (work / "calls").read_text().splitlines():
        number = int(line.rpartition("= ")[2].split()[0])
        if line.startswith("close("):
            descriptors.discard(int(line[6 : line.index(")")]))
        elif number >= 0:
            descriptors.add(number)
    assert not descriptors


def test_an_executable_that_cannot_be_executed_is_reported(runtime: Runtime, work: Path) -> None:
    trace = ["strace", "-qq", "-o", str(work / "calls"), "-e", "trace=prctl,execveat"]
    faults = ["-e", "inject=prctl:error=EPERM:when=3", "-e", "inject=execveat:error=EACCES"]
    result = runtime.spawn([*trace, *faults, runtime.path, "create", "-b", "/x", "nobody"]).wait()
    assert result.status == 1
    assert "cannot execute the runtime on its overlay: " in result.stderr
    assert "Permission denied" in result.stderr


def test_nothing_of_the_launcher_is_left_in_init(container: Callable[..., Container], bundle: Bundle) -> None:
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    init = container(bundle.args("sleep", "1000"))
    check_sealed(init)
    assert "10000000-" not in maps(init.pid)
    init.start()
    init.end()


def guard_of(pid: int) -> int:
    """The stack guard of a process: at offset 0x28 of the thread control block."""
    (block,) = struct.unpack_from("=Q", SNAPSHOT.read_bytes(), PAGE + 8)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(block + 0x28)
        return int.from_bytes(memory.read(8), "little")


def test_each_process_has_its_own_stack_and_stack_guard(container: Callable[..., Container], bundle: Bundle) -> None:
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    guards: set[int] = set()
    stacks: set[str] = set()
    for _ in range(3):
        init = container(bundle.args("sleep", "1000"))
        guards.add(guard_of(init.pid))
        stacks.update(line for line in maps(init.pid).splitlines() if line.endswith("[stack]"))
        init.start()
        init.end()
    assert len(guards) == len(stacks) == 3
    assert not any(guard & 0xFF for guard in guards), "the first byte ends a string"


def test_the_thread_has_its_own_id(container: Callable[..., Container], bundle: Bundle) -> None:
    """libc keeps it; set_tid_address(2) tells the kernel where."""
    (place,) = struct.unpack_from("=Q", SNAPSHOT.read_bytes(), PAGE + 16)
    assert place
    calls = subprocess.run(
        ["strace", "-qq", "-e", "trace=set_tid_address", runtime_path(), "--version"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    assert f"set_tid_address({place:#x})" in calls


def runtime_path() -> str:
    """The executable in front."""
    return str(BEHIND.parents[2] / ".venv/bin/ocipy")


@pytest.mark.parametrize("obstacle", ["little address space", "legacy layout"])
def test_if_the_libraries_cannot_be_placed_the_snapshot_has_none(work: Path, obstacle: str) -> None:
    """With little address space the gaps cannot be filled; in the legacy layout the kernel searches elsewhere
    (loader.c)."""
    made = work / "snapshot"

    def limit() -> None:
        if obstacle == "little address space":
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))

    command = [runtime_path(), "_snapshot", str(made)]
    if obstacle == "legacy layout":
        trace = ["strace", "-qq", "-o", str(work / "calls"), "-e", "trace=execve"]
        command = ["setarch", "--addr-compat-layout", *trace, *command]
    subprocess.run(command, preexec_fn=limit, check=True, env={"PATH": "/bin"})
    if obstacle == "legacy layout":
        assert BEHIND.name in (work / "calls").read_text(), "it does not make do with the room there happens to be"
    data = made.read_bytes()
    assert struct.unpack_from("=Q", data, RESUME) == (0,)
    assert len(data) < SNAPSHOT.stat().st_size


def test_libraries_are_known_by_their_build_ids(runtime: Runtime, work: Path) -> None:
    """Not by size and mtime, which another version may share. The file may be touched."""
    data = SNAPSHOT.read_bytes()
    (count,) = struct.unpack_from("=I", data, COUNTS + 4)
    assert count >= 2, "libc and ld.so"
    for at in range(FILES, FILES + count * FILE_SIZE, FILE_SIZE):
        path = data[at + 32 : at + FILE_SIZE].rstrip(b"\0").decode()
        notes = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True).stdout
        assert f"Build ID: {data[at + 8 : at + 28].hex()}" in notes


@pytest.mark.parametrize("words", ["create --bundle /nowhere", "restore --bundle /nowhere"])
def test_one_child_prepares_the_move_if_the_executable_is_executed(runtime: Runtime, work: Path, words: str) -> None:
    """hurry.c is in both programs. Each child waits for the kernel, and create reaps one."""
    trace = ["strace", "-f", "-qq", "-o", str(work / "calls"), "-e", "trace=execve,clone,wait4"]
    command = [*trace, runtime.path, "--systemd-cgroup", *words.split(), "nobody"]
    runtime.spawn(command, env=WITH_LD_SO).wait()
    calls = (work / "calls").read_text()
    if "flags=0" not in calls:
        pytest.skip("no cgroup of this process can be opened: hurry.c")
    assert calls.count("execve") == 2
    assert calls.count("clone(") == 1
    assert "__WCLONE" in calls


@pytest.mark.parametrize("fault", ["missing", "writable by others"])
def test_an_executable_that_is_missing_or_not_ours_is_refused(tmp_path: Path, fault: str) -> None:
    """The launcher refuses it before it executes or maps it."""
    build = tmp_path / "build"
    build.mkdir(mode=0o755)
    shutil.copy2(BEHIND, build)
    source = BEHIND.parents[2] / "ocipy/launcher"
    names = "handing hurry installation loader machine maps overlay quick restore seal stdlib trust".split()
    names += ["mapping", "snapshot_format"]
    options = [
        "-D_GNU_SOURCE", "-DOCIPY_QUICK", "-DOCIPY_SNAPSHOT", f'-DOCIPY_START_LIBRARY="{build}/libocipy-start.so"',
        f'-DOCIPY_PACKAGES="{build}"', f'-DOCIPY_STDLIB="{os.path.dirname(os.__file__)}"',
        "-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu",
        "-static", "-no-pie", "-fno-pie", "-Wl,-Ttext-segment=0x10000000",
    ]  # fmt: skip
    launcher = tmp_path / "ocipy"
    subprocess.run(
        ["musl-gcc", *options, *(str(source / f"{name}.c") for name in names), "-o", str(launcher)], check=True
    )
    if fault == "missing":
        (build / BEHIND.name).unlink()
    else:
        (build / BEHIND.name).chmod(0o777)
    said = subprocess.run([launcher, "--version"], capture_output=True, text=True, check=False)
    assert said.returncode == 1
    place = str(build / BEHIND.name)
    if fault == "missing":
        assert said.stderr == (
            f"ocipy: the runtime is incomplete; build or install it again: {place}: No such file or directory\n"
        )
    else:
        assert said.stderr == f"ocipy: refusing to load {place}: it, or its directory, is writable by others\n"


def test_hooks_get_the_environment_of_this_process(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    for value in ("one", "two"):
        bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"env >{work}/env"]}]}
        bundle.args("true").write()
        runtime.call("run", "--bundle", bundle.path, new_id(), env={"MARK": value, "_OCIPY_START": "x"}).ok()
        found = (work / "env").read_text().splitlines()
        assert f"MARK={value}" in found
        assert not [line for line in found if line.startswith("_OCIPY_START")]


def test_it_works_the_same_with_ld_so(runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    bundle.args("sh", "-c", "echo hello").write()
    for env in ({}, WITH_LD_SO):
        assert runtime.call("run", "--bundle", bundle.path, new_id(), env=env).ok().stdout == "hello\n"
