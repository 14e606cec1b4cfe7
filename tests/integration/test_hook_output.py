"""crun's annotations that name files for the output of hooks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Runtime, open_files
from tests.harness.hooks import KINDS, hooks, shell

pytestmark = pytest.mark.ocipy_only("crun's annotations")

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]


def test_annotations_name_files_for_the_output_of_all_hooks(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path
) -> None:
    """The output of each kind of hook is appended, and the container's process has none of the files open."""
    (work / "out").write_text("before\n")
    bundle.config["annotations"] = {"run.oci.hooks.stdout": f"{work}/out", "run.oci.hooks.stderr": "err"}
    hooks(bundle, **{kind: [shell(f"echo {kind}; echo {kind} >&2")] for kind in KINDS})
    bundle.sh("ls -l /proc/$$/fd; echo own output")
    result = runtime.run(bundle, new_id()).ok()
    assert (work / "out").read_text().split() == ["before", *KINDS]
    assert (bundle.path / "err").read_text().split() == list(KINDS)
    assert (bundle.path / "err").stat().st_mode & 0o7777 == 0o600
    assert len([line for line in result.lines if "->" in line]) == 3
    assert result.lines[-1] == "own output"


def test_a_waiting_init_keeps_hook_output_open_only_for_its_own_hooks(
    container: MakeContainer, make_bundle: Callable[..., Bundle], work: Path
) -> None:
    for kind, count in (("createContainer", 0), ("startContainer", 1)):
        bundle = make_bundle()
        bundle.config["annotations"] = {"run.oci.hooks.stdout": f"{work}/out"}
        hooks(bundle, **{kind: [shell("true")]})
        one = container(bundle.args("sleep", "1000"))
        assert sum(path == f"{work}/out" for path in open_files(one.pid).values()) == count
        one.start()
        assert f"{work}/out" not in open_files(one.pid).values()


@pytest.mark.parametrize(
    ("make", "words"), [(lambda path: path.symlink_to("/etc/issue"), "a symbolic link"), (os.mkfifo, "nobody reads")]
)
def test_hook_output_goes_to_no_symlink_and_no_fifo_without_a_reader(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, make: Callable[[Path], None], words: str
) -> None:
    make(work / "out")
    bundle.config["annotations"] = {"run.oci.hooks.stdout": f"{work}/out"}
    hooks(bundle, prestart=[shell("true")])
    runtime.run(bundle, new_id()).fails("/annotations/run.oci.hooks.stdout: cannot open", words)
    assert runtime.ids() == []


def test_poststop_hooks_run_even_if_the_file_for_their_output_is_gone(
    container: MakeContainer, bundle: Bundle, work: Path
) -> None:
    (work / "logs").mkdir()
    bundle.config["annotations"] = {"run.oci.hooks.stdout": f"{work}/logs/out"}
    hooks(bundle, poststop=[shell(f"touch {work}/marker")])
    one = container(bundle, args=["true"])
    one.start().reap()
    (work / "logs/out").unlink()
    (work / "logs").rmdir()
    assert "/annotations/run.oci.hooks.stdout: cannot open" in one.runtime.delete(one.id).ok().stderr
    assert (work / "marker").exists()
