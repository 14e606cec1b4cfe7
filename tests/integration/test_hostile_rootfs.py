"""A root filesystem that attacks: symlinks and other traps at each place that the runtime uses.

Tests of published vulnerabilities are named after their ids. test_vulnerabilities.py has those of processes, file
descriptors and the executable, test_hostile_races.py those of a changing root filesystem. `outside` is the target of
an attack: a host directory next to the rootfs.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime
from tests.harness.hostile import replace_with_link, ways_out

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]
RunScript = Callable[..., Result]


# Mount targets


@pytest.mark.parametrize("way", ["absolute", "relative", "root", "magic"])
@pytest.mark.parametrize("place", ["proc", "sys"])
def test_cve_2019_19921_proc_and_sys_are_symlinks(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, place: str, way: str
) -> None:
    """Also CVE-2023-27561, CVE-2023-28642 and CVE-2025-54867: create fails, and creates nothing on the host."""
    replace_with_link(hostile, place, ways_out(hostile, outside)[way])
    runtime.run(hostile.args("true"), new_id()).fails()


@pytest.mark.parametrize("place", ["proc", "sys"])
def test_cve_2019_19921_links_inside_are_refused_too(
    runtime: Runtime, hostile: Bundle, new_id: NewId, place: str
) -> None:
    (hostile.rootfs / "elsewhere").mkdir()
    replace_with_link(hostile, place, "elsewhere")
    runtime.run(hostile.args("true"), new_id()).fails("ordinary directory")
    assert list((hostile.rootfs / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("way", ["absolute", "relative"])
@pytest.mark.parametrize("kind", ["directory", "file", "tmpfs"])
def test_cve_2019_18837_targets_below_symlinks_stay_inside(
    sh: RunScript, hostile: Bundle, outside: Path, work: Path, kind: str, way: str
) -> None:
    replace_with_link(hostile, "trap", ways_out(hostile, outside)[way])
    source = work / "source"
    source.mkdir()
    (source / "mark").write_text("mounted")
    if kind == "tmpfs":
        hostile.mount("/trap/sub/new", "tmpfs", type="tmpfs")
        sh("grep -q ' /.*/sub/new tmpfs' /proc/mounts", hostile).ok()
    elif kind == "file":
        hostile.mount("/trap/sub/file", str(source / "mark"))
        assert sh("cat /trap/sub/file", hostile).ok().stdout == "mounted"
    else:
        hostile.mount("/trap/sub", str(source))
        assert sh("cat /trap/sub/mark", hostile).ok().stdout == "mounted"


def test_cve_2019_18837_etc_is_a_link_to_the_root(sh: RunScript, hostile: Bundle, work: Path) -> None:
    replace_with_link(hostile, "etc", "/")
    (work / "x").write_text("mounted")
    hostile.mount("/etc/x", str(work / "x"))
    assert sh("cat /x", hostile).ok().stdout == "mounted"
    assert not Path("/x").exists()


@pytest.mark.parametrize("place", ["dev", "dev/pts", "dev/shm", "dev/mqueue", "sys/fs", "sys/fs/cgroup"])
@pytest.mark.parametrize("way", ["absolute", "relative", "root"])
def test_links_at_the_usual_mount_points(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, place: str, way: str
) -> None:
    """In the image itself: without a tmpfs on /dev and a sysfs on /sys."""
    above = place.split("/")[0]
    hostile.without_mount(f"/{above}")
    (hostile.rootfs / above).mkdir(exist_ok=True)
    replace_with_link(hostile, place, ways_out(hostile, outside)[way])
    result = runtime.run(hostile.args("true"), new_id())
    assert result.status in (0, 1), repr(result)


@pytest.mark.parametrize("target", ["/", "..", "/bin/.."])
def test_a_link_to_the_root_is_refused_as_a_mount_point(
    runtime: Runtime, hostile: Bundle, new_id: NewId, target: str
) -> None:
    replace_with_link(hostile, "trap", target)
    hostile.mount("/trap", "tmpfs", type="tmpfs")
    runtime.run(hostile.args("true"), new_id()).fails("root")


@pytest.mark.parametrize("target", ["/proc/self/fd", "/proc/self/cwd", "/proc/self/root", "/proc/1/root/tmp"])
def test_magic_links_are_not_followed(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, target: str
) -> None:
    """They lead to the runtime's open files and working directory."""
    replace_with_link(hostile, "trap", target)
    hostile.mount("/trap", str(outside))
    runtime.run(hostile.args("true"), new_id()).fails()


