"""The C launcher: how it seals itself, and what it trusts. With a fake start library."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.linux import constants as c
from tests.harness.host import wait_until

SOURCES = Path(__file__).resolve().parents[3] / "ocipy/launcher"
ALL_SEALS = c.F_SEAL_SEAL | c.F_SEAL_SHRINK | c.F_SEAL_GROW | c.F_SEAL_WRITE
NAMES = ("handing.c", "hurry.c", "installation.c", "launcher.c", "layout.c", "overlay.c", "seal.c", "stdlib.c",
         "trust.c")  # fmt: skip
LAUNCHER = [str(SOURCES / name) for name in NAMES]
LAYOUT = ('-DOCIPY_PYTHON="3.11"', "-DOCIPY_START_UP=2", '-DOCIPY_START_BELOW="/lib/start.so"')
OPTIONS = [
    "-D_GNU_SOURCE",
    f'-DOCIPY_STDLIB="{os.path.dirname(os.__file__)}"',
    *LAYOUT,
    '-DOCIPY_EXECUTABLE_BELOW="/bin/ocipy"',
]
SEALING = ("create", "run", "exec", "restore")

# Prints what the launcher passed on, then waits for the end of standard input.
START = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
int ocipy_start(int argc, char **argv, const char *library) {
    char exe[4096] = "", byte;
    if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0) return 9;
    printf("%s\n%s\n%s\n%d %s\n", exe, library, getenv("_OCIPY_START") ? "set" : "unset", argc, argv[argc - 1]);
    for (char **one = environ; *one; one++) printf("%s\n", *one);
    fflush(stdout);
    while (read(0, &byte, 1) > 0) { }
    return 3;
}
"""


def compiled(directory: Path, place: str) -> Path:
    """A launcher in directory/bin, with its start library in directory/lib."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = directory / "lib/start.so"
    for name in ("bin", "lib"):
        (directory / name).mkdir(mode=0o755)
    (directory / "start.c").write_text(START)
    subprocess.run([compiler, "-shared", "-fPIC", str(directory / "start.c"), "-o", str(library)], check=True)
    options = [*OPTIONS, *place.format(library=library).split("|")]
    subprocess.run([compiler, *options, *LAUNCHER, "-o", str(directory / "bin/ocipy"), "-ldl"], check=True)
    library.chmod(0o755)
    return directory / "bin/ocipy"


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A launcher as in a build in place."""
    return compiled(tmp_path_factory.mktemp("launcher"), '-DOCIPY_START_LIBRARY="{library}"')


def linked(directory: Path) -> Path:
    """A launcher with the start library linked in; next to its library is a small launcher for sealed copies."""
    launcher = compiled(directory, '-DOCIPY_START_LIBRARY="{library}"')
    launcher.rename(directory / "lib/small")
    options = [*OPTIONS, "-DOCIPY_LINKED_START", f'-DOCIPY_START_LIBRARY="{directory}/lib/start.so"']
    options += ['-DOCIPY_SEALED="small"', str(directory / "start.c")]
    subprocess.run(["cc", *options, *LAUNCHER, "-o", str(launcher), "-ldl"], check=True)
    return launcher


class Running:
    """A launcher that has loaded its start library, and waits."""

    def __init__(self, path: Path, *words: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [path, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment or {"A": "b"}
        )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline().decode().rstrip("\n") for _ in range(4)]
        self.exe, self.library, self.variable, self.arguments = lines
        self.proc = Path(f"/proc/{self.process.pid}")

    def finish(self) -> list[str]:
        """Let it end. Returns its environment."""
        output, _ = self.process.communicate()
        assert self.process.returncode == 3
        return output.decode().splitlines()


@pytest.fixture
def sealed(launcher: Path) -> Iterator[Running]:
    running = Running(launcher, "--root", "/x", "run", "name")
    yield running
    running.finish()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("command", SEALING)
def test_commands_that_end_in_a_container_run_from_a_sealed_copy(launcher: Path, command: str) -> None:
    running = Running(launcher, command, "name")
    assert running.exe.startswith("/memfd:ocipy")
    assert running.arguments == "3 name"
    running.finish()


