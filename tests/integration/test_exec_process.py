"""exec: the process's properties by default, by flags, and by --process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import (
    Bundle,
    Container,
    open_files,
    parse_status,
    proc_status,
)

MakeContainer = Callable[..., Container]
Detached = Callable[..., int]
FAILED = 255


# Properties.


@pytest.mark.smoke
def test_by_default_it_is_like_the_containers_process(
    container: MakeContainer, bundle: Bundle, detached: Detached
) -> None:
    bundle.process["env"].append("FOO=bar")
    bundle.process["cwd"] = "/usr/bin"
    bundle.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6]}
    one = container(bundle.args("sleep", "1000")).start()
    lines = one.sh("id -u; id -g; id -G; pwd; echo $FOO; echo $HOME; umask").ok().lines
    assert lines == ["1000", "1001", "1001 5 6", "/usr/bin", "bar", "/home/user", "0022"]
    pid = detached(one, "sleep", "1000")
    ours, theirs = proc_status(pid), proc_status(one.pid)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "SigBlk", "SigIgn", "Uid", "Gid"):
        assert ours[name] == theirs[name], name
    assert Path(f"/proc/{pid}/limits").read_text() == Path(f"/proc/{one.pid}/limits").read_text()
    assert set(open_files(pid)) == {0, 1, 2}


@pytest.mark.differs_from_runc("runc reads the bundle again")
def test_config_is_that_of_create(one: Container) -> None:
    one.bundle.process["env"] = ["PATH=/nowhere"]
    one.bundle.process["user"] = {"uid": 77, "gid": 77}
    one.bundle.write()
    assert one.exec("id", "-u").ok().stdout == "0\n"
    (one.bundle.path / "config.json").unlink()
    one.exec("true").ok()


def test_environment(one: Container) -> None:
    result = one.sh(
        "echo $FOO-$BAR-$TERM-$OUTSIDE", "-e", "FOO=1", "-e", "BAR=a=b", "-e", "TERM=dumb", env={"OUTSIDE": "x"}
    )
    assert result.ok().stdout == "1-a=b-dumb-\n"


@pytest.mark.parametrize("entry", ["FOO", "=x", ""])
def test_invalid_environment(one: Container, entry: str) -> None:
    one.exec("true", flags=["--env", entry]).fails(status=FAILED)


def test_working_directory(one: Container) -> None:
    assert one.exec("pwd", flags=["--cwd", "/usr"]).ok().stdout == "/usr\n"
    one.exec("pwd", flags=["--cwd", "/no/such/directory"]).fails("no such", status=FAILED)
    one.exec("pwd", flags=["--cwd", "usr"]).fails("Cwd must be an absolute path", status=FAILED)
    assert not (one.bundle.rootfs / "no").exists()


@pytest.mark.parametrize(
    ("given", "uid", "gid"),
    [("1000", 1000, 3), ("1000:1001", 1000, 1001), ("0:0", 0, 0), ("4294967294", 4294967294, 3)],
)
def test_user(container: MakeContainer, bundle: Bundle, given: str, uid: int, gid: int, detached: Detached) -> None:
    """The group defaults to the container's."""
    bundle.process["user"] = {"uid": 2, "gid": 3, "additionalGids": [4]}
    one = container(bundle.args("sleep", "1000")).start()
    pid = detached(one, "sleep", "1000", flags=("--user", given, "-g", "7", "-g=8"))
    status = proc_status(pid)
    assert status["Uid"].split() == [str(uid)] * 4
    assert status["Gid"].split() == [str(gid)] * 4
    assert status["Groups"].split() == ["4", "7", "8"]


@pytest.mark.parametrize("given", ["user", "1x", "x1", "1:x", "x:1", "0x10", " 1", "9" * 20])
def test_user_that_is_not_a_number(one: Container, given: str) -> None:
    one.exec("true", flags=["--user", given]).fails("bad", status=FAILED)


@pytest.mark.differs_from_runc("runc reads any number modulo 2**32")
@pytest.mark.parametrize("given", ["-1", "4294967295", "4294967296", "+1", "1:4294967295"])
def test_user_out_of_range(one: Container, given: str) -> None:
    one.exec("true", flags=["--user", given]).fails("bad", status=FAILED)


@pytest.mark.parametrize("given", ["1:", ":1", ":"])
def test_user_with_one_half(one: Container, given: str) -> None:
    one.exec("true", flags=["--user", given]).fails("bad", status=FAILED)


