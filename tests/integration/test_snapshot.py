"""The executable's snapshot, and the overlay that seals the executable (ARCHITECTURE.md)."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from bench import folios
from ocipy.launcher import freeze
from ocipy.linux import constants as c
from tests.harness import Bundle, Container, Runtime, proc_mounts
from tests.harness.host import Host, umount, wait_until
from tests.harness.leaks import reap
from tests.harness.runtime import Running
from tests.unit.launcher.test_hot_modules import BUILD

SNAPSHOT = BUILD / "_snapshot.bin"
pytestmark = [
    pytest.mark.ocipy_only(reason="its own start"),
    pytest.mark.skipif(not SNAPSHOT.exists(), reason="this build has no snapshot"),
]
PAGE, HUGE_PAGE = 4096, 2 << 20
# The place of the lists of pages that commands write to: the number of runs, then room for the runs, 4 bytes each. The
# first list is that of every command, then of create and run, then of exec.
TOUCHED, MAX_RUNS = 2 * PAGE, 256
THREAD = 72  # and the address of the thread's state
# What is in front of the executable, if anything is, executes it where it cannot continue from the snapshot by itself.
BEHIND = BUILD / "ocipy-python"
EXECUTABLE = BEHIND if BEHIND.exists() else BUILD / "ocipy"
WITH_LD_SO = {"LD_BIND_NOW": ""}  # a variable of ld.so: the executable must be executed


HeldUp = Callable[[], AbstractContextManager[Running]]


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.fixture
def held_up(runtime: Runtime) -> Iterator[HeldUp]:
    """Begins a command that waits for a container's lock. Once the lock is free, it answers normally."""
    directory = runtime.root / "nobody"
    directory.mkdir(parents=True)
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)

    @contextmanager
    def begin() -> Iterator[Running]:
        fcntl.flock(lock, fcntl.LOCK_EX)
        call = runtime.begin("delete", "nobody")
        try:
            wait_until(lambda: "nanosleep" in Path(f"/proc/{call.pid}/wchan").read_text(), "the wait for the lock")
            yield call
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)
        call.wait().fails("container does not exist")

    yield begin
    os.close(lock)
    directory.rmdir()


@pytest.fixture
def waiting(held_up: HeldUp) -> Callable[[], str]:
    """The mappings of a runtime process."""

    def look() -> str:
        with held_up() as call:
            return maps(call.pid)

    return look


def test_python_is_mapped_not_started(waiting: Callable[[], str]) -> None:
    found = waiting()
    assert str(SNAPSHOT) in found
    assert str(BUILD / "_frozen.bin") not in found


def spoiled(data: bytes, what: str) -> bytes:
    if what == "cut off":
        return data[:-PAGE]
    if what == "of another executable":
        return data[:8] + bytes(byte ^ 1 for byte in data[8:28]) + data[28:]
    if what == "of another format":
        return b"X" + data[1:]
    return data


@pytest.mark.parametrize(
    "what",
    ["cut off", "of another executable", "of another format", "writable by others", "of another user"],
)
def test_a_wrong_snapshot_is_not_used(waiting: Callable[[], str], work: Path, what: str) -> None:
    other = work / "snapshot"
    other.write_bytes(spoiled(SNAPSHOT.read_bytes(), what))
    other.chmod(0o666 if what == "writable by others" else 0o644)
    if what == "of another user":
        os.chown(other, 1234, 1234)
    subprocess.run(["mount", "--bind", other, SNAPSHOT], check=True)
    try:
        found = waiting()
    finally:
        umount(str(SNAPSHOT))
    assert "_frozen.bin" in found, "it started Python"
    assert "snapshot" not in found


