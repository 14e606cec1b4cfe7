"""Each demonstration of the articles on building a container runtime from scratch, as their readers type it."""

from __future__ import annotations

import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.box.conftest import NAME, V4, V6, Box, Neighbour, box_of, has_user_systemd, needs
from tests.harness.host import Host, wait_until
from tests.harness.leaks import reap
from tests.harness.user import USER

MIB = 1 << 20


@pytest.fixture(params=["root", "user"])
def box(request: pytest.FixtureRequest, login: dict[str, str]) -> Box:
    """Each demonstration runs as root and as an ordinary user, in a login session if the host has one."""
    return box_of(request.param, request, login)


def limits(box: Box, controller: str, flag: str, value: str) -> None:
    """Skip if this limit is unavailable: the host lacks its controller, or a user may not set it, as the error says."""
    needs(controller)
    if box.is_users and not has_user_systemd():
        done = box("run", "--rm", "--network", "none", flag, value, "busybox", "true", status=125)
        name = {"--memory-limit": "--memory", "--cpu": "--cpus, --cpu-period"}.get(flag, flag)
        assert f"{name}: without root this needs a v2 cgroup" in done.stderr and "as root" in done.stderr
        pytest.skip("refused to a user without a systemd that delegates; tests/vm/run has one")


def test_a_shell_in_its_own_root(box: Box) -> None:
    names = box.run("busybox", "ls", "/").split()
    assert {"bin", "etc", "proc", "tmp"} <= set(names)
    assert "boot" not in names


def test_its_host_name_is_its_own(box: Box) -> None:
    assert box.run("--hostname", "container", "busybox", "hostname").strip() == "container"
    assert len(box.run("busybox", "hostname").strip()) == 12
    assert os.uname().nodename != "container"


def test_its_first_process_is_number_1(box: Box) -> None:
    assert box.run("busybox", "sh", "-c", "echo $$").strip() == "1"


def test_ps_shows_only_its_own_processes(box: Box) -> None:
    lines = box.run("busybox", "ps").strip().split("\n")
    assert len(lines) == 2 and lines[1].split() == ["1", "root", "ps"]


def test_its_mounts_are_its_own(box: Box) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    assert "overlay on / type overlay" in box.run("busybox", "mount")
    assert Path("/proc/self/mountinfo").read_text() == before


def test_its_network_is_its_own(box: Box) -> None:
    devices = re.findall(r"^\d+: ([^:@]+)", box.run("busybox", "ip", "link"), re.MULTILINE)
    assert devices == ["lo"]


def test_tmp_is_memory(box: Box) -> None:
    shown = box.run("--tmpfs", "/tmp:size=1m", "busybox", "df", "-k", "/tmp")
    assert re.search(r"^tmpfs\s+1024\s", shown, re.MULTILINE)


@pytest.mark.smoke
def test_a_fork_bomb_chokes_at_20_processes_and_the_host_does_not(box: Box) -> None:
    limits(box, "pids", "--pids-limit", "20")
    bomb = "trap '' TERM; for i in $(seq 100); do sleep 5 & done 2>&1; echo survived"
    done = box("run", "--rm", "--network", "none", "--pids-limit", "20", "busybox", "sh", "-c", bomb, status=None)
    assert "can't fork" in done.stdout + done.stderr
    assert box.run("busybox", "echo", "fine") == "fine\n"


EAT = "dd if=/dev/zero of=/eaten/x bs=1M count={} 2>/dev/null && echo eaten"


@pytest.mark.smoke
def test_a_limit_of_50_mb_allows_45_and_kills_at_51(box: Box) -> None:
    """Uses a tmpfs in the box, which counts as its memory."""
    limits(box, "memory", "--memory", "50M")
    flags = ("--memory", "50M", "--tmpfs", "/eaten:size=100m")
    assert "eaten" in box.run(*flags, "busybox", "sh", "-c", EAT.format(45))
    done = box("run", "--rm", "--network", "none", *flags, "busybox", "sh", "-c", "exec " + EAT.format(51), status=None)
    assert done.returncode == 137
    assert "ran out of memory" in done.stderr and "50.0 MiB" in done.stderr