def test_capabilities(one: Container, detached: Detached) -> None:
    """Added to the bounding, effective and permitted sets, not to inheritable, hence not to ambient."""
    before = proc_status(one.pid)
    pid = detached(one, "sleep", "1000", flags=("--cap", "CAP_CHOWN", "--cap=CAP_SYS_CHROOT"))
    added = 1 << 0 | 1 << 18
    status = proc_status(pid)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status[name], 16) == int(before[name], 16) | added
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0


@pytest.mark.differs_from_runc("runc's process has the runtime's bounding set")
def test_capabilities_of_a_user_without_any(container: MakeContainer, bundle: Bundle, detached: Detached) -> None:
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process.pop("capabilities")
    one = container(bundle.args("sleep", "1000")).start()
    pid = detached(one, "sleep", "1000")
    assert all(int(proc_status(pid)[name], 16) == 0 for name in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"))


@pytest.mark.ocipy_only("runc accepts only one form of a flag")
def test_flags_in_both_forms(one: Container) -> None:
    result = one.sh("echo $A$B; id -G", "--env", "A=1", "-e", "B=2", "-g", "5", "--additional-gids", "6")
    assert result.ok().lines == ["12", "0 5 6"]


def test_ambient_with_inheritable(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["capabilities"]["inheritable"] = ["CAP_KILL"]
    one = container(bundle.args("sleep", "1000")).start()
    status = parse_status(one.exec("cat", "/proc/self/status", flags=["--cap", "CAP_KILL"]).ok().stdout)
    assert int(status["CapInh"], 16) == 1 << 5
    assert int(status["CapAmb"], 16) == 1 << 5


@pytest.mark.parametrize("container_has", [False, True])
def test_no_new_privileges(container: MakeContainer, bundle: Bundle, container_has: bool) -> None:
    bundle.process["noNewPrivileges"] = container_has
    one = container(bundle.args("sleep", "1000")).start()
    script = "grep NoNewPrivs /proc/self/status"
    assert one.sh(script).ok().stdout.split()[1] == str(int(container_has))
    assert one.sh(script, "--no-new-privs").ok().stdout.split()[1] == "1"


def test_seccomp(container: MakeContainer, bundle: Bundle) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
    }
    one = container(bundle.args("sleep", "1000")).start()
    result = one.sh("grep Seccomp: /proc/self/status; mkdir /dev/shm/a")
    assert result.stdout.split()[1] == "2"
    assert "Operation not permitted" in result.stderr


PROFILE = """
profile ocipy-exec-test flags=(attach_disconnected,mediate_deleted) {
  file, capability, mount, signal, network, umount, ptrace,
  deny /etc/passwd r,
}
"""


@pytest.mark.needs_apparmor
@pytest.mark.needs_program("apparmor_parser")
@pytest.mark.parametrize("by", ["config", "flag", "process"])
def test_apparmor(container: MakeContainer, bundle: Bundle, work: Path, by: str) -> None:
    """The profile defaults to the container's, even with noNewPrivileges."""
    source = work / "profile"
    source.write_text(PROFILE)
    subprocess.run(["apparmor_parser", "--replace", "--skip-cache", source], check=True, timeout=120)
    try:
        bundle.process["apparmorProfile"] = "ocipy-exec-test" if by != "flag" else "unconfined"
        one = container(bundle.args("sleep", "1000")).start()
        script = "cat /proc/self/attr/current; cat /etc/passwd || echo denied"
        if by == "process":
            result = one.exec(flags=["--process", process(one, args=["sh", "-c", script])])
        else:
            result = one.sh(script, *(["--apparmor", "ocipy-exec-test"] if by == "flag" else []))
        assert result.stdout.replace("\0", "").splitlines() == ["ocipy-exec-test (enforce)", "denied"]
        one.end()
    finally:
        subprocess.run(["apparmor_parser", "--remove", source], check=True, timeout=120)


def test_rlimits_and_oom_score(container: MakeContainer, bundle: Bundle) -> None:
    bundle.process["oomScoreAdj"] = 500
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    one = container(bundle.args("sleep", "1000")).start()
    assert one.sh("cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn").ok().lines == ["500", "100", "200"]


def test_keyring(container: MakeContainer) -> None:
    """The container's session keyring, not a second one of that name."""
    one = container(sh="cat /proc/keys; exec sleep 1000").start()
    script = "cat /proc/keys"
    one.exec("sh", "-c", script).ok()


def test_arguments_after_the_id_belong_to_the_command(one: Container) -> None:
    assert one.exec("echo", "--user", "x", "--", "-e", "").ok().stdout == "--user x -- -e \n"
    assert one.exec("printf", "%s", "a\nb\tc").ok().stdout == "a\nb\tc"
    one.exec("--", "true").fails('exec: "--": executable file not found', status=FAILED)
    one.runtime.call("exec", "--", one.id, "true").ok()


@pytest.mark.differs_from_runc("runc replaces anything that is not UTF-8")
def test_arguments_that_are_not_utf_8(one: Container) -> None:
    word = os.fsdecode(b"\xff\xfe x")
    assert one.exec("printf", "%s", word, flags=["--env", "A=" + word]).ok().raw_stdout == b"\xff\xfe x"
    assert one.sh('printf "%s" "$A"', "--env", "A=" + word).ok().raw_stdout == b"\xff\xfe x"


# --process


def process(one: Container, **members: object) -> Path:
    """A file with a process object."""
    document = {"cwd": "/", "args": ["true"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}, **members}
    path = one.bundle.path / "process.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.differs_from_runc("runc ignores the umask")
def test_umask_of_a_process_object(one: Container) -> None:
    path = process(one, args=["sh", "-c", "umask"], user={"umask": 0o077})
    assert one.exec(flags=["--process", path]).ok().stdout == "0077\n"


@pytest.mark.smoke
def test_process_object(one: Container) -> None:
    path = process(
        one,
        args=["sh", "-c", "pwd; id -u; id -g; id -G; echo $X $TERM; ulimit -n"],
        cwd="/usr",
        env=["PATH=/bin", "X=1"],
        user={"uid": 7, "gid": 8, "additionalGids": [9]},
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}],
    )
    result = one.exec(flags=["--process", path]).ok()
    assert result.lines == ["/usr", "7", "8", "8 9", "1", "50"]