def test_a_snapshot_of_older_modules_is_not_used(waiting: Callable[[], str], work: Path) -> None:
    frozen = work / "frozen"
    shutil.copy2(BUILD / "_frozen.bin", frozen)
    times = frozen.stat()
    data = bytearray(frozen.read_bytes())
    data[freeze.HEADER.size - 1] ^= 1  # of the digest: size and time stay
    frozen.write_bytes(data)
    os.utime(frozen, ns=(times.st_atime_ns, times.st_mtime_ns))
    subprocess.run(["mount", "--bind", frozen, BUILD / "_frozen.bin"], check=True)
    try:
        found = waiting()
    finally:
        umount(str(BUILD / "_frozen.bin"))
    assert str(SNAPSHOT) not in found


def with_list(work: Path, runs: bytes) -> Path:
    """The snapshot with another list."""
    other = work / "snapshot"
    data = bytearray(SNAPSHOT.read_bytes())
    data[TOUCHED : TOUCHED + 2 + len(runs)] = struct.pack("=H", len(runs) // 4) + runs
    other.write_bytes(data)
    other.chmod(0o644)
    return other


@pytest.mark.needs_program("strace")
@pytest.mark.parametrize(
    ("words", "lists"),
    [
        ("--version", [0]),
        ("create --bundle /nowhere exec", [0, 1]),
        ("run -b /nowhere c", [0, 1]),
        ("exec run true", [0, 2]),
    ],
)
def test_pages_that_commands_write_to_are_copied_together(
    runtime: Runtime, work: Path, words: str, lists: list[int]
) -> None:
    if Host().kernel < (5, 14):
        pytest.skip("needs Linux 5.14: MADV_POPULATE_WRITE")
    if lists != [0] and (os.geteuid() or not BEHIND.exists()):
        pytest.skip("needs root and the launcher without glibc: others only copy the pages of every command")
    trace = ["strace", "-o", str(work / "calls"), "-e", "trace=madvise"]
    runtime.spawn([*trace, runtime.path, *words.split()]).wait()
    places = [TOUCHED + number * (2 + 4 * MAX_RUNS) for number in range(3)]
    numbers = [struct.unpack_from("=H", SNAPSHOT.read_bytes(), place)[0] for place in places]
    calls = [line for line in (work / "calls").read_text().splitlines() if "MADV_POPULATE_WRITE" in line]
    assert all(10 < number < MAX_RUNS for number in numbers), "the trials have succeeded"  # since Python 3.12 fewer
    copied = len([line for line in calls if line.endswith("= 0")])
    assert copied == len(calls) == sum(numbers[number] for number in lists)


@pytest.mark.needs_program("strace")
@pytest.mark.skipif(not BEHIND.exists(), reason="this build has no launcher without glibc")
def test_large_parts_can_be_mapped_by_huge_pages(runtime: Runtime, work: Path) -> None:
    """Code, constants and heap are at multiples of 2 MiB in memory and in the file, and consist of whole huge pages.

    A page fault in any mapping that is not advised would read single pages around, into huge pages of the others too.
    """
    runtime.spawn(["strace", "-o", str(work / "calls"), "-e", "trace=mmap,madvise", runtime.path, "--version"]).wait()
    calls = (work / "calls").read_text()
    mapped = [
        (int(start, 16), int(size), protection, int(offset, 16))
        for start, size, protection, offset in re.findall(r"^mmap\((0x\w+), (\d+), (\S+), .*, (0x\w+)\)", calls, re.M)
    ]
    parts = re.findall(r"^mmap\((0x\w+), (\d+), .*MAP_FIXED_NOREPLACE, \d+,", calls, re.M)
    assert len(parts) > 10
    for start, size in parts:
        assert f"madvise({start}, {size}, MADV_HUGEPAGE)" in calls
    huge = [part for part in mapped if part[1] >= HUGE_PAGE]
    assert {protection for _, _, protection, _ in huge} >= {"PROT_READ|PROT_EXEC", "PROT_READ", "PROT_READ|PROT_WRITE"}
    for start, size, _, offset in huge:
        assert start % HUGE_PAGE == size % HUGE_PAGE == offset % HUGE_PAGE == 0


@pytest.fixture
def uncached(work: Path) -> Iterator[Path]:
    """A copy in place of the snapshot. Nothing of it is in the page cache."""
    copy = work / "snapshot"
    shutil.copyfile(SNAPSHOT, copy)
    copy.chmod(0o644)
    drop(copy)
    if is_cached(copy):
        pytest.skip("this filesystem cannot drop a file from memory")
    subprocess.run(["mount", "--bind", copy, SNAPSHOT], check=True)
    yield copy
    umount(str(SNAPSHOT))


def drop(file: Path) -> None:
    """Drop a file from the page cache."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def is_cached(file: Path) -> bool:
    """Whether the page cache has the end of a file."""
    with file.open("rb") as opened:
        try:
            return os.preadv(opened.fileno(), [bytearray(1)], file.stat().st_size - 1, os.RWF_NOWAIT) > 0
        except BlockingIOError:
            return False


@pytest.mark.needs_program("strace")
@pytest.mark.parametrize("env", [{}, WITH_LD_SO], ids=["by the launcher", "after ld.so"])
def test_missing_huge_pages_are_read_one_at_a_time(
    runtime: Runtime, uncached: Path, work: Path, env: dict[str, str]
) -> None:
    traced = ["strace", "-o", str(work / "calls"), "-e", "trace=mincore,madvise", runtime.path, "--version"]
    runtime.spawn(traced, env={**os.environ, **env}).wait()
    calls = (work / "calls").read_text()
    events = re.findall(r"^(mincore|madvise)\((0x\w+), (\d+), ([^)]*)\)", calls, re.M)
    missing: list[int] = []
    read: list[int] = []
    segment, at_random, last = (0, 0), False, ""
    for call, start, length, about in events:
        at, size = int(start, 16), int(length)
        if call == "mincore" and last == "MADV_POPULATE_READ":
            if about == "[0]":
                pytest.skip("this kernel does not read whole huge pages")
        elif call == "mincore" and "0" in about:
            missing += [at] if size == PAGE else [at + PAGE - HUGE_PAGE, at + PAGE]
        elif about == "MADV_RANDOM":
            assert (at, size) == segment and not at_random
            at_random = True
        elif about == "MADV_POPULATE_READ":
            assert size == PAGE and at_random
            read.append(at)
        elif about == "MADV_NORMAL":
            assert (at, size) == segment and at_random
            at_random = False
        elif about in ("MADV_HUGEPAGE", "MADV_POPULATE_WRITE"):
            assert not at_random
            segment = (at, size) if about == "MADV_HUGEPAGE" else segment
        last = about
    assert read == missing and not at_random
    assert len(missing) > 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask for the kernel's pages")
def test_many_commands_at_once_leave_huge_pages_in_the_cache(runtime: Runtime, uncached: Path) -> None:
    """If they read the snapshot by page faults, half of it is cached in single pages afterwards."""
    runtime.call("--version")
    try:
        alone = folios.huge_pages(folios.flags_of(uncached))
    except OSError as error:
        pytest.skip(f"the kernel does not say how it caches files: {error}")
    if not alone:
        pytest.skip("this filesystem does not cache files in huge pages, or memory is fragmented")
    drop(uncached)
    assert not is_cached(uncached)
    for call in [runtime.begin("--version") for _ in range(50)]:
        call.wait()
    assert folios.huge_pages(folios.flags_of(uncached)) > 0.8 * alone


def faults(call: Callable[[], object]) -> int:
    """Return how many page faults the processes of a call had."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    call()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


def test_commands_write_to_few_pages(container: Callable[..., Container], runtime: Runtime) -> None:
    """The pages that they write to lie together. Otherwise: 460 page faults for state, 500 for kill. crun: 250."""
    one = container()
    assert min(faults(lambda: runtime.state(one.id)) for _ in range(3)) < 420
    one.start()
    one.end()


def test_a_rehearsal_leaves_nothing_behind(runtime: Runtime, work: Path) -> None:
    """Making a snapshot creates a container (rehearsal.c)."""
    cgroups = set(Path("/sys/fs/cgroup").glob("*/*trial*"))
    runtime.spawn([runtime.path, "_snapshot", str(work / "snapshot")]).wait().ok()
    assert not list(work.glob("*.trial"))
    assert set(Path("/sys/fs/cgroup").glob("*/*trial*")) == cgroups
    left = [process for process in Path("/proc").glob("[0-9]*/cmdline") if str(work) in read(process)]
    assert left == []


def created_trial(directory: Path) -> int:
    """The init of the rehearsal's container; 0 if there is none at the moment."""
    try:
        state = json.loads((directory / "state/trial/state.json").read_text())
        return int(state["pid"]) if (directory / "state/trial/exec.fifo").exists() else 0
    except (OSError, ValueError, KeyError):
        return 0


def has_ended(pid: int) -> bool:
    """If the maker was killed during the rehearsal of exec, we inherit the process in the container. The init ends only
    after we have reaped that one (pid_namespaces(7))."""
    reap()
    return read(Path(f"/proc/{pid}/stat")).rpartition(") ")[2][:1] in ("", "X", "Z")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to see the timers of an init")
def test_a_rehearsal_whose_maker_is_killed_leaves_an_init_that_ends(runtime: Runtime, work: Path) -> None:
    """It has its own session, so a signal to the maker's group does not reach it. It has a timer."""
    found = 0

    def find() -> bool:
        nonlocal found
        found = created_trial(work / "snapshot.trial")
        return found > 0

    command = [runtime.path, "_snapshot", str(work / "snapshot")]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL) as maker:
        wait_until(find, "the container of the rehearsal")
        os.killpg(maker.pid, signal.SIGKILL)
    wait_until(lambda: has_ended(found) or "signal: 15/" in read(Path(f"/proc/{found}/timers")), "its timer")
    if not has_ended(found):
        os.kill(found, signal.SIGTERM)
        wait_until(lambda: has_ended(found), "the end by its signal", 60)  # it may be noting what it has written to