@pytest.mark.parametrize("words", [["state", "name"], ["--version"], [], ["state", "running"]])
def test_other_commands_are_not_sealed(launcher: Path, words: list[str]) -> None:
    running = Running(launcher, *words)
    assert running.exe == str(launcher)
    running.finish()


def children(running: Running) -> list[Path]:
    """The launcher's children: proc_pid_task(5)."""
    number = running.process.pid
    return [Path("/proc", pid) for pid in Path(f"/proc/{number}/task/{number}/children").read_text().split()]


@pytest.mark.parametrize(
    "words", [["--systemd-cgroup", "create"], ["--systemd-cgroup", "run"], ["restore"]], ids=lambda words: words[-1]
)
def test_if_a_process_will_be_moved_a_child_moves_into_its_own_cgroup_first(launcher: Path, words: list[str]) -> None:
    """The child is not reaped, since this start library does not do that. It sends no signal."""
    before = Path("/proc/self/cgroup").read_text()
    running = Running(launcher, *words, "name")
    (child,) = children(running)
    wait_until(lambda: child.joinpath("stat").read_text().rpartition(") ")[2].startswith("Z"))
    fields = child.joinpath("stat").read_text().rpartition(") ")[2].split()
    assert int(fields[49]) == 0, "it ended by itself: exit_code of proc_pid_stat(5)"
    assert int(fields[35]) == 0, "exit_signal"
    assert Path("/proc/self/cgroup").read_text() == before
    running.finish()


@pytest.mark.parametrize("words", [["create"], ["--systemd-cgroup", "exec"], ["--systemd-cgroup", "state"]])
def test_other_commands_have_no_such_child(launcher: Path, words: list[str]) -> None:
    running = Running(launcher, *words, "name")
    assert children(running) == []
    running.finish()


def test_the_copy_has_all_four_seals_and_the_same_bytes(launcher: Path, sealed: Running) -> None:
    with (sealed.proc / "exe").open("rb") as copy:
        assert fcntl.fcntl(copy, c.F_GET_SEALS) & ALL_SEALS == ALL_SEALS
        assert copy.read() == launcher.read_bytes()
        assert os.fstat(copy.fileno()).st_mode & 0o7777 == 0o511


def test_the_copy_can_never_be_written(launcher: Path) -> None:
    running = Running(launcher, "run")
    before = digest(launcher)
    with pytest.raises(OSError, match=r"Text file busy|Permission denied"):
        (running.proc / "exe").open("r+b")
    copy = os.open(running.proc / "exe", os.O_RDONLY)
    running.finish()
    # No process executes it any longer: only the seal can refuse.
    with pytest.raises(OSError, match=r"Operation not permitted|Permission denied"):
        os.truncate(f"/proc/self/fd/{copy}", 0)
    with pytest.raises(OSError, match=r"Operation not permitted|Permission denied"):
        writable = os.open(f"/proc/self/fd/{copy}", os.O_WRONLY)
        os.write(writable, b"x")
    with pytest.raises(PermissionError):
        fcntl.fcntl(copy, c.F_ADD_SEALS, 0x10)
    os.close(copy)
    assert digest(launcher) == before


def test_the_copy_is_named_after_the_program_and_inherits_no_descriptor(sealed: Running) -> None:
    assert (sealed.proc / "comm").read_text() == "ocipy\n"
    assert sorted(int(fd) for fd in os.listdir(sealed.proc / "fd")) == [0, 1, 2]


def test_a_launcher_on_tmpfs_is_not_taken_for_sealed(tmp_path: Path, launcher: Path) -> None:
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or os.statvfs(shared_memory).f_flag & os.ST_NOEXEC:
        pytest.skip("no tmpfs at /dev/shm that allows execution")
    copy = shared_memory / f"ocipy-{os.getpid()}"
    shutil.copy(launcher, copy)
    try:
        with copy.open("rb") as file:
            assert fcntl.fcntl(file, c.F_GET_SEALS) > 0  # an incomplete check would be fooled
        running = Running(copy, "run")
        assert running.exe.startswith("/memfd:ocipy")
        running.finish()
    finally:
        copy.unlink()


