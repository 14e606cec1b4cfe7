"""Published vulnerabilities of joining a container and of `exec`, each named after its id."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, cgroups_of, parse_status, proc_status
from tests.harness.attacks import (
    EVERYTHING,
    LURING,
    OVERWRITE,
    PLANTED,
    abstract_sockets,
    assert_nothing_loaded,
    likely_numbers,
    look_for,
    wait_for_overwriting,
)
from tests.harness.look import cgroup_hierarchies
from tests.harness.text import read

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
Detached = Callable[..., int]
FAILED = 255


def test_cve_2016_3697_digits_are_a_number(container: MakeContainer, bundle: Bundle) -> None:
    """Even if the image's passwd has a user of that name."""
    bundle.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n1000:x:0:0::/root:/bin/sh\n0:x:7:7::/:/bin/sh\n")
    bundle.file("/etc/group", "root:x:0:\n1000:x:0:\n")
    one = container(bundle.args("sleep", "1000")).start()
    assert one.sh("id -u; id -g", "--user", "1000:1000").ok().stdout.split() == ["1000", "1000"]
    assert one.sh("id -u; id -g", "--user", "0:0").ok().stdout.split() == ["0", "0"]
    path = bundle.path / "process.json"
    process = {"cwd": "/", "args": ["id", "-u"], "env": ["PATH=/bin"], "user": {"uid": 1000, "gid": 1000}}
    path.write_text(json.dumps(process))
    assert one.exec(flags=["--process", path]).ok().stdout == "1000\n"


def test_cve_2016_8867_no_ambient_capabilities(one: Container) -> None:
    """A user other than root gets no ambient capabilities."""
    status = parse_status(one.sh("cat /proc/self/status", "--user", "1000:1000").ok().stdout)
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]


@pytest.mark.parametrize("capabilities", [[], ["CAP_SYS_ADMIN"]])
def test_cve_2016_9962_nothing_of_the_host_is_visible(
    container: MakeContainer, bundle: Bundle, work: Path, capabilities: list[str]
) -> None:
    """A container inspects every process that enters its pid namespace: no root, cwd or file descriptor of the host."""
    marker = work / "marker"
    marker.write_text("of the host")
    bundle.capabilities("CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", *capabilities)
    one = container(bundle, sh=look_for(marker)).start()
    one.wait_output("ready")
    for _ in range(200 if not capabilities else 50):
        one.exec("true").ok()
    assert "REACHED" not in one.stdout
    one.end()


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("kind", ["command", "script", "link"])
def test_cve_2019_5736_command_is_the_runtime(container: MakeContainer, bundle: Bundle, kind: str) -> None:
    """/proc/self/exe as the command, as the interpreter of a script, through a link."""
    if kind == "script":
        bundle.file("/bin/evil", "#!/proc/self/exe\n", 0o755)
    elif kind == "link":
        (bundle.rootfs / "bin/evil").symlink_to("/proc/self/exe")
    one = container(bundle.args("sleep", "1000")).start()
    result = one.exec("/proc/self/exe" if kind == "command" else "evil", timeout=20)
    assert result.status != 0, "the runtime's executable must not do anything useful inside"


@pytest.mark.usefixtures("installation")
def test_cve_2019_5736_writing_to_the_runtime(
    container: MakeContainer, make_bundle: MakeBundle, entering: Path, work: Path
) -> None:
    """A container opens the executable of each process that enters its pid namespace, and writes as soon as it can."""
    one = container(make_bundle(hardlinks=False).capabilities(*EVERYTHING), sh=OVERWRITE).start()
    one.wait_output("ready")
    wait_for_overwriting(one.pid, entering, work)
    for _ in range(20):
        one.exec("true")
    one.end()


@pytest.mark.needs_program("strace")
@pytest.mark.parametrize("fails", [False, True])
def test_cve_2019_14271_nothing_is_loaded_from_the_image(
    container: MakeContainer, bundle: Bundle, work: Path, fails: bool
) -> None:
    """Between join and exec, the process opens no library, module, codec, locale or name service of the image."""
    for planted in PLANTED:
        bundle.file(planted, "raise SystemExit('loaded from the image')")
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    bundle.process["env"] += LURING
    one = container(bundle.args("sleep", "1000")).start()
    trace = work / "trace"
    calls = "trace=open,openat,openat2,execve,execveat,setns,clone,clone3"
    prefix = ["strace", "-f", "-qq", "-o", str(trace), "-e", calls]
    result = one.exec("/no/such/command" if fails else "true", prefix=prefix, timeout=60)
    assert (result.status != 0) == fails, repr(result)
    assert_nothing_loaded(trace.read_text(errors="replace"), ("setns",))