def read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize(
    "runs",
    [struct.pack("=HH", 65535, 1), struct.pack("=HH", 0, 65535), struct.pack("=HH", 0, 0), b"\xff" * 4 * MAX_RUNS],
    ids=["after the end", "over the end", "of nothing", "full"],
)
def test_a_list_of_missing_pages_is_ignored(waiting: Callable[[], str], work: Path, runs: bytes) -> None:
    subprocess.run(["mount", "--bind", with_list(work, runs), SNAPSHOT], check=True)
    try:
        assert "_frozen.bin" not in waiting()
    finally:
        umount(str(SNAPSHOT))


def test_it_contains_nothing_of_its_makers_environment(runtime: Runtime, work: Path) -> None:
    made = work / "snapshot"
    runtime.spawn([runtime.path, "_snapshot", str(made)], env={"TOKEN": "marker-of-a-secret"}).wait().ok()
    assert b"marker-of-a-secret" not in made.read_bytes()
    assert made.stat().st_mode & 0o777 == 0o644
    assert os.listdir(work).count(made.name) == 1


@pytest.mark.skipif(sys.version_info < (3, 14), reason="this Python does not watch its C stack")
def test_python_knows_the_stack_of_this_process(held_up: HeldUp) -> None:
    """Otherwise some processes would consider any depth too deep, and others none."""
    with held_up() as call:
        stack = next(line for line in maps(call.pid).split("\n") if line.endswith("[stack]"))
        (thread,) = struct.unpack_from("=Q", SNAPSHOT.read_bytes(), THREAD)
        with open(f"/proc/{call.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(thread)
            words = struct.unpack("=128Q", memory.read(1024))
    assert int(stack.partition("-")[2].partition(" ")[0], 16) in words


def test_environment_and_arguments_belong_to_the_process(
    runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]
) -> None:
    bundle.write()
    prefix = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"]
    for number in ("2", "3"):
        call = runtime.call("create", "--bundle", bundle.path, new_id(), env={"LISTEN_FDS": number}, prefix=prefix)
        call.fails(f"unable to stat preserved-fd 0 (of {number})")


