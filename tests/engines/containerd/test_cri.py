"""containerd's CRI plugin with the runtime as a handler: the kubelet's requests, made by crictl."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines import docs
from tests.engines.containerd.conftest import Cri, Pod
from tests.harness import cgroup_value, cgroups_of, namespace, namespaces, proc_status, wait_until

pytestmark = [pytest.mark.engine("containerd CRI"), pytest.mark.usefixtures("cri_check")]

MakePod = Callable[..., Pod]


@pytest.mark.feature("sandbox: runp, inspectp, stopp, rmp")
def test_sandbox(cri: Cri, make_pod: MakePod) -> None:
    pod = make_pod()
    document = json.loads(cri("inspectp", pod.id).text)
    assert document["status"]["state"] == "SANDBOX_READY"
    assert re.match(r"10\.99\.", document["status"]["network"]["ip"])
    assert document["status"]["runtimeHandler"] == "ocipy"
    assert document["info"]["runtimeOptions"]["binary_name"] == cri.runtime
    cri("stopp", pod.id).ok()
    assert json.loads(cri("inspectp", pod.id).text)["status"]["state"] == "SANDBOX_NOTREADY"
    cri("rmp", pod.id).ok()


def test_recipe_of_the_docs(cri: Cri, name: str) -> None:
    pod = Pod(cri, name)
    cri.file("pod.json", pod.config)
    for words in docs.commands("containerd.md", "crictl"):
        cri(*words).ok()


@pytest.mark.feature("container: create, start, stop, rm, exit status")
def test_container(cri: Cri, make_pod: MakePod) -> None:
    pod = make_pod()
    one = pod.create("sh", "-c", "exit 7")
    assert pod.state(one) == "CREATED"
    cri("start", one).ok()
    wait_until(lambda: pod.state(one) == "EXITED")
    assert pod.status(one)["status"]["exitCode"] == 7
    other = pod.start("sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    assert pod.state(other) == "RUNNING"
    assert cri("ps", "--quiet").text == other
    begin = time.monotonic()
    cri("stop", "--timeout", "1", other).ok()
    assert time.monotonic() - begin >= 1
    assert pod.status(other)["status"]["exitCode"] == 137
    cri("rm", one, other).ok()


@pytest.mark.feature("container: removed when only created")
def test_remove_a_created_container(cri: Cri, make_pod: MakePod) -> None:
    one = make_pod().create("sleep", "1000")
    cri("rm", one).ok()


@pytest.mark.feature("container: missing command")
def test_missing_command(cri: Cri, make_pod: MakePod) -> None:
    """The reason for a failure is the runtime's message."""
    pod = make_pod()
    one = pod.create("no-such-command")
    words = 'exec: "no-such-command": executable file not found in $PATH'
    cri("start", one).fails("executable file not found in $PATH")
    status = pod.status(one)["status"]
    assert words in status["message"]
    assert (status["reason"], status["exitCode"]) == ("StartError", 128)


def test_logs(cri: Cri, make_pod: MakePod) -> None:
    pod = make_pod()
    one = pod.start("sh", "-c", "echo out; echo err >&2; exit 0")
    wait_until(lambda: pod.state(one) == "EXITED")
    answer = cri("logs", one).ok()
    assert (answer.stdout, answer.stderr) == ("out\n", "err\n")


@pytest.mark.feature("exec in a session")
def test_exec(cri: Cri, make_pod: MakePod) -> None:
    one = make_pod().start("sleep", "1000", envs=[{"key": "A", "value": "1"}])
    answer = cri("exec", "-i", one, "sh", "-c", "cat; echo $A; echo err >&2", stdin=b"to and fro\n").ok()
    assert (answer.stdout, answer.stderr) == ("to and fro\n1\n", "err\n")
    cri("exec", one, "sh", "-c", "exit 5").fails("exit code 5")


@pytest.mark.feature("exec on a terminal")
def test_exec_it(cri: Cri, make_pod: MakePod) -> None:
    terminal = cri.terminal("exec", "-it", make_pod().start("sleep", "1000"), "sh")
    terminal.shell()
    assert terminal.end() != 0


