"""Published vulnerabilities of runtimes: processes, file descriptors and the executable. Each test has its id.

test_hostile_rootfs.py and test_hostile_races.py have those of mounts, devices and paths in the root filesystem.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, parse_status, proc_status, wait_until
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
from tests.harness.text import read

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]
RunScript = Callable[..., Result]


@pytest.mark.usefixtures("installation")
@pytest.mark.parametrize("kind", ["command", "script", "link"])
def test_cve_2019_5736_command_is_the_runtime(runtime: Runtime, bundle: Bundle, new_id: NewId, kind: str) -> None:
    """/proc/self/exe as the command, as the interpreter of a script, through a link: what runs is not a host file,
    and it cannot be written."""
    if kind == "script":
        bundle.file("/bin/evil", "#!/proc/self/exe\n", 0o755)
    elif kind == "link":
        (bundle.rootfs / "bin/evil").symlink_to("/proc/self/exe")
    bundle.args("/proc/self/exe" if kind == "command" else "evil")
    result = runtime.run(bundle, new_id(), timeout=20)
    assert result.status != 0, "the runtime's executable must not do anything useful inside"


@pytest.mark.usefixtures("installation")
def test_cve_2019_5736_writing_to_the_runtime(
    runtime: Runtime, container: MakeContainer, make_bundle: MakeBundle, new_id: NewId, entering: Path, work: Path
) -> None:
    """A container opens the executable of each process that enters its pid namespace, and writes as soon as it can."""
    one = container(make_bundle(hardlinks=False).capabilities(*EVERYTHING), sh=OVERWRITE).start()
    one.wait_output("ready")
    wait_for_overwriting(one.pid, entering, work)
    for _ in range(8):
        runtime.run(make_bundle(hardlinks=False).join_pid_namespace(one.pid).args("true"), new_id())
    one.end()


@pytest.mark.parametrize("through", ["cwd", "link"])
def test_cve_2024_21626_working_directory(
    runtime: Runtime, bundle: Bundle, new_id: NewId, leaked: tuple[Path, list[int]], through: str
) -> None:
    """The working directory is a file descriptor that the runtime or its caller left open."""
    directory, descriptors = leaked
    for number in likely_numbers(descriptors):
        target = f"/proc/self/fd/{number}"
        if through == "link":
            link = bundle.rootfs / "link"
            link.unlink(missing_ok=True)
            link.symlink_to(target)
            target = "/link"
        bundle.process["cwd"] = target
        result = runtime.run(
            bundle.sh("cat secret; ls -a ../..; cat ../../etc/hostname; pwd"), new_id(), fds=descriptors
        )
        assert "of the host" not in result.stdout, (number, result)
        if result.status == 0:
            assert "/work" not in result.stdout and directory.name not in result.stdout, (number, result)
        assert runtime.ids() == []


def test_cve_2024_21626_command(
    runtime: Runtime, bundle: Bundle, new_id: NewId, leaked: tuple[Path, list[int]]
) -> None:
    """The command is reached through such a file descriptor."""
    _, descriptors = leaked
    for number in likely_numbers(descriptors):
        result = runtime.run(bundle.args(f"/proc/self/fd/{number}/bin/sh", "x"), new_id(), fds=descriptors)
        assert result.status != 0, (number, result)
        assert "reached" not in result.stdout
        assert runtime.ids() == []


def test_cve_2016_8867_no_ambient_capabilities(sh: RunScript, bundle: Bundle) -> None:
    """A user other than root has none, except those in the config."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    status = parse_status(sh("cat /proc/self/status", bundle).ok().stdout)
    assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0, 0, 0, 0]
    assert int(status["CapBnd"], 16) != 0


def test_cve_2022_24769_inheritable_is_what_the_config_says(runtime: Runtime, sh: RunScript, work: Path) -> None:
    """The set is not filled from the bounding set, and `spec` proposes none."""
    assert parse_status(sh("cat /proc/self/status").ok().stdout)["CapInh"] == "0" * 16
    (work / "spec").mkdir()
    runtime.call("spec", cwd=work / "spec").ok()
    assert '"inheritable"' not in (work / "spec/config.json").read_text()