def test_commands_for_all_of_python_complete_the_start(runtime: Runtime) -> None:
    assert runtime.call("features").ok().json["ociVersionMax"]
    assert "ocipy run" in runtime.call("run", "--help").ok().stdout


@pytest.mark.needs_program("strace")
def test_the_child_that_prepares_the_move_outlives_our_data(runtime: Runtime, bundle: Bundle, work: Path) -> None:
    """It shares our memory while the snapshot replaces the data (hurry.c). A core dump of it would kill us too.

    In front of ocipy-python it has a copy of the memory, because its code is unmapped.
    """
    slow = ["-e", "trace=clone", "-e", "inject=write:delay_enter=50000"]
    trace = ["strace", "-f", "-qq", "-o", str(work / "calls"), *slow]
    runtime.spawn([*trace, runtime.path, "--systemd-cgroup", "create", "--bundle", "/nowhere", "one"]).wait()
    calls = (work / "calls").read_text()
    if not {"CLONE_VM", "flags=0"} & set(re.findall(r"CLONE_VM|flags=0", calls)):
        pytest.skip("no cgroup of this process can be opened: hurry.c")
    assert "SIGSEGV" not in calls


@pytest.mark.needs_program("strace")
@pytest.mark.parametrize(
    "words", ["--help", "run --help", "features", "spec", "validate", "plan", "crate", "run --bundel x"]
)
def test_they_find_all_of_it_in_the_snapshot(runtime: Runtime, bundle: Bundle, work: Path, words: str) -> None:
    if not {"_socket", "_struct", "select", "array"} <= set(sys.builtin_module_names):
        pytest.skip("this Python has too little built in: what needs a library is not in the snapshot")
    if words != "spec":
        bundle.write()
    command = [runtime.path, *words.split()]
    trace = ["strace", "-f", "-o", str(work / "calls"), "-e", "trace=?open,openat,clone,clone3,fork,vfork"]
    said = subprocess.run([*trace, *map(str, command)], cwd=bundle.path, capture_output=True, text=True, check=False)
    assert "internal error" not in said.stderr
    calls = (work / "calls").read_text()
    assert SNAPSHOT.name in calls
    assert re.findall(r"^.*\.py.*$|^.*/python.*$|^\d+ v?fork.*$|^\d+ clone.*$", calls, re.M) == []