@pytest.mark.differs_from_runc("runc's process has the caller's limits")
def test_members_missing_from_a_process_object_come_from_the_container(
    container: MakeContainer, bundle: Bundle
) -> None:
    """Engines omit capabilities, limits and labels. That must not give the process more privileges."""
    bundle.process["user"]["umask"] = 0o027
    bundle.process["oomScoreAdj"] = 333
    one = container(bundle.args("sleep", "1000")).start()
    path = process(one, args=["sh", "-c", "umask; ulimit -n; cat /proc/self/oom_score_adj /proc/self/status"])
    lines = one.exec(flags=["-p", path]).ok().stdout.split("\n", 3)
    assert lines[:3] == ["0027", "1024", "333"]
    ours, theirs = parse_status(lines[3]), proc_status(one.pid)
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert ours[name] == theirs[name]


@pytest.mark.differs_from_runc("runc treats it as false")
def test_no_new_privileges_missing_from_a_process_object(one: Container) -> None:
    path = process(one, args=["grep", "NoNewPrivs", "/proc/self/status"])
    assert one.exec(flags=["-p", path]).ok().stdout.split()[1] == "1"


def test_capabilities_of_a_process_object(one: Container) -> None:
    path = process(
        one, args=["cat", "/proc/self/status"], capabilities={"bounding": ["CAP_KILL"]}, noNewPrivileges=True
    )
    status = parse_status(one.exec(flags=["-p", path]).ok().stdout)
    assert int(status["CapBnd"], 16) == 1 << 5
    assert int(status["CapEff"], 16) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"cwd": "/"}',
        '{"cwd": "x", "args": ["true"]}',
        '{"cwd": "/", "args": ["true"], "env": ["X"]}',
    ],
)
def test_an_invalid_process_object(one: Container, text: str) -> None:
    path = one.bundle.path / "process.json"
    path.write_text(text)
    one.exec(flags=["--process", path]).fails(status=FAILED)


def test_a_process_object_that_is_a_directory(one: Container, work: Path) -> None:
    one.exec(flags=["--process", work / "nothing"]).fails(status=FAILED)


@pytest.mark.ocipy_only("runc waits for a writer")
def test_process_object_that_is_a_fifo(one: Container, work: Path) -> None:
    os.mkfifo(work / "fifo")
    one.exec(flags=["--process", work / "fifo"], timeout=10).fails("not JSON", status=FAILED)


def test_process_object_from_a_pipe(one: Container) -> None:
    """Like `exec --process <(jq …)`. The data arrives late, and in two parts."""
    reader, writer = os.pipe()
    text = process(one, args=["echo", "from a pipe"]).read_bytes()
    script = "sleep 0.3; head -c 20; sleep 0.3; cat"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=writer) as shell:
        os.close(writer)
        assert shell.stdin is not None
        shell.stdin.write(text)
        shell.stdin.close()
        result = one.exec(flags=["--process", f"/proc/{os.getpid()}/fd/{reader}"])
    os.close(reader)
    assert result.ok().stdout == "from a pipe\n"


def test_process_object_that_is_a_device(one: Container) -> None:
    one.exec(flags=["--process", "/dev/zero"], timeout=10).fails(status=FAILED)