def test_cve_2016_9962_joining_processes_are_closed(
    runtime: Runtime, container: MakeContainer, make_bundle: MakeBundle, new_id: NewId, work: Path
) -> None:
    """A container inspects every process that enters its pid namespace: no root, cwd or file descriptor of the host."""
    marker = work / "marker"
    marker.write_text("of the host")
    watcher = make_bundle().capabilities("CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID")
    one = container(watcher, sh=look_for(marker)).start()
    one.wait_output("ready")
    for _ in range(12):
        runtime.run(make_bundle().join_pid_namespace(one.pid).args("true"), new_id()).ok()
    assert "REACHED" not in one.stdout
    one.end()


@pytest.mark.needs_program("strace")
@pytest.mark.parametrize("fails", [False, True])
def test_cve_2019_14271_nothing_is_loaded_from_the_image(
    runtime: Runtime, make_bundle: MakeBundle, new_id: NewId, work: Path, fails: bool
) -> None:
    """Between the change of root and the exec, init opens no library, module, codec, locale or name service of the
    image, not even for an error."""
    bundle = make_bundle()
    for planted in PLANTED:
        bundle.file(planted, "raise SystemExit('loaded from the image')")
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    bundle.process["env"] += LURING
    bundle.args("/no/such/command" if fails else "true")
    trace = work / "trace"
    calls = "trace=open,openat,openat2,execve,execveat,pivot_root,chroot,fchdir"
    result = runtime.run(bundle, new_id(), prefix=["strace", "-f", "-qq", "-o", str(trace), "-e", calls], timeout=60)
    assert (result.status != 0) == fails, repr(result)
    assert_nothing_loaded(trace.read_text(errors="replace"), ("pivot_root", "chroot"))


def test_cve_2020_15257_no_abstract_sockets(container: MakeContainer, bundle: Bundle) -> None:
    """A container in the host's network namespace could connect to abstract sockets: unix(7)."""

    def abstract() -> set[str]:
        return abstract_sockets(read("/proc/net/unix"))

    before = abstract()
    bundle.without_namespace("network").without_mount("/sys", "/sys/fs/cgroup")
    listing = bundle.path / "during-hooks"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat /proc/net/unix >> {listing}"]}
    bundle.config["hooks"] = {"createRuntime": [hook], "poststart": [hook]}
    one = container(bundle, sh="cat /proc/net/unix; exec sleep 1000")
    assert abstract() <= before
    one.start()
    assert abstract() <= before
    assert abstract_sockets(read(listing)) <= before


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "poststart", "poststop"])
def test_cve_2024_0132_hooks_do_not_get_the_images_environment(
    runtime: Runtime, bundle: Bundle, new_id: NewId, kind: str
) -> None:
    """LD_PRELOAD from an image's env in a hook that runs with the host's privileges (also CVE-2025-23266)."""
    output = bundle.path / "hook-environment"
    program = bundle.path / "hook"
    program.write_text(f"#!/bin/sh\ncat /proc/self/environ | tr '\\0' '\\n' > {output}\necho done >> {output}\n")
    program.chmod(0o755)
    bundle.config["hooks"] = {kind: [{"path": str(program)}]}
    bundle.process["env"] += ["LD_PRELOAD=/evil.so", "FROM_IMAGE=yes"]
    runtime.run(bundle.sh("sleep 0.1"), new_id(), env={"FROM_CALLER": "yes"})
    text = output.read_text()
    assert "done" in text
    assert "LD_PRELOAD" not in text and "FROM_IMAGE" not in text