@pytest.mark.needs_program("strace")
@pytest.mark.parametrize("words", ["--help", "features", "plan", "spec --bundle", "validate", "no-such-command"])
def test_commands_that_only_use_the_snapshot_do_not_complete_the_start(
    runtime: Runtime, bundle: Bundle, work: Path, words: str
) -> None:
    """Completing the start makes the streams, each with an lseek(2) of its descriptor."""
    bundle.write()
    work.joinpath("new").mkdir()
    arguments = {"plan": [str(bundle.path)], "validate": [str(bundle.path)], "spec --bundle": [str(work / "new")]}
    command = [str(runtime.path), *words.split(), *arguments.get(words, [])]
    trace = work / "trace"
    said = subprocess.run(["strace", "-e", "trace=lseek", "-o", str(trace), *command], capture_output=True, check=False)
    assert b"internal error" not in said.stderr
    calls = trace.read_text().splitlines()
    assert calls, "strace has run"
    assert not [call for call in calls if call.startswith(("lseek(0", "lseek(1", "lseek(2"))]
    if words == "plan":
        woken = subprocess.run(
            ["strace", "-e", "trace=lseek", "-o", str(trace), *command, "--html"], capture_output=True, check=False
        )
        assert woken.returncode == 0, "a page is made from files"
        assert "lseek(1" in trace.read_text()


