"""tests/wrap.py: what it wraps, and what it leaves."""

from __future__ import annotations

import pytest

from tests.wrap import WIDTH, pages, too_long, wrapped

LONG = "word " * 40


@pytest.mark.parametrize(
    "text",
    [
        "short\n",
        "two\nshort lines\n",
        f"| {LONG}|\n",
        f"# {LONG}\n",
        f"```\n{LONG}\n\n{LONG}\n```\n",
        f"text:\n\n    {LONG}\n\nmore\n",
        f"[a]: {LONG}\n",
    ],
)
def test_these_stay(text: str) -> None:
    assert wrapped(text) == text
    assert too_long(text) == []


@pytest.mark.parametrize("first", ["", "- ", "12. ", "  - "])
def test_a_paragraph_or_item_is_wrapped_with_its_indent(first: str) -> None:
    text = f"before\n\n{first}{LONG.strip()}\n\nafter\n"
    assert too_long(text) == [3]
    made = wrapped(text)
    assert too_long(made) == []
    lines = made.split("\n")[2:-3]
    assert len(lines) == 2
    assert lines[0].startswith(first + "word") and len(lines[0]) > WIDTH - 5
    assert lines[1].startswith(" " * len(first) + "word")
    assert made.split() == text.split()
    assert wrapped(made) == made


def test_a_second_paragraph_of_an_item_is_not_taken_for_code() -> None:
    text = f"1. one\n\n    {LONG.strip()}\n"
    assert all(len(line) <= WIDTH for line in wrapped(text).split("\n"))


@pytest.mark.parametrize("word", ["-", "1.", "#", "|", "`a b`"])
def test_no_line_begins_as_markup_and_no_code_is_broken(word: str) -> None:
    for before in range(100, 121):
        made = wrapped("x" * before + f" y {word} z " + LONG)
        assert not any(line.startswith(("- ", "1. ", "# ", "| ", "b`")) for line in made.split("\n")[1:]), made


def test_a_long_span_may_be_broken() -> None:
    assert too_long(wrapped(f"a `{LONG}` b `{LONG}` c")) == []


def test_our_pages_are_at_most_120_columns_wide() -> None:
    assert [f"{path}:{number}" for path in pages() for number in too_long(path.read_text())] == [], "run `make format`"