def test_cve_2022_1227_helpers_are_the_hosts(runtime: Runtime, make_bundle: MakeBundle, new_id: NewId) -> None:
    """The image's newuidmap, criu or mknod never runs with the host's privileges."""
    bundle = make_bundle(hardlinks=False).user_namespace()
    bundle.config["root"]["readonly"] = False
    for name in ("newuidmap", "newgidmap", "criu", "mount", "ip", "nft", "python3", "ps", "sh"):
        bundle.file(f"/evil/{name}", "#!/bin/busybox sh\necho ran $0 >> /ran\n", 0o755)
    bundle.process["env"] = ["PATH=/evil:/bin"]
    result = runtime.run(bundle.args("/bin/true"), new_id(), cwd=bundle.rootfs / "evil").ok()
    assert result.stdout == ""
    assert not (bundle.rootfs / "ran").exists()
    assert not Path("/ran").exists()


def test_cve_2021_43784_large_messages(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """More than 64 KiB of everything that goes from the runtime to init: no length overflows into something else."""
    bundle.user_namespace()
    bundle.linux["uidMappings"] = [{"containerID": n, "hostID": 100000 + 2 * n, "size": 1} for n in range(300)]
    bundle.linux["gidMappings"] = [{"containerID": n, "hostID": 100000 + 2 * n, "size": 1} for n in range(300)]
    bundle.process["env"] += [f"E{number}={'e' * 1000}" for number in range(150)]
    bundle.config["annotations"] = {f"a{number}": "x" * 1000 for number in range(150)}
    bundle.linux["maskedPaths"] += [f"/proc/no-such-{'m' * 200}-{number}" for number in range(400)]
    bundle.without_mount("/dev/pts").args(
        "sh", "-c", "cat /proc/self/uid_map | wc -l; echo $#", "zero", *["y" * 1000] * 150
    )
    assert runtime.run(bundle, new_id()).ok().lines == ["300", "150"]


def test_cve_2021_43784_too_many_mappings(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """The kernel accepts 340 lines; 5000 (over 64 KiB of text) must be an error, not a truncated map."""
    bundle.user_namespace()
    bundle.linux["uidMappings"] = [{"containerID": n, "hostID": 100000 + 2 * n, "size": 1} for n in range(5000)]
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []


def test_cve_2021_43784_long_namespace_path(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["namespaces"] = [{"type": "mount"}, {"type": "network", "path": "/" + "x" * 70000}]
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []


@pytest.mark.needs_cgroup_v1
def test_cve_2022_0492_release_agent(sh: RunScript) -> None:
    """The default container's cgroup filesystems are read-only, and their release agents out of reach."""
    result = sh(
        "for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/notify_on_release;"
        " do echo 1 > $f && echo wrote $f; done;"
        "for d in /sys/fs/cgroup/*/; do mkdir ${d}new && echo made $d; done; echo end"
    ).ok()
    assert result.stdout == "end\n"


@pytest.mark.ocipy_only("runc has no validate")
@pytest.mark.parametrize("fstype", ["proc", "sysfs"])
def test_a_second_proc_or_sysfs_causes_a_warning(runtime: Runtime, bundle: Bundle, fstype: str) -> None:
    """Masked and readonly paths would not cover it: core_pattern and sysrq would be accessible again."""
    bundle.mount("/mnt/second", fstype, type=fstype).args("true").write()
    result = runtime.call("validate", bundle.path)
    assert f"/mounts/{len(bundle.config['mounts']) - 1}" in result.stdout + result.stderr


def test_interpreter_cannot_be_traced_by_the_containers_user(container: MakeContainer, bundle: Bundle) -> None:
    """The waiting init already has the user's id, and is closed to others with that id: prctl(2), PR_SET_DUMPABLE."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    one = container(bundle.args("sleep", "1000"))
    assert proc_status(one.pid)["Uid"].split()[0] == "1000"
    attempt = subprocess.run(
        ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "cat", f"/proc/{one.pid}/environ"],
        check=False,
        capture_output=True,
    )
    assert attempt.returncode != 0
    one.start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