def check_sealed(init: Container) -> None:
    """Init runs from the overlay, and nothing of the original is mapped."""
    assert os.readlink(f"/proc/{init.pid}/exe") == f"/{EXECUTABLE.name}"
    files = {line.split(None, 5)[5].strip() for line in maps(init.pid).splitlines() if len(line.split(None, 5)) > 5}
    assert "/_snapshot.bin" in files
    assert not [file for file in files if "ocipy" in file and file.count("/") > 1]
    assert b"create" in Path(f"/proc/{init.pid}/cmdline").read_bytes().split(b"\0")


def test_a_waiting_init_is_executed_from_an_overlay_that_nobody_can_write(container: Callable[..., Container]) -> None:
    init = container()
    exe = Path(f"/proc/{init.pid}/exe")
    assert os.readlink(exe) == f"/{EXECUTABLE.name}"
    for flags in (os.O_WRONLY, os.O_RDWR):
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            os.open(exe, flags)
    with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
        os.truncate(exe, 0)
    file = os.open(exe, c.O_PATH)
    try:
        # It is in no mount namespace: without a path it can be neither remounted nor left upwards.
        number = int(Path(f"/proc/self/fdinfo/{file}").read_text().split("mnt_id:")[1].split()[0])
        assert number not in {mount.id for mount in proc_mounts()}
        assert number not in {mount.id for mount in proc_mounts(init.pid)}
    finally:
        os.close(file)
    init.start()
    init.end()


def test_a_waiting_init_maps_a_snapshot_that_nobody_can_write(
    container: Callable[..., Container], bundle: Bundle
) -> None:
    """proc_pid_map_files(5): CAP_SYS_PTRACE and CAP_SYS_ADMIN allow opening init's mapped files.

    An init that runs a startContainer hook keeps its memory while it waits.
    """
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    init = container(bundle.args("sleep", "1000"))
    ours = ("_snapshot.bin", f"/{EXECUTABLE.name}")
    mapped = [line.split() for line in maps(init.pid).splitlines() if line.endswith(ours)]
    assert "/_snapshot.bin" in {words[-1] for words in mapped}
    for words in mapped:
        begin, end = (int(number, 16) for number in words[0].split("-"))
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            os.open(f"/proc/{init.pid}/map_files/{begin:x}-{end:x}", os.O_RDWR)
    init.start()
    init.end()


@pytest.mark.needs_program("strace")
@pytest.mark.parametrize(
    ("fault", "executions"), [("", 1), ("mremap:error=ENOMEM", 2)], ids=["replaced", "executed again"]
)
def test_the_executable_is_replaced_or_executed_again(
    container: Callable[..., Container], bundle: Bundle, work: Path, fault: str, executions: int
) -> None:
    """Nothing of the original is mapped, and libc still works, as its addresses are copied."""
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    inject = ["-e", f"inject={fault}"] if fault else []
    trace = ["strace", "-qq", "-o", str(work / "calls"), "-e", "trace=execve,execveat,mremap", *inject]
    init = container(bundle.args("sleep", "1000"), prefix=trace, env=WITH_LD_SO)
    assert (work / "calls").read_text().count("execve") == executions + BEHIND.exists()
    check_sealed(init)
    init.start()
    init.end()


@pytest.mark.needs_program("strace")
def test_without_an_overlay_a_copy_is_sealed(container: Callable[..., Container], work: Path) -> None:
    refused = ["strace", "-qq", "-o", str(work / "calls"), "-e", "inject=fsopen:error=ENODEV:when=1..2"]
    init = container(prefix=refused)
    assert 'fsopen("overlay"' in (work / "calls").read_text()
    assert os.readlink(f"/proc/{init.pid}/exe").startswith("/memfd:ocipy")
    assert init.status == "created"
    init.start()
    assert init.status == "running"
    init.end()


def test_the_overlay_of_the_executable_gives_nobody_privileges(container: Callable[..., Container]) -> None:
    """It shows the executable's whole directory, read-only, without setuid and devices."""
    one = container()
    flags = os.statvfs(f"/proc/{one.pid}/exe").f_flag
    assert flags & os.ST_RDONLY
    assert flags & os.ST_NOSUID
    assert flags & os.ST_NODEV