@pytest.mark.feature("exec, synchronous: probes")
def test_exec_sync(cri: Cri, make_pod: MakePod) -> None:
    one = make_pod().start("sleep", "1000")
    assert cri("exec", "--sync", one, "cat", "/proc/1/comm").text == "sleep"
    cri("exec", "--sync", one, "sh", "-c", "exit 5").fails("5")
    cri("exec", "--sync", one, "no-such-command").fails("executable file not found in $PATH")
    begin = time.monotonic()
    cri("exec", "--sync", "--timeout", "1", one, "sleep", "500").fails()
    assert time.monotonic() - begin < 60
    wait_until(lambda: "sleep 500" not in cri("exec", "--sync", one, "ps").text)


def test_stats(cri: Cri, make_pod: MakePod) -> None:
    one = make_pod().start("sh", "-c", "while :; do :; done")

    def figures() -> tuple[int, int]:
        (stats,) = json.loads(cri("stats", "--output", "json", one).text)["stats"]
        return (
            int(stats["cpu"]["usageCoreNanoSeconds"]["value"]),
            int(stats["memory"]["workingSetBytes"]["value"]),
        )

    first = figures()
    assert first[1] > 0
    wait_until(lambda: figures()[0] > first[0], timeout=30)


@pytest.mark.feature("limits, update")
def test_update(cri: Cri, make_pod: MakePod) -> None:
    pod = make_pod()
    resources = {"cpu_period": 100000, "cpu_quota": 50000, "memory_limit_in_bytes": 64 << 20}
    one = pod.start("sleep", "1000", linux={"resources": resources})

    def limits() -> tuple[str, str]:
        pid = pod.pid(one)
        if Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return cgroup_value(pid, "", "memory.max"), cgroup_value(pid, "", "cpu.max").split()[0]
        return cgroup_value(pid, "memory", "memory.limit_in_bytes"), cgroup_value(pid, "cpu", "cpu.cfs_quota_us")

    assert limits() == (str(64 << 20), "50000")
    cri("update", "--memory", str(96 << 20), "--cpu-quota", "25000", one).ok()
    assert limits() == (str(96 << 20), "25000")


@pytest.mark.feature("OOM kill reported as such")
def test_oom_killed(make_pod: MakePod) -> None:
    pod = make_pod()
    script = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived"
    resources = {"memory_limit_in_bytes": 32 << 20, "memory_swap_limit_in_bytes": 32 << 20}
    one = pod.start("sh", "-c", script, linux={"resources": resources})
    wait_until(lambda: pod.state(one) == "EXITED", timeout=30)
    assert pod.status(one)["status"]["reason"] == "OOMKilled"


@pytest.mark.feature("pods: shared network, IPC, UTS and PID namespaces, their cgroup")
def test_shared_namespaces(cri: Cri, make_pod: MakePod) -> None:
    # 0 means the pod's namespace for each of them
    options = {"namespace_options": {"network": 0, "pid": 0, "ipc": 0}}
    pod = make_pod(security_context=options)
    one, other = (pod.start("sleep", "1000", linux={"security_context": options}) for _ in range(2))
    for kind in ("net", "ipc", "uts", "pid"):
        assert namespace(pod.pid(one), kind) == namespace(pod.pid(other), kind)
        assert namespace(pod.pid(one), kind) != namespace("self", kind)
    assert cri("exec", "--sync", one, "hostname").text == "named"
    assert cri("exec", "--sync", one, "ps").text.count("sleep 1000") == 2
    assert pod.config["linux"]["cgroup_parent"] in cgroups_of(pod.pid(one))["pids"]


@pytest.mark.feature("pods: the host's namespaces")
def test_host_namespaces(cri: Cri, make_pod: MakePod) -> None:
    # 2 is the node's
    options = {"namespace_options": {"network": 2, "pid": 2, "ipc": 2}}
    pod = make_pod(security_context=options)
    one = pod.start("sleep", "1000", linux={"security_context": options})
    assert namespace(pod.pid(one), "net") == namespace(cri.process, "net")
    assert namespace(pod.pid(one), "pid") == namespace("self", "pid")
    cri("stop", "--timeout", "1", one).ok()