def test_the_end_of_a_box_is_recorded_where_the_places_are_relative(box: Box) -> None:
    box.environment["OCIPY_BOX"] = os.path.relpath(box.environment["OCIPY_BOX"])
    box("run", "-d", "--name", "near", "--network", "none", "busybox", "true")
    assert box("wait", "near").stdout == "0\n"
    wait_until(lambda: "exited (0)" in box("ps", "-a").stdout)


@pytest.mark.smoke
def test_the_whole_box_is_killed_and_does_not_swap(box: Box) -> None:
    """memory.oom.group and memory.swap.max are v2's; v1 counts memory and swap together, and kills one by one."""
    limits(box, "memory", "--memory", "50M")
    flags = ("--memory", "50M", "--tmpfs", "/eaten:size=100m")
    if Host().cgroup != "v2":
        file = Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
        if not file.exists():
            pytest.skip("this kernel does not count swap (CONFIG_MEMCG_SWAP, swapaccount=1)")
        assert box.run(*flags, "busybox", "cat", str(file)) == f"{50 * MIB}\n"
        return
    assert box.run(*flags, "busybox", "cat", "/sys/fs/cgroup/memory.swap.max") == "0\n"
    # The first process would outlive the one that uses the memory.
    eater = f"({EAT.format(60)}); sleep 1000"
    done = box("run", "--rm", "--network", "none", *flags, "busybox", "sh", "-c", eater, status=None)
    assert done.returncode == 137 and "ran out of memory" in done.stderr


@pytest.mark.smoke
def test_the_limit_is_in_the_kernels_file(box: Box) -> None:
    limits(box, "memory", "--memory-limit", "100m")
    file = "/sys/fs/cgroup/memory.max" if Host().cgroup == "v2" else "/sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert box.run("--memory-limit", "100m", "busybox", "cat", file) == f"{100 * MIB}\n"


@pytest.mark.smoke
def test_a_quota_of_50000_of_100000_is_half_a_cpu(box: Box) -> None:
    """Within 10 %, by the kernel's own counts: the CPU time used in the periods that it has counted.

    A period counts once the box wants to run in it. Only throttled periods show what the quota gives, so the test
    measures while nearly all of them are throttled.
    """
    limits(box, "cpu", "--cpu", "50000 100000")
    burn = "while :; do :; done"
    # A high weight, since a busy host would deny it its half.
    flags = ["--network", "none", "--cpu", "50000 100000", "--cpu-shares", "262144"]
    box("run", "-d", "--name", "busy", *flags, "busybox", "sh", "-c", f"({burn}) & ({burn}) & {burn}")
    shares: list[tuple[float, float]] = []

    def measured() -> bool:
        before = cpu_of(box, "busy")
        time.sleep(2)
        after = cpu_of(box, "busy")
        used, periods, throttled = (two - one for one, two in zip(before, after, strict=True))
        if periods < 10:
            return False
        shares.append((used / (periods * 100_000), throttled / periods))
        return shares[-1][1] >= 0.9

    wait_until(measured, "it is throttled in nine of ten periods", timeout=60)
    assert all(share < 0.55 for share, _ in shares), shares
    assert 0.45 <= shares[-1][0], shares


def cpu_of(box: Box, name: str) -> tuple[int, int, int]:
    """(microseconds used, periods, throttled periods) of its cgroup."""
    usage = box.inspect(name)["usage"]
    return usage["cpuMicroseconds"], usage["cpuPeriods"], usage["throttledPeriods"]


@pytest.mark.smoke
def test_cpu_shares_reach_the_kernel(box: Box) -> None:
    limits(box, "cpu", "--cpu-shares", "512")
    file, expected = ("cpu.weight", "59") if Host().cgroup == "v2" else ("cpu/cpu.shares", "512")
    assert box.run("--cpu-shares", "512", "busybox", "cat", f"/sys/fs/cgroup/{file}").strip() == expected


