"""Phrases that must not return: words that a native speaker stumbles over, with better ones (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]

# Each with what to write instead.
PHRASES = {
    r"so that there be\b": "so that there is",
    r"\b(is|are) none (of|that|who)\b": "is not one of",
    r"\bthat is none\b": "an invalid …",
    r"(?<!there )\bis no (id|file|directory|pipe|terminal|number|name|command|program|link)\b": "is not a",
    r"(?<!there )\bis no (error|box|quota)\b": "is not an error, means no quota",
    r"\bnone of (ours|its|his) business\b": "does not concern",
    r"\bof ours\b": "our",
    r"\bthe own\b": "its own, the caller's",
    r"\bof (its|his|their|our|your|a \w+'s) own\b": "its own …, a separate …, a private …",
    r"\bbeside\b": "next to, in addition to, compared with",
    r"\bbut for\b": "except",
    r"\bgoes by:? ocipy\b": "remove it with",
    r"\b(takes?|took) back\b": "undo",
    r"\bsees (that|to it)\b": "checks, ensures",
    r"\bwhoever\b": "the process that, a user who",
    r"\bfor nobody\b": "for no one else, unused",
    r"\bthereby\b": "nothing, or: by this",
    r"\bshall\b": "must, will",
    r"\b(is|are) to be (a|an|the|carried|made|run|set|written|found|writable)\b": "must be, will be",
    r"\bwhat is left\b": "leftovers, the remaining …",
    r"\bfrom (\d[\d.]*|Linux [\d.]+) on\b": "since, or later",
    r"\bfor want of\b": "without, because … is missing",
    r"\blimits? of (the )?(memory|processes|swap|bytes|huge pages|open files)\b": "memory limit, limit on processes",
    r"\b(is|are|be) told the\b": "… is reported to, learns",
    r"\bsays? of (a|an|the|it|its)\b": "says about",
    r"\breplac(e|es|ing) [^.;:]{1,90} by (a|an|the|its|one)\b": "replace … with",
    r"\ba further\b": "another",
    r"; meant \w": "; did you mean …?",
    r"\b(the|a|its) present (config|state|value|contents?|ids)\b": "the current …",
    r"\banew\b": "again",
    r"\btakes? (it|that|this|them|\d+) for\b": "mistakes … for, treats … as",
    r"\bone of usage\b": "a usage error",
    r"\bwarn(s|ed)? of\b": "warns about",
    r"\b(bound|bind)\b[^.;:]{0,60} on itself\b": "bind onto itself",
    r"\bthe ids 0\b": "uid 0 and gid 0",
    r"\b(the|our) outside (ids|ones|privileges)\b": "our ids outside",
    r"\blook at us\b": "inspect us",
    r"\bwas faster\b": "had already done so",
    r"\bspec: MUST generate\b": "Raises Error, and the section of the specification",
    r": as for \w+_\w+\b": "see …",
    r"\ba (file|process|node|path) of the host's\b": "a host file, one of the host's files",
    r"\bso (many|much) (seconds|bytes|attempts|CPUs)\b": "`seconds` seconds, that many attempts",
    r"\btakes? root\b(?!')": "needs root",
    r"\blook(s|ed)? whether\b": "checks whether, checks that",
    r"\bthe time is over\b": "time is up",
    r"\b(a|an|one) \w+ of (the )?(user|caller|holder|box|uv)'s\b(?=[,.;:)]| (that|in|on|as|is)\b)": "one of the user's",
    r"\bfor ever\b": "forever",
    r"\b(is|are|was) of (another|other) (build|kind|version|processor|modules|libraries)\b": "is from another",
    r"\bpassed over\b": "skipped",
    r"\btaken back\b": "undone",
    r"\btaken for\b": "mistaken for, treated as",
    r"\b(cannot|can|may) be looked at\b": "examined",
    r"\bat another place\b": "elsewhere, in another directory",
    r"\bone of so many\b": "one of that many",
    r"\blast try\b": "last attempt",
    r"\bhow far \w+ came\b": "how far it got",
    r"\b(is|are) nobody's to\b": "must not",
    r"^As (in_child|\w+_\w+|create|exec|check|shutil\S*|hashlib\S*), ": "Like …",
}
ANY = re.compile("|".join(f"({phrase})" for phrase in PHRASES), re.IGNORECASE)

PAGES = sorted(
    str(path.relative_to(TOP))
    for path in (*TOP.glob("*.md"), *TOP.glob("docs/*.md"), *TOP.glob("spec/*.md"), TOP / "Makefile")
)
FOLDERS = sorted(
    {
        *(str(Path("ocipy", path.relative_to(TOP / "ocipy").parts[0])) for path in (TOP / "ocipy").rglob("*.py")),
        *(str(path.parent.relative_to(TOP)) for path in (TOP / "tests").glob("*/*.py")),
        *("bench", "conformance", "examples", "packaging", "release"),
    }
)
# These name phrases in order to look for them.
QUOTING = ("test_words.py", "test_requirements.py")
# Scripts and lists without a suffix that says what they are.
SCRIPTS = [
    "docs/picture",
    "Dockerfile.test",
    "meson.build",
    "spec/requirements.toml",
    "tests/configs/refused.toml",
    *sorted(
        str(path.relative_to(TOP))
        for pattern in ("debian/*", "debian/tests/*", "packaging/*", "demo/*", ".ci/*")
        for path in TOP.glob(pattern)
        if path.is_file() and path.suffix not in (".py", ".toml")
    ),
]


def findings(text: str) -> list[str]:
    """Each phrase in a text, with its surroundings and the better words. Line ends count as blanks."""
    flat = re.sub(r"\s+(# |\| )?", " ", text)
    return [
        f"…{flat[max(0, found.start() - 40) : found.end() + 30]}…: {better}"
        for phrase, better in PHRASES.items()
        for found in re.finditer(phrase, flat, re.IGNORECASE)
    ]


def texts(source: str) -> Iterator[str]:
    """The strings of a module (docstrings too), and its comments, those on consecutive lines together."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
    block, last = "", -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1:
                yield block
                block = ""
            block, last = block + token.string + "\n", token.start[0]
    yield block


