"""A step of init that imports, which no real step does: it would import from the image (CVE-2019-14271).

The tests of that name in test_vulnerabilities.py check that the existing steps open nothing of the image. This test
adds a step that imports, to show in real containers that the seal itself holds.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import TOP
from tests.harness import Bundle, Container, Runtime

pytestmark = pytest.mark.ocipy_only(reason="one of its steps is replaced")

NAME = "planted_by_the_image"

PROGRAM = f"""#!{sys.executable}
import importlib, os, signal, sys
sys.path.insert(0, {str(TOP)!r})
from ocipy.cli.main import main
from ocipy.init import process
from ocipy.init.context import ACTIONS
from ocipy.plan.process import Umask

real = ACTIONS[Umask]

def umask(init, step):
    try:
        IMPORT
    except SystemExit:
        pass
    real(init, step)

ACTIONS[Umask] = umask
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
os._exit(main(sys.argv))
"""

WAYS = {
    "statement": (f"import {NAME}", "internal error: import of " + NAME),
    "importlib": (f"importlib.import_module({NAME!r})", NAME),
}


@pytest.fixture(params=WAYS)
def importing(request: pytest.FixtureRequest, runtime: Runtime, bundle: Bundle, work: Path) -> tuple[Runtime, str]:
    """The runtime under Python with such a step, what it fails with, and an image that has the module where Python
    looks for modules."""
    statement, told = WAYS[request.param]
    program = work / "importing"
    program.write_text(PROGRAM.replace("IMPORT", statement))
    program.chmod(0o755)
    where = sysconfig.get_path("stdlib").lstrip("/")
    bundle.file(f"{where}/{NAME}.py", "open('/loaded', 'w').close()\nraise SystemExit\n")
    return Runtime(str(program), runtime.version, root=runtime.root, work=runtime.work), told


def test_create_with_a_step_that_imports(
    importing: tuple[Runtime, str], bundle: Bundle, new_id: Callable[[], str]
) -> None:
    runtime, told = importing
    runtime.run(bundle.args("true"), new_id()).fails(told)
    assert not (bundle.rootfs / "loaded").exists()


def test_exec_with_a_step_that_imports(
    importing: tuple[Runtime, str], bundle: Bundle, container: Callable[..., Container]
) -> None:
    runtime, told = importing
    one = container(bundle.args("sleep", "1000")).start()
    runtime.call("exec", one.id, "true").fails(told, status=255)
    assert not (bundle.rootfs / "loaded").exists()
