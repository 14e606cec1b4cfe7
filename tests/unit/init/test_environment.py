"""The steps that give the process its environment, working directory and descriptors."""

from __future__ import annotations

import os
import posix
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.init import process
from ocipy.init.context import Init
from ocipy.plan.process import Environment, Execute, MakeCwd, WorkingDirectory
from tests.unit.fake_init import fake_init


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Init]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("user:x:7:7::/home/user:/bin/sh\n")
    made = fake_init(tmp_path)
    yield made
    os.close(made.rootfs)
    os.close(made.proc)


def environment(init: Init, *variables: str, uid: int = 7, listen_fds: int = 0) -> dict[bytes, bytes]:
    process.environment(init, Environment(variables=variables, uid=uid, listen_fds=listen_fds))
    return init.environment


def test_variables_are_bytes(init: Init) -> None:
    assert environment(init, "A=1", "B==", "C=", "HOME=/x", "ü=ö") == {
        b"A": b"1", b"B": b"=", b"C": b"", b"HOME": b"/x", "ü".encode(): "ö".encode(),
    }  # fmt: skip


@pytest.mark.parametrize("given", [[], ["HOME="]])
def test_home_is_set_if_it_is_missing_or_empty(init: Init, given: list[str]) -> None:
    assert environment(init, *given) == {b"HOME": b"/home/user"}
    assert environment(init, *given, uid=8) == {b"HOME": b"/"}


def test_no_variables_of_the_runtime(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    assert environment(init) == {b"HOME": b"/home/user"}


def test_socket_activation(init: Init) -> None:
    found = environment(init, "LISTEN_FDS=9", "LISTEN_PID=99", "HOME=/", listen_fds=2)
    assert found == {b"HOME": b"/", b"LISTEN_FDS": b"2", b"LISTEN_PID": b"1"}


def test_a_working_directory_is_made_in_the_root(init: Init, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    process.make_cwd(init, MakeCwd(path="/link/a/b"))
    assert (tmp_path / "etc/a/b").is_dir()
    process.make_cwd(init, MakeCwd(path="/link/a/b"))


def test_a_working_directory_that_is_a_file_is_left_to_chdir(init: Init) -> None:
    process.make_cwd(init, MakeCwd(path="/etc/passwd"))
    process.make_cwd(init, MakeCwd(path="/etc/passwd/x"))


def test_a_working_directory_that_cannot_be_entered(init: Init) -> None:
    with pytest.raises(Error, match="cannot change to the working directory /no/such"):
        process.working_directory(init, WorkingDirectory(path="/no/such"))


def test_a_working_directory_that_was_removed(init: Init, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    fd = os.open(tmp_path / "gone", os.O_PATH)
    (tmp_path / "gone").rmdir()
    with pytest.raises(Error, match="outside the container's root"):
        process.working_directory(init, WorkingDirectory(path=f"/proc/self/fd/{fd}"))
    os.close(fd)


DESCRIPTORS = """
import os
import posix
from ocipy.init import process
from ocipy.init.context import Init
from ocipy.plan.process import CloseDescriptors
from tests.unit.fake_init import Messages

def opened():
    return sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name))

for fd in range(3, 30):
    os.dup2(0, fd)
init = Init(channel=Messages(), preserved=2, state={})
init.fds.fifo, init.fds.mounts["/mounts/3"], init.fds.seccomp, init.fds.namespaces["pid"] = 7, 9, 12, 13
init.rootfs = 20
process.close_descriptors(init, CloseDescriptors(for_start=True, for_entry=True))
print(opened())
init.report_fd = 7
process.close_descriptors(init, CloseDescriptors())
print(opened())
print(set(init.fds.all()), init.rootfs)
"""


def test_descriptors_are_closed_not_marked() -> None:
    """CVE-2024-21626: a close-on-exec file descriptor is still open for chdir and the path walk of the exec."""
    result = subprocess.run(
        [sys.executable, "-c", DESCRIPTORS], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert result.stdout.splitlines() == ["[0, 1, 2, 3, 4, 7, 13, 20]", "[0, 1, 2, 3, 4, 7]", "{-1} -1"]


EXECUTE = """
import os, sys
from ocipy.errors import Error
from ocipy.init import process
from ocipy.plan.process import Execute
from tests.unit.fake_init import fake_init

init = fake_init("/")
init.command = os.fsencode(sys.argv[1])
init.environment = {b"A": b"1"}
try:
    process.execute(init, Execute(arguments=("zero", "one")))
except Error as error:
    print(error.line)
"""


def execute(path: Path | str) -> str:
    return subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path)], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_exec_passes_the_arguments_and_the_environment_and_nothing_else(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/python3 -IS\nimport os, sys; print(sys.argv[1:], dict(os.environ))\n")
    script.chmod(0o755)
    # without a locale, python3 sets LC_CTYPE itself
    assert execute(script).replace(", 'LC_CTYPE': 'C.UTF-8'", "") == "['one'] {'A': '1'}"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("#!/no/such/interpreter\n", "no such file or directory"), ("\0\0\0\0", "exec format error")],
)
def test_a_failed_exec_is_reported_in_lower_case(tmp_path: Path, content: str, sentence: str) -> None:
    script = tmp_path / "script"
    script.write_text(content)
    script.chmod(0o755)
    assert execute(script) == f'exec "{script}": {sentence}'


@pytest.mark.parametrize("number", process.EXEC_CAUSES)
def test_a_failed_exec_is_reported_with_the_likely_cause(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(number, "x")

    monkeypatch.setattr(posix, "execve", refuse)
    init = fake_init(tmp_path)
    with pytest.raises(Error) as caught:
        process.execute(init, Execute(arguments=("x",)))
    os.close(init.rootfs)
    os.close(init.proc)
    assert caught.value.hint == process.EXEC_CAUSES[number] and caught.value.errno == 0
