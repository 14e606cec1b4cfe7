"""The programs accept the files that docs/kubernetes.md and docs/containerd.md show for them."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.engines import docs
from tests.engines.containerd import program

pytestmark = pytest.mark.engine("Kubernetes")


@pytest.mark.smoke
@pytest.mark.feature("containerd's file: containerd config dump")
def test_containerds_file(tmp_path: Path) -> None:
    """containerd 2 reads both forms, and dumps them in its own."""
    file = tmp_path / "config.toml"
    command = ["containerd", "--config", str(file), "config", "dump"]
    for form in program.forms():
        file.write_text(docs.file("containerd.md", form, "/usr/local/bin/ocipy"))
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": program.path()})
        plugins = tomllib.loads(done.stdout)["plugins"]
        cri = plugins["io.containerd.grpc.v1.cri" if program.major() < 2 else "io.containerd.cri.v1.runtime"]
        found = cri["containerd"]["runtimes"]["ocipy"]
        assert found["options"]["BinaryName"] == "/usr/local/bin/ocipy"
        assert found["runtime_type"] == "io.containerd.runc.v2"


@pytest.mark.smoke
@pytest.mark.feature("CRI-O's file: parsed as TOML, CRI-O is not in Debian 12")
def test_crios_file(tmp_path: Path) -> None:
    text = docs.file("kubernetes.md", "/etc/crio/crio.conf.d/50-ocipy.conf", "/usr/local/bin/ocipy")
    table = tomllib.loads(text)["crio"]["runtime"]["runtimes"]["ocipy"]
    assert (table["runtime_path"], table["runtime_type"]) == ("/usr/local/bin/ocipy", "oci")
    if shutil.which("crio"):
        file = tmp_path / "crio.conf"
        file.write_text(text)
        dump = subprocess.run(["crio", "--config", file, "config"], check=True, capture_output=True, text=True).stdout
        assert "ocipy" in dump


@pytest.mark.smoke
@pytest.mark.feature("RuntimeClass")
def test_runtime_class() -> None:
    """The handler has the name that the nodes' files use."""
    kind, pod = yaml.safe_load_all(docs.file("kubernetes.md", "runtimeclass.yaml", ""))
    assert (kind["apiVersion"], kind["kind"], kind["handler"]) == ("node.k8s.io/v1", "RuntimeClass", "ocipy")
    assert pod["spec"]["runtimeClassName"] == kind["metadata"]["name"]
