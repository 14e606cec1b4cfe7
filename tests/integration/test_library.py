"""The library with real containers, and its example."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ocipy
from tests.harness import Bundle, Runtime
from tests.harness.host import wait_until

pytestmark = pytest.mark.ocipy_only(reason="its own library")

TOP = Path(__file__).resolve().parents[2]
EXAMPLE = TOP / "examples/one_container.py"


@pytest.fixture
def library(runtime: Runtime) -> ocipy.Runtime:
    """The library on the runtime under test and its state directory."""
    return ocipy.Runtime(runtime.root, executable=runtime.path)


def test_the_example_runs_as_the_documentation_says() -> None:
    command = [sys.executable, str(EXAMPLE), "/bin/busybox"]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    documented = re.findall(r"^    (.*\n)", (TOP / "docs/library.md").read_text(), re.MULTILINE)
    # The number of steps depends on the host.
    assert done.stdout.partition("\n")[2] in "".join(documented)
    assert done.stderr == ""


def test_the_life_of_a_container(library: ocipy.Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path) -> None:
    bundle.config["annotations"] = {"org.example": "1"}
    bundle.sh("echo up; exec sleep 1000").write()
    with (work / "output").open("w") as output:
        container = library.create(new_id(), bundle.path, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    state = container.state()
    assert (state.id, state.status, state.bundle) == (container.id, "created", str(bundle.path))
    assert state.annotations == {"org.example": "1"}
    container.start()
    wait_until(lambda: (work / "output").read_text() == "up\n", "its output")
    assert [each.id for each in library.containers()] == [container.id]
    assert container.processes() == (state.pid,)
    for directory in container.cgroup().values():
        assert str(state.pid) in (Path(directory) / "cgroup.procs").read_text().split()
    container.pause()
    assert container.state().status == "paused"
    container.resume()
    with pytest.raises(ocipy.TimeoutExpired):
        container.wait(0.05)
    container.update({"pids": {"limit": 77}})
    container.kill("KILL")
    assert container.wait(20) == 137
    assert container.state().status == "stopped"
    assert container.state().pid == 0
    os.waitpid(state.pid, 0)
    assert container.wait() is None
    container.delete()
    with pytest.raises(ocipy.Error, match="container does not exist"):
        container.state()
    container.delete(force=True)


def test_run_has_the_status_and_the_streams(library: ocipy.Runtime, bundle: Bundle, new_id: Callable[[], str]) -> None:
    bundle.sh("cat; echo oh >&2; exit 1").write()
    done = library.run(new_id(), bundle.path, input=b"in", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"in", b"oh\n")
    bundle.sh("exit 200").write()
    assert library.run(new_id(), bundle.path, stdin=subprocess.DEVNULL).returncode == 200


def test_another_process_in_it(library: ocipy.Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path) -> None:
    bundle.args("sleep", "1000").write()
    with (work / "output").open("w") as output:
        container = library.create(new_id(), bundle.path, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    pid = container.state().pid
    container.start()
    done = container.exec(
        ["sh", "-c", 'cat; echo " $X $PWD $(id -u)"; exit 1'],
        cwd="/bin", env={"X": "a=b"}, user="7", input=b"in", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (1, b"in a=b /bin 7\n", b"")
    process = {"cwd": "/", "args": ["sh", "-c", "echo $Y"], "env": ["PATH=/bin", "Y=z"]}
    assert container.exec(process=process, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout == b"z\n"
    with pytest.raises(ocipy.Error, match="executable file not found in") as caught:
        container.exec(["nonsense"], stdin=subprocess.DEVNULL)
    assert caught.value.status == 255
    with pytest.raises(ValueError, match="arguments, or a process"):
        container.exec()
    plan = container.plan_exec(["id", "-u"], cwd="/bin", user="7", tty=True)
    assert (plan.init[-1].action, plan.init[-1].description) == ("execute", "id -u") and len(container.processes()) == 1
    assert "clone_joining" in str(plan) and plan.host[0].action == "report_pipe"
    with pytest.raises(ocipy.Error, match="must be an absolute path"):
        container.plan_exec(["id"], cwd="bin")
    container.delete(force=True)
    with pytest.raises(ocipy.Error, match="does not exist"):
        container.plan_exec(["id"])
    os.waitpid(pid, 0)


def test_statistics_and_events(library: ocipy.Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path) -> None:
    bundle.args("sleep", "1000").write()
    with (work / "output").open("w") as output:
        container = library.create(new_id(), bundle.path, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    pid = container.state().pid
    container.start()
    assert container.stats()["pids"]["current"] == 1
    events = container.events(0.05)
    for _ in range(2):
        event = next(events)
        assert (event["type"], event["id"]) == ("stats", container.id)
        assert event["data"]["pids"]["current"] == 1
    events.close()
    container.delete(force=True)
    os.waitpid(pid, 0)
    with pytest.raises(ocipy.Error, match="does not exist"):
        next(container.events())


def test_preserved_descriptors_keep_their_numbers(
    library: ocipy.Runtime, bundle: Bundle, new_id: Callable[[], str], work: Path
) -> None:
    """The error channel is not among them."""
    bundle.sh("echo via3 >&3; ls /proc/self/fd").write()
    program = (
        "import sys, os, subprocess; sys.path.insert(0, sys.argv[1]); import ocipy\n"
        "fd = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY); os.dup2(fd, 3)\n"
        "done = ocipy.Runtime(sys.argv[3], executable=sys.argv[4]).run(\n"
        "    sys.argv[5], sys.argv[6], preserve_fds=1, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)\n"
        "print(done.returncode, done.stdout.split())"
    )
    words = [str(TOP), str(work / "file"), library.root, library.executable.path, new_id(), str(bundle.path)]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    # 4 is the directory that ls reads
    assert done.stdout == "0 [b'0', b'1', b'2', b'3', b'4']\n"
    assert (work / "file").read_text() == "via3\n"


def test_errors_are_what_the_command_line_prints(
    library: ocipy.Runtime, runtime: Runtime, bundle: Bundle, new_id: Callable[[], str]
) -> None:
    bundle.config["mounts"].append({"destination": "/data", "source": "/no/such/source", "options": ["bind"]})
    printed = runtime.create(bundle, new_id()).fails().stderr
    with pytest.raises(ocipy.Error) as caught:
        library.create(new_id(), bundle.path)
    error = caught.value
    assert error.pointer == f"/mounts/{len(bundle.config['mounts']) - 1}"
    assert error.errno == 2
    assert error.line in printed
    assert error.hint and error.hint in printed
    assert runtime.ids() == []
    del bundle.config["mounts"][-1]
    bundle.args("/no/such/program").write()
    with pytest.raises(ocipy.Error, match="stat /no/such/program: no such file or directory") as caught:
        library.run(new_id(), bundle.path)
    assert caught.value.pointer == "/process/args/0"
    with pytest.raises(ocipy.Error, match="container does not exist"):
        library.container(new_id()).kill()


def test_a_program_with_threads(
    library: ocipy.Runtime, make_bundle: Callable[..., Bundle], new_id: Callable[[], str]
) -> None:
    """The executable makes the clone, so it holds no lock of the program's threads."""
    from concurrent.futures import ThreadPoolExecutor

    places = [make_bundle().sh(f"exit {number}").write().parent for number in range(4)]
    ids = [new_id() for _ in places]
    with ThreadPoolExecutor(4) as pool:
        statuses = pool.map(
            lambda pair: library.run(pair[0], pair[1], stdin=subprocess.DEVNULL).returncode,
            zip(ids, places, strict=True),
        )
    assert list(statuses) == [0, 1, 2, 3]