@pytest.mark.parametrize(
    "destination", ["/proc/self", "/proc/sys/kernel", "/proc/1/ns", "/trap/self", "/proc/../proc/sys"]
)
def test_cve_2015_3630_mounts_in_proc(runtime: Runtime, hostile: Bundle, new_id: NewId, destination: str) -> None:
    """Also -3627, -3629, -3631: no mount covers files in /proc that the runtime reads or writes."""
    replace_with_link(hostile, "trap", "/proc")
    hostile.mount(destination, "tmpfs", type="tmpfs")
    runtime.run(hostile.args("true"), new_id()).fails("inside /proc")


@pytest.mark.parametrize("kind", ["tmpfs", "bind"])
@pytest.mark.parametrize("through", ["/proc", "/trap"])
def test_cve_2019_16884_volume_over_proc(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, kind: str, through: str
) -> None:
    replace_with_link(hostile, "trap", "/proc")
    if kind == "tmpfs":
        hostile.mount(through, "tmpfs", type="tmpfs")
    else:
        hostile.mount(through, str(outside))
    runtime.run(hostile.args("true"), new_id()).fails("proc")


@pytest.mark.ocipy_only("runc has no ro sysfs without a separate network namespace")
def test_cve_2023_25809_the_hosts_sysfs_is_readonly(sh: RunScript, bundle: Bundle) -> None:
    """A user namespace without a network namespace gets the host's /sys: with the cgroups in it, read-only."""
    bundle.user_namespace().without_namespace("network", "cgroup").without_mount("/sys/fs/cgroup")
    script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/escaped 2>/dev/null && echo $d; done; true"
    assert sh(script, bundle).ok().stdout == ""


# Devices


@pytest.mark.parametrize("way", ["absolute", "relative"])
@pytest.mark.parametrize("user", [False, True])
def test_cve_2026_41579_dev_is_a_symlink(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, way: str, user: bool
) -> None:
    """Also CVE-2026-47766: no node, no link, and above all no unlink of ptmx in a host directory."""
    hostile.without_mount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    replace_with_link(hostile, "dev", ways_out(hostile, outside / "bare")[way])
    if user:
        hostile.user_namespace()
    result = runtime.run(hostile.args("true"), new_id())
    assert result.status in (0, 1), repr(result)


@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_devices_below_symlinks_stay_inside(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, way: str
) -> None:
    replace_with_link(hostile, "trap", ways_out(hostile, outside)[way])
    hostile.linux["devices"] = [
        {"path": "/trap/sub/device", "type": "c", "major": 1, "minor": 3},
        {"path": "/trap/new/device", "type": "p"},
    ]
    result = runtime.run(hostile.args("true"), new_id())
    assert result.status in (0, 1), repr(result)


