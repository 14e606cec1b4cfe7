"""buildah bud and podman build: their RUN steps are containers too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.engines import alike
from tests.engines.podman.conftest import Podman


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory with the Containerfile."""
    (tmp_path / "Containerfile").write_text("FROM localhost/alpine\n" + alike.BUILD)
    return tmp_path


@pytest.mark.feature("buildah bud --runtime")
def test_buildah(podman: Podman, context: Path, name: str) -> None:
    if shutil.which("buildah") is None:
        pytest.fail("buildah is not installed; tests/engines/run installs it", pytrace=False)
    words = ["--runtime", podman.runtime, "--isolation=oci", "--network=none", "--tag", name]
    build = podman.call(["buildah", "bud", *words, str(context)]).ok()
    try:
        assert podman("run", "--rm", name).lines == alike.BUILT, repr(build)
    finally:
        podman("rmi", "--force", name).ok()


@pytest.mark.feature("buildah bud --runtime")
def test_buildah_that_fails(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text("FROM localhost/alpine\nRUN echo said && exit 9\n")
    words = ["--runtime", podman.runtime, "--isolation=oci", "--network=none", str(tmp_path)]
    answer = podman.call(["buildah", "bud", *words]).fails("exit status 9")
    assert "said" in answer.stdout + answer.stderr


@pytest.mark.feature("podman build")
def test_podman_build(podman: Podman, context: Path, name: str) -> None:
    podman("build", "--network=none", "--tag", name, str(context)).ok()
    try:
        assert podman("run", "--rm", name).lines == alike.BUILT
    finally:
        podman("rmi", "--force", name).ok()
