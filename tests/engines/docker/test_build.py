"""docker build: its RUN steps are containers too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines import alike
from tests.engines.docker.conftest import Docker


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory with the Dockerfile."""
    (tmp_path / "Dockerfile").write_text("FROM alpine\n" + alike.BUILD)
    return tmp_path


BUILDERS = pytest.mark.parametrize(
    "buildkit",
    [
        pytest.param("0", marks=pytest.mark.feature("build")),
        pytest.param("1", marks=pytest.mark.feature("build by BuildKit")),
    ],
)


@BUILDERS
@pytest.mark.smoke
def test_build(docker: Docker, context: Path, name: str, buildkit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old builder uses the default runtime, BuildKit the program named runc."""
    monkeypatch.setitem(docker.env, "DOCKER_BUILDKIT", buildkit)
    before = docker.runc_calls()
    docker("build", "--no-cache", "--tag", name, str(context)).ok()
    assert docker.runc_calls() > before or buildkit == "0"
    try:
        assert docker("run", "--rm", name).lines == alike.BUILT
    finally:
        docker("rmi", "--force", name).ok()


@BUILDERS
def test_build_that_fails(
    docker: Docker, tmp_path: Path, name: str, buildkit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(docker.env, "DOCKER_BUILDKIT", buildkit)
    (tmp_path / "Dockerfile").write_text("FROM alpine\nRUN echo said && exit 9\n")
    words = "returned a non-zero code: 9" if buildkit == "0" else "exit code: 9"
    answer = docker("build", "--no-cache", "--tag", name, str(tmp_path)).fails(words)
    assert "said" in answer.stdout + answer.stderr