def test_two_boxes_on_one_base_see_their_own_writes(box: Box) -> None:
    for name in ("one", "two"):
        box("run", "--name", name, "--network", "none", "busybox", "sh", "-c", f"echo {name} > /etc/motd; rm /bin/vi")
    image = Path(box.inspect("one")["image"]["rootfs"])
    assert not (image / "etc/motd").exists() and (image / "bin/vi").is_symlink()
    assert "A /etc/motd" in box("diff", "one").stdout and "D /bin/vi" in box("diff", "one").stdout
    box("cp", "two:/etc/motd", str(box.places / "motd"))
    assert (box.places / "motd").read_text() == "two\n"
    assert box.run("busybox", "ls", "/bin/vi") == "/bin/vi\n"


def test_a_user_namespace(box: Box) -> None:
    shown = box.run(
        "--userns", "auto", "busybox", "sh", "-c", "id -u; head -n 1 /proc/self/uid_map; touch /made; stat -c %u /made"
    )
    uid, mapping, owner = shown.strip().split("\n")
    assert uid == "0" and owner == "0"
    outside = int(mapping.split()[1])
    assert outside == USER if box.is_users else outside > 65536
    assert box.run("--userns", "auto", "busybox", "cat", "/etc/passwd").startswith("root:")
    if box.is_users:
        assert "needs root" in box("run", "--userns", "host", "busybox", "true", status=125).stderr


def test_boxes_that_outlive_the_command(box: Box) -> None:
    """ps · stop · rm · inspect · start · exec."""
    box("run", "-d", "--name", "web", "--network", "none", "busybox", "sh", "-c", "echo begun; sleep 1000")
    assert "web" in box("ps").stdout
    assert box.inspect("web")["state"]["status"] == "running"
    assert box("exec", "web", "sh", "-c", "echo inside; exit 3", status=3).stdout == "inside\n"
    box("stop", "-t", "0", "web")
    assert "web" not in box("ps").stdout and "exited (137)" in box("ps", "-a").stdout
    box("start", "web")
    assert box.inspect("web")["state"]["status"] == "running"
    assert box("logs", "web").stdout == "begun\nbegun\n"
    assert "is running" in box("rm", "web", status=1).stderr
    box("rm", "-f", "web")
    assert box("ps", "-aq").stdout == ""


def test_the_exit_status_is_the_commands(box: Box) -> None:
    box.run("busybox", "sh", "-c", "exit 7", status=7)
    box.run("busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?", status=137)
    done = box("run", "--rm", "--network", "none", "busybox", "no-such-command", status=127)
    assert "no-such-command" in done.stderr and done.stderr.count("\n") <= 2


def test_twenty_boxes_at_once(box: Box) -> None:
    box.run("busybox", "true")  # fetches the image
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: box.run("busybox", "echo", str(number), timeout=240), range(20)))
    assert answers == [f"{number}\n" for number in range(20)]


def test_twenty_boxes_run_at_once_in_the_background(box: Box) -> None:
    """All of them run at the same time; root's on one bridge, with different addresses."""
    box.run("busybox", "true")
    network = ["--network", "none"] if box.is_users else []
    names = [f"box{number}" for number in range(20)]
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(
            pool.map(
                lambda name: box("run", "-d", "--name", name, *network, "busybox", "sleep", "1000", timeout=240), names
            )
        )
    assert len(box("ps", "-q").stdout.split()) == 20
    if box.is_users:
        assert "needs root" in box("run", "--network", "bridge", "busybox", "true", status=125).stderr
    else:
        assert len({box.inspect(name)["addresses"][0] for name in names}) == 20


