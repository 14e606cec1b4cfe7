"""docs/extending.md: applies the page's example to a copy of the source, and runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Result, scaled

TOP = Path(__file__).parents[2]
PAGE = (TOP / "docs/extending.md").read_text()
NAME = "org.example.mdwe"

# Ask for a writable and executable page. The exit status is 0 on success, 13 (EACCES) otherwise.
PROBE = """
#include <errno.h>
#include <sys/mman.h>
int main(void) {
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page == MAP_FAILED ? errno : 0;
}
"""

pytestmark = pytest.mark.ocipy_only("its own source is changed")


def changed(top: Path) -> None:
    """Change the source as the page says."""
    for language, path, code in re.findall(r"^```(python|diff)\n ?# (\S+)\n(.*?)^```$", PAGE, re.M | re.S):
        file = top / path
        if language == "python":
            assert not file.exists(), path
            file.write_text(code)
            continue
        lines = [(line[:1], line[1:]) for line in code.splitlines(keepends=True)]
        old = "".join(text for mark, text in lines if mark != "+")
        new = "".join(text for mark, text in lines if mark != "-")
        assert file.read_text().count(old) == 1, path
        file.write_text(file.read_text().replace(old, new))


@pytest.fixture
def ocipy(work: Path) -> Callable[..., Result]:
    """A changed copy of the source, under an ordinary interpreter."""
    shutil.copytree(TOP / "ocipy", work / "ocipy", ignore=shutil.ignore_patterns("__pycache__"))
    changed(work)

    def call(*words: str) -> Result:
        argv = [sys.executable, "-B", "-m", "ocipy", "--root", str(work / "extended"), *words]
        # Files: a surviving container would hold a pipe open.
        out, err = work / "out", work / "err"
        with out.open("w") as stdout, err.open("w") as stderr:
            done = subprocess.run(
                argv, cwd=work, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, timeout=scaled(60), check=False
            )
        return Result(argv, done.returncode, out, err)

    return call


@pytest.fixture
def probing(bundle: Bundle, work: Path) -> Bundle:
    """A bundle whose process is the probe."""
    (work / "probe.c").write_text(PROBE)
    subprocess.run(["cc", "-static", "-o", str(bundle.rootfs / "probe"), str(work / "probe.c")], check=True)
    return bundle.args("/probe")


def mdwe_there() -> bool:
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    assert release
    return (int(release[1]), int(release[2])) >= (6, 3)


@pytest.mark.needs_program("cc")
def test_the_example(ocipy: Callable[..., Result], probing: Bundle, new_id: Callable[[], str]) -> None:
    probing.write()
    path = str(probing.path)
    assert ocipy("run", "--bundle", path, new_id()).status == 0
    probing.config["annotations"] = {NAME: "true"}
    probing.write()
    (step,) = [step for step in ocipy("plan", "--format", "json", path).json["init"] if step["action"] == "mdwe"]
    assert step["pointer"] == f"/annotations/{NAME}"
    done = ocipy("run", "--bundle", path, new_id())
    if mdwe_there():
        assert (done.status, done.stderr) == (13, "")
    else:
        assert done.status == 1
        assert f"/annotations/{NAME}: cannot refuse executable memory: Invalid argument\n" in done.stderr
        assert "needs Linux 6.3" in done.stderr
        return
    probing.args("sleep", "1000").write()
    one = new_id()
    assert ocipy("run", "--detach", "--bundle", path, one).status == 0
    try:
        assert ocipy("exec", one, "/probe").status == 13
    finally:
        assert ocipy("delete", "--force", one).status == 0
    probing.config["annotations"] = {NAME: "yes"}
    probing.write()
    assert f"/annotations/{NAME}: must be true or false, not yes" in ocipy("run", "--bundle", path, new_id()).stderr
