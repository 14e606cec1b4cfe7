"""Options of podman run that reach the runtime through config.json."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.podman.conftest import Podman
from tests.harness import cgroups_of, namespace, proc_status
from tests.harness.host import umount

Inspect = Callable[[str, str], str]
Sleeping = Callable[..., str]


@pytest.fixture
def ranges(tmp_path: Path) -> Iterator[None]:
    """Ids for the user `containers`, whose ranges --userns=auto uses."""
    for name in ("subuid", "subgid"):
        file = tmp_path / name
        file.write_text(Path("/etc", name).read_text() + "containers:500000:200000\n")
        subprocess.run(["mount", "--bind", file, f"/etc/{name}"], check=True)
    yield
    for name in ("subuid", "subgid"):
        umount(f"/etc/{name}")


@pytest.mark.feature("--userns=auto")
def test_userns_auto(podman: Podman, name: str, inspect: Inspect, ranges: None) -> None:
    for one in (f"{name}-1", f"{name}-2"):
        podman("run", "-d", "--name", one, "--userns=auto:size=2000", "alpine", "sleep", "1000").ok()
    uids = [proc_status(int(inspect(f"{name}-{n}", "{{.State.Pid}}")))["Uid"].split()[0] for n in (1, 2)]
    assert all(500000 <= int(uid) < 700000 for uid in uids)
    assert uids[0] != uids[1]
    assert podman("exec", f"{name}-1", "stat", "-c", "%u", "/bin").text == "0"


@pytest.mark.feature("--cgroupns=host|private")
def test_cgroupns(podman: Podman) -> None:
    words = ["alpine", "readlink", "/proc/self/ns/cgroup"]
    assert podman("run", "--rm", "--cgroupns=host", *words).text == namespace("self", "cgroup")
    assert podman("run", "--rm", "--cgroupns=private", *words).text != namespace("self", "cgroup")


@pytest.mark.feature("--cgroups=disabled")
@pytest.mark.differs_from_runc("runc has no --cgroup-manager")
def test_without_cgroups(podman: Podman, name: str, inspect: Inspect) -> None:
    """podman allows this only with runtimes that containers.conf lists (runtime_supports_nocgroups)."""
    words = ["run", "-d", "--name", name, "--cgroups=disabled", "alpine", "sleep", "1000"]
    podman.call(["podman", "--runtime=ocipy", "--tmpdir", f"{podman.home}/tmp", *words]).ok()
    assert cgroups_of(int(inspect(name, "{{.State.Pid}}"))) == cgroups_of("self")


@pytest.mark.feature("--pid --ipc --uts --network=host")
def test_namespaces_of_the_host(podman: Podman) -> None:
    script = "for n in pid ipc uts net; do readlink /proc/self/ns/$n; done"
    flags = ["--pid=host", "--ipc=host", "--uts=host", "--network=host"]
    own = [namespace("self", kind) for kind in ("pid", "ipc", "uts", "net")]
    assert podman("run", "--rm", *flags, "alpine", "sh", "-c", script).lines == own


@pytest.mark.feature("--security-opt seccomp=FILE, no-new-privileges, mask, unmask")
def test_security_options(podman: Podman, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    script = "mkdir /made || echo refused; grep NoNewPrivs /proc/self/status; cat /etc/passwd"
    flags = [f"seccomp={profile}", "no-new-privileges", "mask=/etc/passwd"]
    options = [word for flag in flags for word in ("--security-opt", flag)]
    assert podman("run", "--rm", *options, "alpine", "sh", "-c", script).lines == ["refused", "NoNewPrivs:\t1"]
    words = ["--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL"]
    script = "grep Seccomp: /proc/self/status; grep -c ' /proc/' /proc/self/mounts || true"
    lines = podman("run", "--rm", *words, "alpine", "sh", "-c", script).lines
    assert lines == ["Seccomp:\t0", "0"]


@pytest.mark.feature("--device, --device-cgroup-rule")
def test_device(podman: Podman) -> None:
    script = "stat -c '%t %T' /dev/log-of-kernel; (: > /dev/log-of-kernel) && echo open"
    words = ["alpine", "sh", "-c", script]
    assert podman("run", "--rm", "--device", "/dev/kmsg:/dev/log-of-kernel", *words).lines == ["1 b", "open"]
    podman("run", "--rm", "--device", "/dev/kmsg:/dev/log-of-kernel:r", *words).fails("not permitted")
    script = "mknod /dev/mine c 1 11 && (: > /dev/mine) && echo open"
    flags = ["--cap-add=MKNOD", "--device-cgroup-rule", "c 1:11 rwm"]
    assert podman("run", "--rm", *flags, "alpine", "sh", "-c", script).text == "open"


@pytest.mark.feature("--device with --uidmap and --gidmap")
def test_device_in_a_user_namespace(podman: Podman) -> None:
    """At a path that does not exist on the host, with the owner and mode of the host's device."""
    flags = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536", "--device", "/dev/zero:/dev/not/there"]
    script = "stat -c '%F %a %u:%g %t:%T' /dev/not/there /dev/null; head -c 2 /dev/not/there | od -An -tx1"
    lines = podman("run", "--rm", *flags, "alpine", "sh", "-c", script).lines
    assert lines == ["character special file 666 0:0 1:5", "character special file 666 0:0 1:3", " 00 00"]