def texts_of_c(source: str) -> Iterator[str]:
    """The comments of a C file, without the asterisks at the beginning of lines, and its strings."""
    for comment, string in re.findall(r'(/\*.*?\*/)|"((?:[^"\\\n]|\\.)*)"', source, re.DOTALL):
        yield re.sub(r"^ *\* ?", "", comment, flags=re.MULTILINE) or string


@pytest.mark.parametrize("name", PAGES)
def test_pages(name: str) -> None:
    text = (TOP / name).read_text()
    if name == "CONTRIBUTING.md":  # its table shows the phrases to avoid
        text = re.sub(r"^\|[^|]*\|", "|", text, flags=re.MULTILINE)
    assert findings(text) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_comments_docstrings_and_messages(folder: str) -> None:
    place = TOP / folder
    found = [
        f"{path.relative_to(TOP)}: {finding}"
        for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))
        if path.name not in QUOTING
        for text in texts(path.read_text())
        if ANY.search(text.replace("\n", " "))
        for finding in findings(text)
    ]
    assert found == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(name: str) -> None:
    assert findings((TOP / name).read_text()) == []


def test_c() -> None:
    found = [
        f"{path.relative_to(TOP)}: {finding}"
        for folder in ("ocipy", "tests")
        for path in sorted((TOP / folder).rglob("*.[ch]"))
        for text in texts_of_c(path.read_text())
        for finding in findings(text)
    ]
    assert found == []


def test_each_phrase_is_found_and_sound_english_is_not() -> None:
    for text in (
        "sent a message that is none",
        "Closed, so that there\nbe nothing",
        "a process\nof ours",
        "all but\n# for these",
        "a directory of its own",
        "what is left goes by: ocipy delete",
        "Whoever calls it",
        "since it shall not",
        "from Linux 6.15 on",
        "the limit of processes",
        "it replaces the file by a link",
        "As create, but nothing waits",
        "written anew",
        "waits so many seconds",
        "a directory of the user's, on a disk",
        "this takes root",
    ):
        assert findings(text), text
    for text in (
        "None if there is none",
        "besides",
        "its own directory",
        "from 1 to 3",
        "goes by descriptor",
        "replaced by a link",
        "there is no box",
        "as create does",
        "a child of the caller's own",
        "it takes root's place",
    ):
        assert not findings(text), text


def test_strings_and_comments_of_a_module_are_read() -> None:
    source = '"""Of the\nmodule."""\nx = f"a {x} b"  # one\n# two\n'
    assert {"Of the\nmodule.", "a ", " b", "# one\n# two\n"} <= set(texts(source))


def test_comments_and_strings_of_c_are_read() -> None:
    source = '/* a process\n * of ours */\nputs("that is \\"none\\" of"); /* x */'
    assert list(texts_of_c(source)) == ["/* a process\nof ours */", 'that is \\"none\\" of', "/* x */"]
    assert findings(next(texts_of_c(source)))