@pytest.mark.feature("security context")
def test_security_context(make_pod: MakePod, cri: Cri) -> None:
    context = {
        "run_as_user": {"value": 1000},
        "run_as_group": {"value": 2000},
        "supplemental_groups": [33],
        "readonly_rootfs": True,
        "no_new_privs": True,
        "capabilities": {"drop_capabilities": ["ALL"], "add_capabilities": ["NET_BIND_SERVICE"]},
        "masked_paths": ["/etc/passwd"],
        "readonly_paths": ["/proc/sys"],
        "seccomp": {"profile_type": 0},
    }
    pod = make_pod()
    one = pod.start("sleep", "1000", linux={"security_context": context})
    assert cri("exec", "--sync", one, "pidof", "sleep").text  # runc's start does not wait for the exec
    status = proc_status(pod.pid(one))
    assert status["Uid"].split()[0] == "1000"
    assert status["Gid"].split()[0] == "2000"
    assert "33" in status["Groups"].split()
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert int(status["CapBnd"], 16) == 1 << 10
    script = "touch /f 2> /dev/null || cat /etc/passwd; echo end"
    assert cri("exec", "--sync", one, "sh", "-c", script).text == "end"
    # A probe is as confined as its container.
    text = cri("exec", "--sync", one, "cat", "/proc/self/status").text
    for field in ("Uid", "Groups", "NoNewPrivs", "Seccomp", "CapBnd", "CapEff"):
        assert re.search(rf"^{field}:\s*(.*)$", text, re.MULTILINE)[1].split() == status[field].split(), field  # type: ignore[index]


@pytest.mark.feature("mounts, devices, sysctls")
def test_mounts(make_pod: MakePod, cri: Cri, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    pod = make_pod(sysctls={"net.ipv4.ip_default_ttl": "33"})
    mounts = [
        {"host_path": str(tmp_path), "container_path": "/rw"},
        {"host_path": str(tmp_path), "container_path": "/ro", "readonly": True},
    ]
    devices = [{"host_path": "/dev/kmsg", "container_path": "/dev/kernel-log", "permissions": "rw"}]
    one = pod.start("sleep", "1000", mounts=mounts, devices=devices)
    script = """cat /ro/in; echo out > /rw/out; (echo > /ro/out) 2> /dev/null || echo ro; stat -c %t,%T /dev/kernel-log
        cat /proc/sys/net/ipv4/ip_default_ttl"""
    assert cri("exec", "--sync", one, "sh", "-c", script).lines == ["from the host", "ro", "1,b", "33"]
    assert (tmp_path / "out").read_text() == "out\n"


@pytest.mark.feature("privileged container")
@pytest.mark.needs_capability("CAP_SYS_RESOURCE")
def test_privileged(make_pod: MakePod, cri: Cri) -> None:
    pod = make_pod(security_context={"privileged": True})
    one = pod.start("sleep", "1000", linux={"security_context": {"privileged": True}})
    assert int(proc_status(pod.pid(one))["CapEff"], 16).bit_count() > 30


@pytest.mark.feature("container with a terminal, attach")
def test_attach(make_pod: MakePod, cri: Cri) -> None:
    one = make_pod().start("sh", tty=True, stdin=True)
    terminal = cri.terminal("attach", "-it", one)
    terminal.send("\n")
    terminal.shell()
    terminal.end()


@pytest.mark.feature("port-forward")
def test_port_forward(make_pod: MakePod, cri: Cri) -> None:
    pod = make_pod()
    pod.start("sh", "-c", "mkdir -p /tmp/www; echo served > /tmp/www/index.html; exec httpd -f -h /tmp/www -p 8000")
    forward = subprocess.Popen(cri.argv("port-forward", pod.id, "18002:8000"), stdout=subprocess.DEVNULL, env=cri.env)
    try:
        fetch = ["nsenter", "-t", str(cri.process), "-n", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:18002/"]
        wait_until(lambda: cri.call(fetch).stdout == "served\n", timeout=30)
    finally:
        forward.terminate()
        forward.wait()


@pytest.mark.feature("a container that dies is started again")
def test_second_attempt(make_pod: MakePod, cri: Cri) -> None:
    pod = make_pod()
    first = pod.start("sh", "-c", "exit 1")
    wait_until(lambda: pod.state(first) == "EXITED")
    second = pod.start("sleep", "1000")
    cri("rm", first).ok()
    assert namespaces(pod.pid(second))["net"] != namespace("self", "net")
