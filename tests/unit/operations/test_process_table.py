"""Choosing a container's lines from the output of ps."""

from __future__ import annotations

import pytest

from ocipy.errors import Error
from ocipy.operations.process_table import chosen

FULL = """\
UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 Nov24 ?        00:00:01 /sbin/init 22
root          22       1  0 10:00 ?        00:00:00 sleep 1
nobody        23      22  0 10:00 ?        00:00:00 sh -c PID 22
"""


def test_the_lines_of_these_ids() -> None:
    lines = FULL.splitlines()
    assert chosen(FULL, [22]) == f"{lines[0]}\n{lines[2]}\n"
    assert chosen(FULL, {1, 23, 99}) == f"{lines[0]}\n{lines[1]}\n{lines[3]}\n"


def test_only_the_heading_without_any() -> None:
    assert chosen(FULL, []) == FULL.splitlines()[0] + "\n"


def test_the_column_may_be_anywhere() -> None:
    assert chosen("COMMAND   PID\nsh   7\nsleep 8\n", [8]) == "COMMAND   PID\nsleep 8\n"


def test_a_short_or_non_numeric_line_is_left_out() -> None:
    assert chosen("PID X\n\n  -\n 7 a\n", [7]) == "PID X\n 7 a\n"


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_command_cannot_forge_a_line(end: str) -> None:
    forged = f"PID CMD\n7 sh{end}8 forged\n"
    assert chosen(forged, [8]) == "PID CMD\n"
    assert chosen(forged, [7]) == forged


@pytest.mark.parametrize("text", ["COMMAND\nsh\n", "pid\n1\n"])
def test_without_the_column(text: str) -> None:
    with pytest.raises(Error, match="couldn't find PID field in ps output"):
        chosen(text, [1])