def test_cve_2019_16884_label_by_a_fake_proc(container: MakeContainer, bundle: Bundle) -> None:
    """Entering neither reads nor writes the container's mounts on /proc (also CVE-2025-52881)."""
    bundle.capabilities("CAP_SYS_ADMIN")
    script = "mount -t tmpfs none /proc && mkdir -p /proc/self/attr /proc/self/fd && echo mounted; exec sleep 1000"
    bundle.process.pop("apparmorProfile", None)
    one = container(bundle.without_mount("/sys", "/sys/fs/cgroup"), sh=script).start()
    one.wait_output("mounted")
    one.exec("true", flags=["--user", "1000:1000"])
    found = one.enter("find /proc -type f; find /proc -type l").ok()
    assert found.stdout == ""
    one.end()


@pytest.mark.needs_apparmor
def test_cve_2019_16884_profile_through_a_fake_proc(container: MakeContainer, bundle: Bundle) -> None:
    """The profile is applied nevertheless, or the exec fails."""
    bundle.capabilities("CAP_SYS_ADMIN")
    bundle.process["apparmorProfile"] = "unconfined"
    script = "mount -t tmpfs none /proc && mkdir -p /proc/self/attr/apparmor && echo mounted; exec sleep 1000"
    one = container(bundle.without_mount("/sys", "/sys/fs/cgroup"), sh=script).start()
    one.wait_output("mounted")
    one.exec("true", flags=["--apparmor", "no-such-profile"]).fails("no-such-profile", status=FAILED)
    assert one.enter("find /proc -type f").ok().stdout == ""
    one.end()


def test_cve_2020_15257_no_abstract_sockets(container: MakeContainer, bundle: Bundle, detached: Detached) -> None:
    """A container in the host's network namespace could connect to abstract sockets: unix(7)."""

    def abstract() -> set[str]:
        return abstract_sockets(read("/proc/net/unix"))

    before = abstract()
    bundle.without_namespace("network").without_mount("/sys", "/sys/fs/cgroup").args("sleep", "1000")
    one = container(bundle).start()
    assert abstract_sockets(os.fsdecode(one.exec("cat", "/proc/net/unix").ok().raw_stdout)) <= before
    detached(one, "sleep", "1000")
    assert abstract() <= before


def test_cve_2021_43784_large_messages(one: Container) -> None:
    """More than 64 KiB of everything that goes to the process."""
    env = [f"E{number}={'e' * 1000}" for number in range(150)]
    args = ["sh", "-c", "echo $#; env | grep -c ^E", "zero", *["y" * 1000] * 150]
    path = one.bundle.path / "process.json"
    groups = {"uid": 0, "gid": 0, "additionalGids": list(range(10000, 40000))}
    path.write_text(json.dumps({"cwd": "/", "args": args, "env": ["PATH=/bin", *env], "user": groups}))
    assert one.exec(flags=["--process", path]).ok().lines == ["150", "150"]
    flags = [word for entry in env for word in ("--env", entry)]
    assert one.exec(*args, flags=flags).ok().lines == ["150", "150"]


def test_cve_2022_24769_inheritable_stays_empty(one: Container) -> None:
    """--cap adds to bounding, effective and permitted (also CVE-2022-29162, CVE-2022-27650, CVE-2025-27612)."""
    for user in ("0:0", "1000:1000"):
        flags = ["--user", user, "--cap", "CAP_KILL", "--cap", "CAP_CHOWN"]
        status = parse_status(one.exec("cat", "/proc/self/status", flags=flags).ok().stdout)
        assert int(status["CapInh"], 16) == 0
        assert int(status["CapAmb"], 16) == 0


@pytest.mark.parametrize("through", ["flag", "link", "process"])
def test_cve_2024_21626_working_directory(
    container: MakeContainer, bundle: Bundle, leaked: tuple[Path, list[int]], through: str
) -> None:
    """The working directory is a file descriptor that the runtime or its caller left open."""
    directory, descriptors = leaked
    bundle.config["root"]["readonly"] = False
    one = container(bundle.args("sleep", "1000")).start()
    script = "cat secret; ls -a ../..; cat ../../etc/hostname; pwd"
    path = bundle.path / "process.json"
    for number in likely_numbers(descriptors):
        target = f"/proc/self/fd/{number}"
        if through == "link":
            link = bundle.rootfs / "link"
            link.unlink(missing_ok=True)
            link.symlink_to(target)
            target = "/link"
        if through == "process":
            path.write_text(json.dumps({"cwd": target, "args": ["sh", "-c", script], "env": ["PATH=/bin"]}))
            result = one.exec(flags=["--process", path], fds=descriptors)
        else:
            result = one.sh(script, "--cwd", target, fds=descriptors)
        assert "of the host" not in result.stdout, (number, result)
        if result.status == 0:
            assert "/work" not in result.stdout and directory.name not in result.stdout, (number, result)


def test_cve_2024_21626_command(one: Container, leaked: tuple[Path, list[int]]) -> None:
    """The command is reached through such a file descriptor."""
    _, descriptors = leaked
    for number in likely_numbers(descriptors):
        result = one.exec(f"/proc/self/fd/{number}/bin/sh", "x", fds=descriptors)
        assert result.status != 0, (number, result)
        assert "reached" not in result.stdout