@pytest.mark.parametrize("command", ["run", "state"])
def test_the_variable_counts_only_if_it_is_from_us(launcher: Path, command: str) -> None:
    running = Running(launcher, command, environment={"_OCIPY_START": "/tmp/evil.so", "A": "b", "LD_X": "y"})
    assert running.library == str(launcher.parents[1] / "lib/start.so")
    assert running.variable == "unset"
    assert sorted(running.finish()) == ["A=b", "LD_X=y"]


def test_the_start_library_is_found_from_the_launchers_own_place(tmp_path: Path) -> None:
    launcher = compiled(tmp_path, "-DINSTALLED")
    link = tmp_path / "elsewhere"
    link.symlink_to(launcher)
    for path in (launcher, link):
        for command in ("run", "state"):
            running = Running(path, command)
            assert running.library == str(tmp_path / "lib/start.so")
            running.finish()


PLACE = "ocipy/launcher/libocipy-start.so"


@pytest.mark.parametrize(
    "packages",
    ["lib/python3.11/site-packages", "lib64/python3.11/site-packages", "lib/python3.11/dist-packages",
     "lib/python3/dist-packages", "."],
)  # fmt: skip
def test_the_start_library_is_found_where_installers_put_packages(tmp_path: Path, packages: str) -> None:
    """pip as root on Debian, Fedora, Debian's own packages, pip install --target."""
    launcher = compiled(tmp_path, "-DINSTALLED")
    library = tmp_path / packages / PLACE
    library.parent.mkdir(parents=True)
    (tmp_path / "lib/start.so").rename(library)
    running = Running(launcher, "state")
    assert running.library == str(library)
    running.finish()


def test_an_executable_in_a_copied_checkout_says_so(tmp_path: Path) -> None:
    """Its paths are compiled in: it would run the original's code."""
    (tmp_path / "original").mkdir()
    where = f'-DOCIPY_CHECKOUT="{tmp_path}/original"|-DOCIPY_CHECKOUT_EXECUTABLE="bin/ocipy"'
    launcher = compiled(tmp_path / "original", '-DOCIPY_START_LIBRARY="{library}"|' + where)
    Running(launcher, "state").finish()
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    shutil.copy2(launcher, tmp_path / "alone")  # only the executable, on purpose
    Running(tmp_path / "alone", "state").finish()
    for command in ("state", "run"):
        called = subprocess.run([tmp_path / "copy/bin/ocipy", command], capture_output=True, text=True)
        assert called.returncode == 1
        assert called.stderr == (
            f"ocipy: {tmp_path}/copy/bin/ocipy was built in {tmp_path}/original; this checkout is a copy, or was "
            "moved: run `make build` in it\n"
        )


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting an overlay needs root")


@needs_root
@pytest.mark.parametrize("command", SEALING)
def test_with_the_library_linked_in_it_runs_from_an_overlay(tmp_path: Path, command: str) -> None:
    launcher = linked(tmp_path)
    running = Running(launcher, command, "name", environment={"A": "b"})
    assert (running.exe, running.variable, running.arguments) == ("/ocipy", "unset", "3 name")
    assert running.library == str(tmp_path / "lib/start.so")
    assert (running.proc / "comm").read_text() == "ocipy\n"
    assert sorted(int(fd) for fd in os.listdir(running.proc / "fd")) == [0, 1, 2]
    with pytest.raises(OSError, match="Read-only file system"):
        (running.proc / "exe").open("r+b")
    exe = os.open(running.proc / "exe", os.O_RDONLY)
    assert running.finish() == ["A=b"]
    # No process executes it any longer: only the filesystem can refuse.
    with pytest.raises(OSError, match="Read-only file system"):
        os.open(f"/proc/self/fd/{exe}", os.O_WRONLY)
    os.close(exe)


