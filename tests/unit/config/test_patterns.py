"""Each handwritten predicate accepts what its pattern in the description accepts (ocipy/config/patterns.py)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocipy.config import patterns
from ocipy.config.description import values
from ocipy.config.description.as_schema import NOT_BEFORE_NEWLINE
from ocipy.config.description.markers import Pattern

NEAR = st.text(alphabet="RLIMIT_ABz0192 ,-KMGBcbup:\n=é٣Ⅷª", max_size=14)
"""Strings of the letters that the patterns are made of, and some that str.isdigit and str.isalpha take for theirs."""


PATTERNS = [
    marker
    for kind in vars(values).values()
    for marker in getattr(kind, "__metadata__", ())
    if isinstance(marker, Pattern) and marker.predicate
]


@pytest.mark.parametrize("marker", PATTERNS, ids=lambda marker: marker.predicate)
def test_predicate_and_pattern_agree(marker: Pattern) -> None:
    predicate = getattr(patterns, marker.predicate)
    pattern = marker.regex + NOT_BEFORE_NEWLINE
    compiled = re.compile(pattern)

    @settings(max_examples=300, deadline=None)
    @given(st.from_regex(pattern) | st.builds(str.__add__, st.sampled_from(["", "RLIMIT_", "MB:"]), NEAR))
    def agree(text: str) -> None:
        for candidate in (text, text + "\n", text[:-1], text.lower()):
            assert predicate(candidate) == bool(compiled.search(candidate)), repr(candidate)

    agree()


@pytest.mark.parametrize(
    ("predicate", "good", "bad"),
    [
        (patterns.rlimit_name, "RLIMIT_NOFILE", "RLIMIT_"),
        (patterns.cpu_list, "", "a"),
        (patterns.page_size, "2MB", "MB"),
        (patterns.device_type, "p", ""),
        (patterns.bandwidth_schema, "MB:", "MB"),
    ],
)
def test_edges(predicate: object, good: str, bad: str) -> None:
    assert callable(predicate)
    assert predicate(good) and not predicate(bad)