def test_host_and_boxes_ping_each_other(box: Box) -> None:
    """A veth pair and a bridge need root; a user gets an error that says so."""
    if box.is_users:
        assert "needs root" in box("run", "--network", "bridge", "busybox", "true", status=125).stderr
        pytest.skip("the bridge was refused: a user's boxes reach the outside through pasta, and not each other")
    box("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    address = box.inspect("one")["addresses"][0].partition("/")[0]
    ping = ["busybox", "ping", "-c", "1", "-W", "5"]
    assert subprocess.run([*ping, address], check=False, capture_output=True).returncode == 0
    gateway = box("exec", "one", "ip", "route").stdout.split("default via ")[1].split()[0]
    box("exec", "one", *ping, gateway)
    box("run", "--rm", "busybox", *ping[1:], address)
    box("run", "--rm", "busybox", *ping[1:], "one")


def test_the_internet_with_its_names_is_reached_by_nat(
    box: Box, neighbour: Neighbour, server: Callable[..., Any], tmp_path: Path
) -> None:
    """Another network namespace plays the internet, with a DNS server and a web server, which sees the host's
    address."""
    neighbour.serve(server, tmp_path)
    assert V4[1] in box("run", "--rm", "busybox", "nslookup", NAME).stdout
    assert box("run", "--rm", "busybox", "wget", "-q", "-O", "-", f"http://{V4[1]}/").stdout == V4[0]
    assert box("run", "--rm", "busybox", "wget", "-q", "-O", "-", f"http://{NAME}/").stdout in (V4[0], V6[0])


def test_a_published_port_is_reached_from_outside(box: Box, neighbour: Neighbour) -> None:
    serve = "while :; do echo hello | nc -l -p 80; done"
    box("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", serve)

    def answers() -> bool:
        words = neighbour.words("busybox", "nc", "-w", "2", V4[0], "8080")
        return subprocess.run(words, check=False, capture_output=True, timeout=30).stdout == b"hello\n"

    wait_until(answers, "it answers", timeout=30)


def test_after_a_reboot_boxes_are_stopped_not_lost(box: Box) -> None:
    """The processes, the devices and everything below run/ are gone, as if the machine had been switched off."""
    box(
        "run", "-d", "--name", "web", *(["--network", "none"] if box.is_users else []), "busybox",
        "sh", "-c", "echo begun; date > /srv/kept; sleep 1000",
    )  # fmt: skip
    box("run", "--name", "done", "--network", "none", "busybox", "sh", "-c", "exit 3", status=3)
    wait_until(lambda: box("logs", "web").stdout == "begun\n", "it has begun", timeout=20)
    found = box.inspect("web")
    conmon = int((Path(found["directory"]) / "bundle/conmon.pid").read_text())
    for pid in (conmon, found["state"]["pid"]):
        os.kill(pid, signal.SIGKILL)

    def gone() -> bool:
        reap()
        return not Path(f"/proc/{found['state']['pid']}").exists()

    wait_until(gone, "it is gone", timeout=20)
    for words in ("ip link del ocipy0", "nft delete table inet ocipy_box"):
        subprocess.run(words.split(), check=False, capture_output=True)
    for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        (Path("/proc/sys/net") / name).write_text("0")
    for cgroup in Path("/sys/fs/cgroup").glob(f"**/ocipy-box-{found['id']}"):
        cgroup.rmdir()  # a scope goes by itself
    shutil.rmtree(box.places / "run")
    shown = box("ps", "-a").stdout
    assert re.search(r"web .* exited", shown) and "exited (3)" in shown
    box("start", "web")
    assert box("exec", "web", "cat", "/srv/kept").stdout != ""
    wait_until(lambda: box("logs", "web").stdout == "begun\nbegun\n", "it has begun again", timeout=20)


@pytest.fixture
def hostile(box: Box) -> Callable[[str], Path]:
    """Makes a tar with a harmless member, and one of this name."""
    import io
    import tarfile

    def make(name: str) -> Path:
        path = box.places / "hostile.tar"
        with tarfile.open(path, "w") as made:
            for one in ("fine", name):
                info = tarfile.TarInfo(one)
                info.size = 4
                made.addfile(info, io.BytesIO(b"evil"))
        return path

    return make


@pytest.mark.parametrize("name", ["../../../../../../tmp/zip-slip", "/tmp/zip-slip", "a/../../../../../tmp/zip-slip"])
def test_a_zip_slip_is_refused_by_name(box: Box, hostile: Callable[[str], Path], name: str) -> None:
    done = box("run", "--rm", "--network", "none", str(hostile(name)), "true", status=125)
    assert "is refused for" in done.stderr and name in done.stderr
    assert not Path("/tmp/zip-slip").exists()
    assert box("images").stdout.count("\n") == 1
