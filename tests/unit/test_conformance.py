"""The pure parts of the conformance runner: parsing a program's output, and judging it by the list."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from conformance import expected, host, page, report, tap
from conformance.runner import FAILED, PASSED, Outcome, RuntimeRun

LIST = Path(__file__).resolve().parents[2] / "conformance/expected-failures.toml"


@pytest.mark.parametrize(
    ("output", "exit_status", "passed"),
    [
        ("TAP version 13\nok 1 - a\nok 2 - b\n1..2\n", 0, True),
        ("TAP version 13\nok 1 - a\nnot ok 2 - b\n1..2\n", 0, False),
        ("TAP version 13\nok 1 - a\n1..1\n", 1, False),
        # A life-cycle program prints no test, and a record if it failed.
        ("TAP version 13\n1..0\n", 0, True),
        ('TAP version 13\n  ---\n  {\n    "error": "late"\n  }\n  ...\n1..0\n', 0, False),
        # After a passed test it is a remark, and so is an empty one.
        ('ok 1 - refused\n  ---\n  {\n    "error": "exit status 1"\n  }\n  ...\n1..1\n', 0, True),
        ('  ---\n  {\n    "error": ""\n  }\n  ...\n1..0\n', 0, True),
        # The record quotes a container's output, which is not a test of the program.
        ('ok 1 - a\n  ---\n  {\n    "stdout": "not ok 1 - inner"\n  }\n  ...\n', 0, True),
        ("", 1, False),
    ],
)
def test_what_counts_as_passed(output: str, exit_status: int, passed: bool) -> None:
    assert tap.parse(output).passed(exit_status) is passed


def test_single_tests() -> None:
    found = tap.parse('ok 1 - one\nnot ok 2 - two\n  ---\n  {\n    "actual": 3\n  }\n  ...\nok 3 # SKIP no LSM\n').tests
    assert [(test.ok, test.skipped, test.text) for test in found] == [
        (True, False, "one"),
        (False, False, "two"),
        (True, True, "no LSM"),
    ]
    assert found[1].detail == '"actual": 3'


def outcome(program: str, status: str) -> Outcome:
    return Outcome(program, status, 1.0, 0, [tap.Test(status == PASSED, "a <test>")])


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "list.toml"
    path.write_text(text)
    return path


def test_a_difference_from_the_list_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, '[hooks]\nreason = "r"\n[start]\nreason = "r"\nattempts = 2\n')
    expectations = expected.load(path, ("hooks", "start", "state"))
    all_as_listed = [outcome("hooks", FAILED), outcome("start", PASSED), outcome("state", PASSED)]
    assert expected.judge(all_as_listed, expectations) == []
    other = [outcome("hooks", PASSED), outcome("start", FAILED), outcome("state", FAILED)]
    assert [line.split()[0] for line in expected.judge(other, expectations)] == ["hooks", "start", "state"]


def test_an_unmet_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expectations = expected.load(write(tmp_path, '[hooks]\nreason = "r"\nwhen = "no SELinux"\n'), ("hooks",))
    monkeypatch.setitem(expected.CONDITIONS, "no SELinux", lambda: False)
    assert expected.judge([outcome("hooks", PASSED)], expectations) == []
    assert len(expected.judge([outcome("hooks", FAILED)], expectations)) == 1


@pytest.mark.parametrize(
    "text",
    ['[nothing]\nreason = "r"\n', "[hooks]\n", '[hooks]\nreason = " "\n', '[hooks]\nreason="r"\nwhen="?"\n', "=\n"],
)
def test_a_wrong_list_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(expected.ExpectationError):
        expected.load(write(tmp_path, text), ("hooks",))


def test_our_own_list_is_of_the_right_form() -> None:
    programs = tuple(tomllib.loads(LIST.read_text()))
    assert expected.load(LIST, programs)


def test_table_and_page_show_every_program_and_runtime() -> None:
    first = RuntimeRun("ocipy", "/a", "1", [outcome("hooks", FAILED), outcome("state", PASSED)])
    second = RuntimeRun("runc", "/b", "2", [outcome("hooks", PASSED), outcome("state", PASSED)])
    text = report.table([first, second])
    assert "failed 0/1" in text
    assert "1 of 2" in text
    html = page.page([first, second], {"hooks": expected.Expectation("because <it> is")})
    assert "because &lt;it&gt; is" in html
    assert "a &lt;test&gt;" in html
    assert "http" not in html.replace("https://github.com", "")


def test_zombies_are_reaped_before_their_hierarchy_is_unmounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zombie keeps its cgroup, and that the hierarchy: conmon's kept hugetlb from the unified tree for 180 s."""
    zombie = os.fork()
    if not zombie:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)

    def umount(words: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        assert words == ["umount", "/sys/fs/cgroup/hugetlb"]
        with pytest.raises(ChildProcessError):
            os.waitpid(zombie, os.WNOHANG)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(host, "_folders", lambda _top: iter(()))
    monkeypatch.setattr(subprocess, "run", umount)
    monkeypatch.setattr(Path, "read_text", lambda _path: "hugetlb\t0\t1\t1\n")
    host._unmount_hugetlb()
