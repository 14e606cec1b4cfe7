"""Untrusted text is split into lines and words as the kernel means them, everywhere in the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocipy.linux.text import decode, encode, lines_of, shown, stat_fields, value_of, words_of

PACKAGE = Path(__file__).parents[3] / "ocipy"
HELPER = PACKAGE / "linux/text.py"
# Additional line ends of str.splitlines(), and blanks of str.split(), that the kernel does not use.
ODD = "\r\v\f\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029\u3000"


@pytest.mark.parametrize("odd", ODD)
def test_no_other_character_ends_a_line_or_a_word(odd: str) -> None:
    assert lines_of(f"0::/a{odd}0::/b\n1:x:/\n") == [f"0::/a{odd}0::/b", "1:x:/"]
    assert lines_of(encode(f"a{odd}b\nc\n")) == [encode(f"a{odd}b"), b"c"]
    assert words_of(f" a{odd}b\tc  d\n") == [f"a{odd}b", "c", "d"]
    assert words_of(encode(f"a{odd}b c\n")) == [encode(f"a{odd}b"), b"c"]


def test_the_last_line_needs_no_newline_and_an_empty_text_has_no_lines() -> None:
    assert lines_of("a\n\nb") == ["a", "", "b"]
    assert lines_of("a\n\n") == ["a", ""]
    assert lines_of("") == lines_of("\n")[1:] == []
    assert lines_of(b"") == words_of(b"\n ") == []
    assert words_of("") == []


@pytest.mark.parametrize("data", [b"plain", b"\xff\xfe", b"\xed\xb3\xbf", b"\x80caf\xc3\xa9\0"])
def test_bytes_survive_and_can_always_be_shown(data: bytes) -> None:
    assert encode(decode(data)) == data
    assert shown(data).encode() == data.decode(errors="replace").encode()


def test_a_value_belongs_to_its_name_not_to_text_in_another_line() -> None:
    status = b"Name:\tx\x1dShdPnd:\t1\nPid:\t7\nPidfd:\t8\nShdPnd:\t0000000000000100\n"
    assert value_of(status, b"ShdPnd") == b"0000000000000100"
    assert value_of(status, b"Pid") == b"7"
    assert value_of(status, b"Pi") == value_of(status, b"Missing") == b""


def test_the_fields_of_stat_begin_after_the_last_parenthesis() -> None:
    assert stat_fields(b"7 (a) Z 1 (\n) S 1 7\n") == [b"S", b"1", b"7"]
    with pytest.raises(ValueError):
        stat_fields(b"")


def _lenient(call: ast.Call, place: int) -> bool:
    """Whether the call has an error handler other than "strict", as argument number `place` or by name."""
    given = call.args[place:] + [word.value for word in call.keywords if word.arg == "errors"]
    return bool(given) and not (isinstance(given[0], ast.Constant) and given[0].value == "strict")


def _faults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, fault) of each call that splits text in Python's sense, or can fail on an odd byte."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        separator = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "sep")]
        if name == "splitlines":
            yield call.lineno, "splitlines()"
        elif name in ("split", "rsplit") and (not separator or ast.unparse(separator[0]) == "None"):
            yield call.lineno, f"{name}() at all of Python's blanks"
        elif name == "decode" and isinstance(call.func, ast.Attribute) and not _lenient(call, 1):
            yield call.lineno, "a strict decode()"
        elif name == "str" and len(call.args) + len(call.keywords) > 1 and not _lenient(call, 2):
            yield call.lineno, "a strict str()"
        elif name == "open" and isinstance(call.func, ast.Name):
            mode = ast.unparse(call.args[1]) if len(call.args) > 1 else "r"
            ends = any(word.arg == "newline" and ast.unparse(word.value) == repr("\n") for word in call.keywords)
            if not (_lenient(call, 4) and ends) and not set(mode) & set("bwx"):
                yield call.lineno, "a strict open(), or one for which a CR ends a line"
        elif name == "read_text" and not _lenient(call, 1):
            yield call.lineno, "a strict read_text()"


# These read only our own files: the package's schemas, and the sources of the man pages.
OWN = ("config/schema.py", "pages/")


def test_text_is_split_and_decoded_in_one_place_only() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if path != HELPER and not name.startswith(OWN):
            found += [f"{name}:{line}: {fault}" for line, fault in _faults(ast.parse(path.read_text()))]
    assert found == [], "use ocipy/linux/text.py"


@pytest.mark.parametrize(
    "fault",
    [
        "text.splitlines()",
        "read(path).split()",
        "text.split(None, 1)",
        "text.rsplit(maxsplit=5)",
        "data.decode()",
        "data.decode('utf-8')",
        "data.decode('utf-8', 'strict')",
        "data.decode(errors='strict')",
        "str(data, 'utf-8')",
        "open(path)",
        "open(path, encoding='utf-8')",
        "open(path, errors='replace')",
        "path.read_text(encoding='utf-8')",
    ],
)
def test_a_new_one_would_be_seen(fault: str) -> None:
    assert list(_faults(ast.parse(fault)))


@pytest.mark.parametrize(
    "right",
    [
        "text.split(':', 2)",
        "data.decode('utf-8', 'replace')",
        "decode(data)",
        "str(data)",
        "open(path, 'rb')",
        "open(path, errors='surrogateescape', newline='\\n')",
    ],
)
def test_correct_calls_are_not_reported(right: str) -> None:
    assert not list(_faults(ast.parse(right)))