@pytest.mark.parametrize("user", [False, True])
def test_cve_2025_31133_null_is_a_symlink(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, user: bool
) -> None:
    """Also CVE-2025-62161. With the image's /dev: the runtime does not use a fake null device."""
    hostile.without_mount("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    replace_with_link(hostile, "dev/null", "/proc/sys/kernel/core_pattern")
    if user:
        hostile.user_namespace()
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    runtime.run(hostile.args("true"), new_id()).fails()
    assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern


@pytest.mark.differs_from_runc("it refuses a null that is not the null device, and has no other")
def test_cve_2025_31133_masks_are_the_hosts_null(sh: RunScript, hostile: Bundle, work: Path) -> None:
    """In a bound /dev the runtime creates nothing, so its null may be fake too."""
    dev = work / "dev"
    dev.mkdir()
    (dev / "null").symlink_to("/proc/sys/kernel/core_pattern")
    hostile.without_mount("/dev/pts", "/dev/shm", "/dev/mqueue")
    mounts = hostile.config["mounts"]
    mounts[[mount["destination"] for mount in mounts].index("/dev")] = {
        "destination": "/dev", "type": "bind", "source": str(dev), "options": ["rbind"],
    }  # fmt: skip
    (hostile.rootfs / "secret").write_text("secret")
    hostile.linux["maskedPaths"] = ["/secret", "/proc/timer_list"]
    result = sh("stat -c %t:%T /secret /proc/timer_list; cat /secret", hostile).ok()
    assert result.lines == ["1:3", "1:3"]


def test_masked_and_readonly_paths_through_links_stay_inside(sh: RunScript, hostile: Bundle, outside: Path) -> None:
    for number, way in enumerate(ways_out(hostile, outside).values()):
        replace_with_link(hostile, f"trap{number}", way)
        hostile.linux["maskedPaths"] += [f"/trap{number}/null", f"/trap{number}/sub/below"]
        hostile.linux["readonlyPaths"] += [f"/trap{number}/sub"]
    # "magic" goes through /proc/self/cwd: an error is right, and so is success if the host stays untouched.
    hostile.linux["maskedPaths"] = hostile.linux["maskedPaths"][:-2]
    hostile.linux["readonlyPaths"] = hostile.linux["readonlyPaths"][:-1]
    hostile.file("/null", "of the image")
    hostile.file("/sub/below/x", "of the image")
    # Through the link to "/", the image's files are covered.
    assert sh("cat /null; ls /sub/below; touch /sub/x 2>/dev/null && echo writable; true", hostile).ok().stdout == ""


# A fake /proc


@pytest.mark.differs_from_runc("it reads /proc/sys/kernel/cap_last_cap by path")
def test_cve_2025_52881_sysctl_is_written_to_the_real_one(
    container: MakeContainer, hostile: Bundle, outside: Path
) -> None:
    """Also CVE-2025-62596. The image has a /proc/sys, and no procfs covers it."""
    hostile.without_mount("/proc")
    hostile.linux["maskedPaths"] = []
    hostile.linux["readonlyPaths"] = []
    hostile.linux["sysctl"] = {"kernel.shmmni": "1234"}
    hostile.file("/proc/sys/kernel/shmmni", "untouched")
    hostile.file("/proc/self/attr/exec", "untouched")
    one = container(hostile, args=["sleep", "100"])
    inside = subprocess.run(
        ["nsenter", "-i", "-t", str(one.pid), "cat", "/proc/sys/kernel/shmmni"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert inside.stdout == "1234\n"
    assert (hostile.rootfs / "proc/sys/kernel/shmmni").read_text() == "untouched"
    assert (hostile.rootfs / "proc/self/attr/exec").read_text() == "untouched"


@pytest.mark.differs_from_runc("it reads /proc/sys/kernel/cap_last_cap by path")
def test_cve_2025_52881_proc_of_the_image_leads_elsewhere(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path
) -> None:
    """Symlinks to harmful files, or to host files."""
    hostile.without_mount("/proc")
    hostile.linux["maskedPaths"] = []
    hostile.linux["readonlyPaths"] = []
    hostile.linux["sysctl"] = {"kernel.shmmni": "1234"}
    for path in ("proc/sys/kernel/shmmni", "proc/self/attr/exec", "proc/self/oom_score_adj", "proc/self/uid_map"):
        replace_with_link(hostile, path, str(outside / "null"))
    runtime.run(hostile.args("true"), new_id()).ok()


# The terminal


def _console(work: Path) -> tuple[socket.socket, Path]:
    server = socket.socket(socket.AF_UNIX)
    path = work / "console"
    server.bind(str(path))
    server.listen(1)
    return server, path


@pytest.mark.parametrize("place", ["dev/console", "dev/pts", "dev/pts/ptmx", "dev/ptmx"])
@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_cve_2025_52565_console_and_ptmx_are_symlinks(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, work: Path, place: str, way: str
) -> None:
    """In the image's /dev, without a devpts: no host file is opened or covered."""
    hostile.without_mount("/dev", "/dev/shm", "/dev/mqueue")
    if place.startswith("dev/pts"):
        hostile.without_mount("/dev/pts")
    target = outside if place == "dev/pts" else outside / Path(place).name
    links = {"absolute": str(target), "relative": os.path.relpath(target, (hostile.rootfs / place).parent)}
    replace_with_link(hostile, place, links[way])
    hostile.process["terminal"] = True
    id = new_id()
    server, path = _console(work)
    with server:
        result = runtime.create(hostile.args("true"), id, "--console-socket", path)
    if place == "dev/ptmx":
        result.ok()  # always created again
    if result.status == 0:
        runtime.delete(id, force=True).ok()
    else:
        result.fails()


# Other paths


@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_the_working_directory_is_made_inside(sh: RunScript, hostile: Bundle, outside: Path, way: str) -> None:
    replace_with_link(hostile, "trap", ways_out(hostile, outside)[way])
    hostile.process["cwd"] = "/trap/sub/made"
    result = sh("pwd -P", hostile)
    if result.status == 0:
        assert result.stdout.endswith("/sub/made\n")


@pytest.mark.differs_from_runc("it refuses a symlink")
def test_a_root_that_is_a_symlink_is_followed_on_the_host(sh: RunScript, hostile: Bundle) -> None:
    """The path of the root itself comes from the config, not from the image."""
    hostile.rootfs.rename(hostile.path / "real")
    hostile.rootfs.symlink_to("real")
    assert sh("echo here", hostile).ok().stdout == "here\n"


@pytest.mark.differs_from_runc("it cannot copy a FIFO")
def test_tmpcopyup_copies_links_as_links(sh: RunScript, hostile: Bundle, outside: Path) -> None:
    (hostile.rootfs / "copied").mkdir()
    (hostile.rootfs / "copied/file").symlink_to(outside / "sub/file")
    (hostile.rootfs / "copied/directory").symlink_to(outside / "sub")
    os.mkfifo(hostile.rootfs / "copied/fifo")
    hostile.mount("/copied", "tmpfs", "tmpcopyup", type="tmpfs")
    result = sh("cat /copied/file /copied/directory/file; readlink /copied/file; ls /copied", hostile)
    assert "of the host" not in result.stdout
    assert result.lines == [str(outside / "sub/file"), "directory", "fifo", "file"]


def test_deep_and_strange_names(sh: RunScript, hostile: Bundle, work: Path) -> None:
    """Names that are long, or contain blanks, newlines, or invalid UTF-8."""
    strange = ["a" * 255, "blank and\ttab", "new\nline", "ü", "\\040"]
    for number, name in enumerate(strange):
        hostile.mount(f"/strange/{name}/{number}", "tmpfs", type="tmpfs")
    os.makedirs(os.fsencode(hostile.rootfs) + b"/strange/\xff\xfe", exist_ok=True)
    assert sh("grep -c ' /strange/' /proc/self/mountinfo", hostile).ok().stdout.strip() == str(len(strange))


@pytest.mark.parametrize(
    "file",
    ["attr/current", "attr/exec", "mem", "syscall", "clear_refs", "pagemap", "fdinfo/0", "../kmsg", "../1/environ",
     "../sys/net/ipv4/route/flush", "../sys/kernel/ns_last_pid", "../acpi"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "exec"])
def test_a_passwd_linked_to_a_procfs_file_gives_no_home(
    container: MakeContainer, runtime: Runtime, hostile: Bundle, new_id: NewId, file: str, command: str
) -> None:
    """Reading them fails in all kinds of ways. Then the user has no home, and the container starts."""
    replace_with_link(hostile, "etc/passwd", f"/proc/self/{file}")
    if command == "run":
        result = runtime.run(hostile.sh("echo $HOME"), new_id())
    else:
        result = container(hostile.args("sleep", "1000")).start().sh("echo $HOME", "--env", "HOME=")
    assert result.ok().stdout == "/\n"