def test_cve_2024_21626_directory_that_becomes_a_link(container: MakeContainer, bundle: Bundle) -> None:
    """The container replaces its directory with a link to a file descriptor during the join."""
    bundle.config["root"]["readonly"] = False
    script = """
    mkdir /a /b; ln -s /proc/self/fd/5 /b/link; echo ready
    while :; do mkdir /a/d; rmdir /a/d; ln -s /proc/self/fd/5 /a/d; rm /a/d; done 2>/dev/null"""
    one = container(bundle, sh=script).start()
    one.wait_output("ready")
    for _ in range(30):
        result = one.exec("pwd", flags=["--cwd", "/a/d"])
        assert result.status == FAILED or result.stdout in ("/a/d\n", "/proc/self/fd/5\n", ""), repr(result)
    one.end()


@pytest.mark.parametrize(("given", "uid"), [("1", 1), ("1:2", 1), ("01", 1)])
def test_cve_2026_30892_user_without_a_group(one: Container, given: str, uid: int) -> None:
    """`-u 1` means user 1, not root."""
    assert one.exec("id", "-u", flags=["-u", given]).ok().stdout == f"{uid}\n"


@pytest.mark.ocipy_only("runc treats -1 as 4294967295, and reports a missing group as another error")
@pytest.mark.parametrize("given", ["1:", ":2", "-1", "4294967295", "4294967296", "1x"])
def test_cve_2026_30892_invalid_user(one: Container, given: str) -> None:
    one.exec("id", "-u", flags=["-u", given]).fails("--user", status=FAILED)


def test_sub_cgroup_does_not_lead_out(one: Container) -> None:
    """A sibling of the container's cgroup whose name begins with the container's (runc, crun 1.29)."""
    neighbour = []
    for controllers, path in cgroups_of(one.pid).items():
        if path == one.bundle.linux["cgroupsPath"]:
            directory = cgroup_hierarchies()[controllers.split(",")[0]] / (path.lstrip("/") + "-neighbour")
            if directory not in neighbour:
                directory.mkdir()
                neighbour.append(directory)
    assert neighbour
    try:
        name = one.bundle.linux["cgroupsPath"].rpartition("/")[2]
        for path in (f"../{name}-neighbour", f"/../{name}-neighbour", f"x/../../{name}-neighbour"):
            one.exec("true", flags=["--cgroup", path]).fails(status=FAILED)
        one.exec("true", flags=["--cgroup", "-neighbour"]).fails(status=FAILED)
    finally:
        for directory in neighbour:
            directory.rmdir()


@pytest.mark.ocipy_only("runc opens the FIFO, and waits forever")
@pytest.mark.parametrize("file", ["/etc/passwd", "/dev/null"])
def test_fifo_in_the_place_of_a_file(container: MakeContainer, bundle: Bundle, file: str) -> None:
    """The container's file there neither blocks exec nor is read."""
    bundle.config["root"]["readonly"] = False
    bundle.capabilities("CAP_MKNOD")
    bundle.process["env"] = ["PATH=/bin"]
    one = container(bundle, sh=f"rm {file}; mkfifo {file}; echo ready; exec sleep 1000").start()
    one.wait_output("ready")
    result = one.sh("echo $HOME", timeout=10).ok()
    assert result.stdout == ("/\n" if file == "/etc/passwd" else "/root\n")


def test_the_containers_user_cannot_inspect_the_joiner(container: MakeContainer, bundle: Bundle) -> None:
    """A process of the same user in the container tries to trace and inspect each entering process: prctl(2),
    PR_SET_DUMPABLE."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["env"] = ["PATH=/bin"]
    look = """
    echo ready
    while :; do
      for p in /proc/[0-9]*; do
        case $p in /proc/1|/proc/$$) continue;; esac
        case $(readlink $p/exe) in /bin/*|"") continue;; *) echo REACHED $(readlink $p/exe);; esac
      done 2>/dev/null
    done"""
    one = container(bundle, sh=look).start()
    one.wait_output("ready")
    threads = [threading.Thread(target=lambda: [one.exec("true") for _ in range(15)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "REACHED" not in one.stdout
    assert os.getpid() != one.pid and proc_status(one.pid)["Uid"].split()[0] == "1000"
    one.end()


def test_user_namespace_that_the_container_has_entered_gives_no_groups(
    container: MakeContainer, bundle: Bundle
) -> None:
    """setgroups is denied there (user_namespaces(7)), but the process must not keep the caller's groups."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    denied = "until echo deny > /proc/1/setgroups; do :; done"
    mapped = "for f in uid_map gid_map; do echo 1000 1000 1 > /proc/1/$f; done"
    first = "until grep -q 1000 /proc/self/gid_map; do :; done; echo ready; exec sleep 1000"
    one = container(bundle, sh=f"({denied}; {mapped}) 2>/dev/null & exec unshare -U sh -c '{first}'").start()
    one.wait_output("ready")
    result = one.sh("cat /proc/self/status", user=0, extra_groups=[4, 42]).ok()
    assert (parse_status(result.stdout)["Uid"].split()[0], parse_status(result.stdout)["Groups"]) == ("1000", "")
