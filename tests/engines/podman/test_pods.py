"""Pods: containers that share namespaces and a parent cgroup; play kube."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.conftest import CGROUP_PARENT
from tests.engines.podman.conftest import Podman
from tests.harness import cgroup_dirs, namespace, wait_until

Inspect = Callable[[str, str], str]

KUBE = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: tests}}
spec:
  hostname: named
  restartPolicy: Never
  volumes:
    - name: shared
      emptyDir: {{}}
    - name: host
      hostPath: {{path: {host}, type: Directory}}
  containers:
    - name: server
      image: localhost/alpine:latest
      command: [sh, -c, "echo served > /www/index.html; exec httpd -f -h /www -p 8000"]
      volumeMounts: [{{name: shared, mountPath: /www}}]
      resources: {{limits: {{memory: 64Mi}}}}
    - name: client
      image: localhost/alpine:latest
      command: [sh, -c, "until wget -q -O /host/got http://127.0.0.1:8000/; do sleep 0.1; done; hostname >> /host/got"]
      env: [{{name: A, value: "1"}}]
      volumeMounts: [{{name: host, mountPath: /host}}]
      securityContext: {{capabilities: {{drop: [CHOWN]}}}}
"""


@pytest.fixture
def pod(podman: Podman, name: str) -> Iterator[str]:
    """A pod's name; removed afterwards."""
    there = cgroup_dirs("libpod_parent")
    yield name
    podman("pod", "rm", "--force", "--time", "0", name)
    # podman leaves a pod's cgroup in hierarchies without a controller, and the parent that `play kube` uses.
    for path in [*reversed(cgroup_dirs("libpod_parent")), *reversed(cgroup_dirs(CGROUP_PARENT))]:
        if path not in there and path.name not in (CGROUP_PARENT, "conmon"):
            path.rmdir()
    assert podman("pod", "ps", "--quiet").text == ""


@pytest.mark.smoke
@pytest.mark.feature("pods with shared namespaces")
def test_pod(podman: Podman, pod: str, inspect: Inspect) -> None:
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        # With ocipy and runc 1.5.2 alike, the pod's cgroup refuses mknod before the container's has a device program.
        pytest.skip("podman 4.3 with cgroupfs has the cgroup of a pod deny all devices on v2, with runc as well")
    podman("pod", "create", "--name", pod, "--hostname", "named", "--share", "net,ipc,uts,pid").ok()
    for number in (1, 2):
        words = ["--name", f"{pod}-{number}", "alpine", "sleep", f"100{number}"]
        podman("run", "-d", f"--pod={pod}", *words).ok()
    first, second = (int(inspect(f"{pod}-{number}", "{{.State.Pid}}")) for number in (1, 2))
    for kind in ("net", "ipc", "uts", "pid"):
        assert namespace(first, kind) == namespace(second, kind)
        assert namespace(first, kind) != namespace("self", kind)
    assert podman("exec", f"{pod}-1", "hostname").text == "named"
    assert "sleep 1002" in podman("exec", f"{pod}-1", "ps").text
    podman("pod", "pause", pod).ok()
    assert inspect(f"{pod}-1", "{{.State.Status}}") == "paused"
    podman("pod", "unpause", pod).ok()
    podman("pod", "stop", "--time", "1", pod).ok()
    podman("pod", "start", pod).ok()
    podman("pod", "kill", pod).ok()


@pytest.mark.feature("play kube")
def test_play_kube(podman: Podman, pod: str, tmp_path: Path, inspect: Inspect) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "pod.yaml").write_text(KUBE.format(name=pod, host=tmp_path / "host"))
    podman("play", "kube", str(tmp_path / "pod.yaml")).ok()
    try:
        got = tmp_path / "host/got"
        wait_until(lambda: got.exists() and got.read_text() == "served\nnamed\n", timeout=30)
        assert inspect(f"{pod}-server", "{{.HostConfig.Memory}}") == str(64 << 20)
    finally:
        podman("play", "kube", "--down", str(tmp_path / "pod.yaml")).ok()
    podman("volume", "prune", "--force")
