"""Odd values of every flag of `box run`: one clear line, docker's exit status, no traceback, nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.conftest import Box, needs


@pytest.fixture(scope="module")
def places() -> Iterator[Path]:
    """One for all tests, which share the image."""
    path = Path(tempfile.mkdtemp(prefix="box-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def is_one_clear_line(text: str) -> bool:
    """The error, and at most a hint below it, indented."""
    first, *rest = text.rstrip("\n").split("\n")
    clear = first.startswith("ocipy: box") and "Errno" not in text and "Traceback" not in text
    return clear and "internal error" not in text and all(line.startswith("  ") for line in rest) and len(rest) < 3


REFUSED = {
    # A volume's name, an anonymous volume, a ~ that no shell has seen.
    "-v name:/data": "./name:/data",
    "-v ~/x:/data": "did not expand",
    "-v /data": "--tmpfs /data",
    "-v data": "SOURCE:DESTINATION",
    "-v :/x": "SOURCE:DESTINATION",
    "-v ": "SOURCE:DESTINATION",
    "-v /tmp:x": "SOURCE:DESTINATION",
    "-v /a:b:/c": "--mount type=bind",
    "-v /tmp:/": "replace the box's root",
    "-v /tmp:/x/../..": "without ..",
    "-v /tmp:/x:foo": "unknown option 'foo'",
    "-v /tmp:/x:ro:rw": "unknown option 'ro:rw'",
    "-v /tmp:/x:ro,rw": "contradict",
    "-v /tmp:/x:rshared,private": "contradict",
    "-v /tmp:/x:nocopy": "unknown option",
    "-v /tmp:/x:U": "chown",
    "-v /etc/hostname:/etc": "which is a directory",
    "-v /proc/none:/x": "cannot create the missing source",
    "-v /etc/passwd/x:/x": "Not a directory",
    "-v /tmp:/x --tmpfs /x": "two mounts at /x",
    "-v /tmp:/x -v /srv:/x/": "two mounts at /x",
    "-v /tmp:/proc": "only a procfs",
    "--mount type=volume,source=name,target=/x": "type=bind",
    "--mount source=/tmp,target=/x": "type=bind",
    "--mount type=bind,source=/none,target=/x": "no such source",
    "--mount type=bind,source=/tmp": "absolute path",
    "--mount type=bind,target=/x": "source=",
    "--mount type=bind,source=/tmp,target=/x,bogus=1": "unknown name 'bogus'",
    "--mount type=bind,source=/tmp,source=/srv,target=/x": "twice",
    "--mount type=bind,source=/tmp,target=/x,tmpfs-size=1m": "cannot be used with",
    "--mount type=bind,source=/tmp,target=/x,bind-propagation=up": "rslave",
    "--mount type=tmpfs,target=/x,readonly=maybe": "true or false",
    "--mount ": "names: type",
    "--tmpfs x": "absolute path",
    "--tmpfs ": "absolute path",
    "--tmpfs /": "replace the box's root",
    "--tmpfs /x:size=much": "size",
    "--tmpfs /x:bogus": "bogus",
    "--device /dev/none": "the device does not exist",
    "--device null": "PATH",
    "--device ": "PATH",
    "--device /etc/passwd": "not a device",
    "--device /etc": "no devices in the directory",
    "--device /dev/null:/dev/x:q": "PATH",
    "--device /dev/null:/dev/x:rw:x": "PATH",
    "-e ": "NAME=VALUE",
    "-e =x": "NAME=VALUE",
    "--env-file /none": "cannot read --env-file",
    "--env-file /etc": "Is a directory",
    "--cpus 0": "number of CPUs",
    "--cpus -1": "number of CPUs",
    "--cpus half": "number of CPUs",
    "--cpus 1e400": "number of CPUs",
    "--cpus 1 --cpu-quota 1000": "the same limit",
    "--cpu-shares many": "invalid int",
    "--cpu-shares 1": "2 to 262144",
    "--cpu-shares -5": "less than 0",
    "--cpu-quota 1": "quota",
    "--cpu-period 1": "period",
    "--cpuset-cpus 4095": "cpu",
    "--cpuset-cpus x": "list of numbers",
    "--cpuset-cpus 0-": "list of numbers",
    "--pids-limit many": "invalid int",
    "--pids-limit 99999999999999999999": "9223372036854775807",
    "-m ": "a size",
    "-m 1": "memory",
    "-m 0.5": "a size",
    "-m 1e999999999": "more than the kernel can count",
    "-m -1": "a size",
    "-m 99999999999999999999": "more than the kernel can count",
    "-m 50m --memory-swap 5m": "at least --memory",
    "--memory-swap 5m": "needs --memory",
    "-m 50m --memory-reservation 60m": "must not exceed --memory",
    "-u nobody-of-that-name": "user nobody-of-that-name is not in",
    "-u 0:no-such-group": "group no-such-group is not in",
    "-u -1": "user -1 is not in",
    "-u 4294967295": "not a valid user id",
    "-u 0:4294967295": "not a valid group id",
    "-u 0:0:0": "group 0:0 is not in",
    "-w x": "absolute path",
    "-w /bin/busybox": "Not a directory",
    "--hostname a/b": "is not a valid host name",
    "--hostname=-a": "is not a valid host name",
    "--hostname a..b": "is not a valid host name",
    "--name a/b": "is not a valid name for a box",
    "--sysctl x=y": "is not namespaced",
    "--sysctl kernel.panic=1": "is not namespaced",
    "--sysctl net.none=1": "does not have this parameter",
    "--sysctl x": "NAME=VALUE",
    "--sysctl a/../b=1": "not the name of a sysctl",
    "--ulimit nofile": "NAME=SOFT",
    "--ulimit nofile=5:2": "exceeds the hard",
    "--ulimit nofile=-2": "NAME=SOFT",
    "--ulimit nofile=999999999999": "RLIMIT_NOFILE",
    "--security-opt bogus": "unknown option",
    "--security-opt seccomp=/none": "seccomp profile",
    "--security-opt seccomp=/etc/passwd": "seccomp profile",
    "--security-opt no-new-privileges=maybe": "true or false",
    "--cap-add BOGUS": "unknown capability",
    "--cap-drop ": "unknown capability",
    "--userns bogus": "auto, host",
    "--network bogus": "bridge, host",
    "--network container:x": "bridge, host",
    "--dns example.org": "address of a name server",
    "-l =x": "NAME=VALUE",
    "--shm-size much": "a size",
    "--shm-size 0": "no limit",
    "--shm-size 99999999999999999999": "more than the kernel can count",
    "-p 80": "write 80:80",
    "-p 0:80": "ADDRESS",
    "-p 80:65536": "ADDRESS",
    "-p :80": "ADDRESS",
    "-p 80:80/sctp": "tcp or udp",
    "-p 80-82:80-81": "range",
    "-p 82-80:82-80": "range",
    "-p localhost:80:80": "is not an address",
    "-p ::1:80:80": "is not an address",
    "-p 80:80 -p 127.0.0.1:80:81": "published twice",
    "-p 80:80": "--network none",
    "--bogus": "--bogus",
    "--mem 50m": "--mem",
    "--entrypoint /etc/none": "no such file",
}
ACCEPTED = [
    "-v /tmp:/x:ro,z", "-v /tmp:/x:rw,Z", "-v /tmp:/x:rslave", "-v /tmp:/x:cached", "-v /tmp:/x:",
    "--mount type=bind,src=/tmp,dst=/x,ro", "--mount type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=700",
    "--tmpfs /x", "--tmpfs /x:", "--tmpfs /x:rw,size=1m,mode=1777,exec", "--device /dev/null:rw",
    "--device /dev/null:/dev/x:rw", "-e A=B=C", "-e NOT_SET_ANYWHERE", "-e A=", "--cpus 1e0", "--cpu-shares 0",
    "--cpu-quota -1", "--pids-limit 0", "--pids-limit -1", "-m 0", "-m 50m --memory-swap 0", "-m 50m --memory-swap -1",
    "-u :0", "-u 0:0", "-w /new/directory", "--hostname a.b-c", "--hostname ", "--name ",
    "--sysctl kernel.domainname=x", "--ulimit core=0 --ulimit core=1:2", "--security-opt no-new-privileges",
    "--security-opt seccomp=unconfined", "--cap-drop ALL", "--cap-add net_admin", "--userns auto", "--userns host",
    "-l a", "--init", "--read-only", "--dns 192.0.2.53", "--shm-size 1m",
]  # fmt: skip


def words_of(case: str) -> list[str]:
    """The words of a case; after a trailing space, the last one is empty."""
    return case.split(" ")


def needs_named(told: str) -> None:
    """Skip if the host really lacks the controller that the error says it lacks."""
    lacking = re.search(r"the cgroup controller (\S+) is not available on this host", told)
    if lacking:
        needs(lacking[1])


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(box: Box, here: Path, case: str) -> None:
    done = box("run", "--network", "none", *words_of(case), "busybox", "true", status=None)
    needs_named(done.stderr)
    assert is_one_clear_line(done.stderr), done.stderr
    assert REFUSED[case] in done.stderr
    assert done.returncode == (127 if "entrypoint" in case else 125)
    assert os.listdir(here) == []
    assert box("ps", "-aq").stdout == ""


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_accepted(box: Box, here: Path, case: str) -> None:
    done = box("run", "--rm", "--network", "none", *words_of(case), "busybox", "true", status=None)
    needs_named(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(here) == []


@pytest.mark.parametrize("detach", [(), ("-d",)])
@pytest.mark.parametrize(
    ("command", "status"), [("none", 127), ("/etc/none", 127), ("/etc", 126), ("/etc/passwd", 126)]
)
def test_a_command_that_cannot_be_executed(box: Box, command: str, status: int, detach: tuple[str, ...]) -> None:
    done = box("run", *detach, "--network", "none", "busybox", command, status=status)
    assert is_one_clear_line(done.stderr) and command in done.stderr
    assert box("ps", "-aq").stdout == ""


def test_a_command_that_exec_cannot_execute(box: Box) -> None:
    box("run", "-d", "--name", "one", "--network", "none", "busybox", "sleep", "1000")
    for words, status, told in (
        (["none"], 127, "not found"),
        (["/etc/passwd"], 126, "permission denied"),
        ([], 1, "no command"),
        (["-w", "x", "true"], 1, "absolute path"),
        (["-w", "/bin/busybox", "true"], 1, "Not a directory"),
        (["-u", "none", "true"], 1, "user none"),
        (["-e", "=x", "true"], 1, "NAME=VALUE"),
    ):
        flags, command = words[:-1], words[-1:]
        done = box("exec", *flags, "one", *command, status=status)
        assert is_one_clear_line(done.stderr) and told in done.stderr
    assert box("exec", "-e", "PATH", "one", "sh", "-c", "echo $PATH").stdout.strip() == os.environ["PATH"]


ODD = (
    "stop -t x one", "stop -t nan one", "stop -t inf one", "stop -t -1 one", "restart -t 1e300 one",
    "kill -s -1 one", "kill -s --all one",
    "stop none", "kill -s NONE one", "kill one", "logs none", "wait one", "attach one",
    "exec none true", "start none", "cp one two", "cp one:/none .", "cp /none one:/", "cp one:/etc two:/etc",
    "diff none", "stats none", "top one", "explain one", "inspect none", "inspect --format xml one", "rmi none",
    "pull /none", "pull oci:", "pull -x", "rm none", "ps -x", "bogus", "", "run", "create", "exec", "run --rm",
    "create BAD*NAME",
)  # fmt: skip


@pytest.mark.parametrize("words", ODD)
def test_odd_words_of_other_commands(box: Box, here: Path, words: str) -> None:
    box("create", "--name", "one", "--network", "none", "busybox")
    done = box(*words.split(), status=None)
    assert done.returncode in (1, 2, 125)
    assert is_one_clear_line(done.stderr), done.stderr
    assert os.listdir(here) == []


def test_a_device_under_another_name(box: Box) -> None:
    look = ["busybox", "stat", "-c", "%t:%T", "/dev/one"]
    for flags in ([], ["--userns", "auto"]):  # where no device can be made, the host's is bind-mounted
        for given in ("/dev/null:/dev/one", "/dev/null:/dev/one:rw"):
            assert box.run(*flags, "--device", given, *look) == "1:3\n"
    assert box.run("--device", "/dev/zero", "--userns", "auto", "busybox", "head", "-c", "1", "/dev/zero") == "\0"
    for flags in ([], ["--userns", "auto"]):
        words = ["run", "--rm", "--network", "none", *flags, "--device", "/dev/fuse:/dev/one:r"]
        told = box(*words, "busybox", "sh", "-c", ": < /dev/one && : > /dev/one", status=1).stderr
        assert "create /dev/one: Operation not permitted" in told


def test_a_missing_source_is_made_as_docker_does(box: Box, here: Path) -> None:
    box.run("-v", "./made:/data", "busybox", "touch", "/data/x")
    assert (here / "made/x").exists()
    below = here / "below"
    below.mkdir()
    subprocess.run(["touch", below / "own"], check=True)
    os.chdir(below)
    assert box.run("-v", "../made:/data:ro", "-v", ".:/here", "busybox", "ls", "/data", "/here").split() == [
        "/data:", "x", "/here:", "own",
    ]  # fmt: skip
    write = ["-v", "../made:/data:ro", "busybox", "touch", "/data/y"]
    assert "Read-only" in box("run", "--rm", "--network", "none", *write, status=1).stderr


def test_a_dry_run_makes_nothing(box: Box, here: Path) -> None:
    box("run", "--dry-run", "--network", "none", "-v", "./made:/data", "busybox")
    assert os.listdir(here) == []


def test_a_source_with_a_colon_and_a_link_that_leads_nowhere(box: Box, here: Path) -> None:
    (here / "a:b").mkdir()
    assert box.run("--mount", f"type=bind,source={here}/a:b,target=/x", "busybox", "ls", "/x") == ""
    (here / "link").symlink_to("nowhere")
    done = box("run", "--network", "none", "-v", "./link:/x", "busybox", "true", status=125)
    assert is_one_clear_line(done.stderr) and "File exists" in done.stderr


def test_variables_of_a_file(box: Box, here: Path) -> None:
    (here / "env").write_bytes(b"# comment\n\nA=1 2\nPATH\nNONE_SUCH\n")
    shown = box.run("--env-file", "env", "busybox", "sh", "-c", 'echo "$A"; echo $PATH')
    assert shown == f"1 2\n{os.environ['PATH']}\n"


def test_what_is_not_utf_8_is_refused(box: Box, here: Path) -> None:
    (here / "env").write_bytes(b"B=\xff\n")
    for words in (["--env-file", "env", "busybox"], ["busybox", "echo", "a\udcffb"]):
        done = box("run", "--network", "none", *words, status=125)
        assert is_one_clear_line(done.stderr) and "\\xff" in done.stderr and "is not UTF-8" in done.stderr


def test_a_tmpfs_is_noexec_by_default(box: Box) -> None:
    copy = "cp /bin/busybox /x/sh; /x/sh -c 'echo runs'"
    box("run", "--rm", "--network", "none", "--tmpfs", "/x", "busybox", "sh", "-c", copy, status=126)
    assert box.run("--tmpfs", "/x:exec", "busybox", "sh", "-c", copy) == "runs\n"


def test_the_last_value_of_a_name_wins_and_an_empty_entrypoint_removes_the_images(box: Box) -> None:
    limits = ["--ulimit", "nofile=10:20", "--ulimit", "nofile=30:40"]
    assert box.run(*limits, "busybox", "sh", "-c", "ulimit -n") == "30\n"
    assert box.run("--entrypoint", "", "busybox", "echo", "x") == "x\n"