@needs_root
def test_a_user_s_command_runs_from_an_overlay_too(of_others: Path) -> None:
    """A child mounts it in a user namespace, which ends with the child."""
    launcher = linked(of_others)
    user = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"]
    process = subprocess.Popen(
        [*user, launcher, "run", "name"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"A": "b"}, cwd="/"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"/ocipy\n"
    proc = Path(f"/proc/{process.pid}")
    with pytest.raises(OSError, match="Read-only file system"):
        (proc / "exe").open("r+b")
    assert (proc / "ns/user").readlink() == Path("/proc/self/ns/user").readlink()
    assert (proc / "ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    assert sorted(int(fd) for fd in os.listdir(proc / "fd")) == [0, 1, 2]
    process.communicate()
    assert process.returncode == 3


@needs_root
@pytest.mark.parametrize("name", ["with:colon", "with,comma", "long" * 50])
def test_any_place_can_be_a_layer(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    running = Running(linked(tmp_path / name), "run")
    assert running.exe == "/ocipy"
    running.finish()


@pytest.mark.parametrize("identity", ["", "0:0", "1:", "x" * 30])
def test_a_made_up_identity_is_not_believed(launcher: Path, identity: str) -> None:
    running = Running(launcher, "run", environment={"_OCIPY_START": identity + "=/tmp/evil.so"})
    assert running.library == str(launcher.parents[1] / "lib/start.so")
    assert running.exe.startswith("/memfd:ocipy")
    running.finish()


@pytest.fixture
def own_launcher(tmp_path: Path) -> Path:
    """A launcher that a test may damage."""
    return compiled(tmp_path, '-DOCIPY_START_LIBRARY="{library}"')


def refusal(launcher: Path, user: int | None = None) -> str:
    command: list[str | Path] = [launcher, "state"]
    if user is not None:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/")
    assert result.returncode == 1
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize("place", ["lib/start.so", "lib"])
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_start_library_that_others_can_write_is_refused(own_launcher: Path, place: str, mode: int) -> None:
    (own_launcher.parents[1] / place).chmod(mode)
    assert "refusing to load" in refusal(own_launcher)
    assert "writable by others" in refusal(own_launcher)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file to another user")
def test_a_start_library_of_another_user_is_refused(own_launcher: Path) -> None:
    os.chown(own_launcher.parents[1] / "lib/start.so", 1234, 1234)
    assert "belongs to another user" in refusal(own_launcher)


def test_a_missing_or_broken_start_library_is_reported(own_launcher: Path) -> None:
    library = own_launcher.parents[1] / "lib/start.so"
    library.write_bytes(b"no library")
    assert "cannot load the runtime" in refusal(own_launcher)
    library.unlink()
    assert refusal(own_launcher) == (
        f"ocipy: the runtime is incomplete; build or install it again: {library}: No such file or directory\n"
    )


@pytest.fixture
def of_others() -> Iterator[Path]:
    """A directory that another user can enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory(prefix="launcher-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
@pytest.mark.parametrize("place", ['-DOCIPY_START_LIBRARY="{library}"', "-DINSTALLED"], ids=["in place", "installed"])
def test_a_start_library_that_is_closed_to_the_user_is_not_called_missing(of_others: Path, place: str) -> None:
    launcher = compiled(of_others, place)
    (of_others / "lib").chmod(0o700)
    said = refusal(launcher, user=1234)
    assert said == f"ocipy: cannot read the runtime: {of_others}/lib/start.so: Permission denied\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
@pytest.mark.parametrize(
    ("closed", "fault"),
    [
        ("", "which is gone"),
        (".", "which cannot be read: Permission denied"),
        ("encodings", "which cannot be read: Permission denied"),
        ("encodings/__init__.py", "which cannot be read: Permission denied"),
    ],
)
def test_a_missing_or_closed_python_is_reported(of_others: Path, closed: str, fault: str) -> None:
    """Such as root's pyenv, for another user. Then the start library, which has libpython, cannot be loaded either."""
    stdlib = of_others / "python"
    launcher = compiled(of_others, '-DOCIPY_START_LIBRARY="{library}"|-UOCIPY_STDLIB|' + f'-DOCIPY_STDLIB="{stdlib}"')
    (of_others / "lib/start.so").write_bytes(b"no library")
    if closed:
        (stdlib / "encodings").mkdir(parents=True)
        (stdlib / "encodings/__init__.py").touch()
        assert "cannot load the runtime" in refusal(launcher, user=1234)
        (stdlib / closed).chmod(0o600)
    said = refusal(launcher, user=1234).split("\n")
    assert said[0] == f"ocipy: built for the Python in {stdlib}, {fault}"
    assert said[1].startswith("  ")