@pytest.mark.feature("--tmpfs, --mount type=bind|tmpfs|volume|devpts")
def test_mounts(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    flags = ["--tmpfs", "/etc:size=1m,mode=700", "--mount", "type=tmpfs,destination=/two,tmpfs-size=2m"]
    flags += ["--mount", f"type=bind,source={tmp_path},target=/ro,ro,bind-propagation=rslave"]
    flags += ["--mount", "type=devpts,destination=/pts"]
    script = """stat -c %a /etc; test -e /etc/passwd && echo copied; df -k /two | tail -1 | tr -s ' ' | cut -d' ' -f2
        cat /ro/in; (echo x > /ro/out) 2> /dev/null || echo ro; grep ' /ro ' /proc/self/mountinfo | grep -o 'master:'
        grep -c devpts /proc/mounts"""
    lines = podman("run", "--rm", *flags, "alpine", "sh", "-c", script).lines
    assert lines == ["700", "copied", "2048", "from the host", "ro", "2"] or lines == [
        "700", "copied", "2048", "from the host", "ro", "master:", "2",
    ]  # fmt: skip


@pytest.mark.feature("--ulimit --sysctl --shm-size")
def test_ulimit_and_sysctl(podman: Podman) -> None:
    script = "ulimit -n; cat /proc/sys/net/ipv4/ip_default_ttl; df -k /dev/shm | tail -1"
    # Without nproc podman adds a limit above this session's.
    flags = [
        "--ulimit",
        "nofile=100:200",
        "--ulimit",
        "nproc=300:400",
        "--sysctl",
        "net.ipv4.ip_default_ttl=33",
        "--shm-size",
        "2m",
    ]
    lines = podman("run", "--rm", *flags, "alpine", "sh", "-c", script).lines
    assert lines[:2] == ["100", "33"]
    assert "2048" in lines[2]


@pytest.mark.feature("--init")
def test_init(podman: Podman) -> None:
    assert podman("run", "--rm", "--init", "alpine", "sh", "-c", "cat /proc/1/comm").text in (
        "catatonit",
        "podman-init",
    )


@pytest.mark.feature("--group-add, --umask, --timezone, --oom-score-adj")
def test_process_attributes(podman: Podman) -> None:
    own = int(Path("/proc/self/oom_score_adj").read_text())
    flags = ["--user=1000", "--group-add=33", "--umask=0077", f"--oom-score-adj={own + 100}"]
    script = "id -G; umask; cat /proc/self/oom_score_adj"
    lines = podman("run", "--rm", *flags, "alpine", "sh", "-c", script).lines
    assert "33" in lines[0].split()
    assert lines[1:] == ["0077", str(own + 100)]


@pytest.mark.feature("--preserve-fds")
def test_preserve_fds(podman: Podman) -> None:
    words = podman.argv("run", "--rm", "--preserve-fds=1", "alpine", "sh", "-c", "cat <&3; ls /proc/self/fd")
    answer = podman.call(["sh", "-c", 'exec 3< /proc/sys/kernel/ostype; exec "$@"', "sh", *words])
    lines = answer.lines
    assert lines[0] == "Linux"
    assert set(map(int, lines[1:])) <= {0, 1, 2, 3, 4}, "4 is the directory that ls reads"


@pytest.mark.feature("--rootfs")
def test_rootfs(podman: Podman, tmp_path: Path) -> None:
    subprocess.run(["mkdir", tmp_path / "root"], check=True)
    subprocess.run(["cp", "-a", "/bin/busybox", tmp_path / "root/sh"], check=True)
    text = podman("run", "--rm", "--rootfs", str(tmp_path / "root"), "/sh", "-c", "echo hello").text
    assert text == "hello"


@pytest.mark.feature("--annotation, --label, --env-host")
def test_annotation(podman: Podman, sleeping: Sleeping, inspect: Inspect) -> None:
    one = sleeping("--annotation", "org.example=one", "--annotation", "run.oci.unknown=1")
    assert re.search(r"org.example:one", inspect(one, "{{.Config.Annotations}}"))
    assert os.path.exists(f"/proc/{inspect(one, '{{.State.Pid}}')}")
