"""Signals by name, SIG-name and number."""

from __future__ import annotations

import re
import signal

import pytest

from ocipy.errors import Error
from ocipy.linux import signals


@pytest.mark.parametrize("text", ["TERM", "SIGTERM", "term", "sigterm", "15"])
def test_every_form(text: str) -> None:
    assert signals.number(text) == signal.SIGTERM


def test_the_names_are_the_hosts() -> None:
    for known in signal.Signals:
        if known.name.startswith("SIGRT"):
            continue
        assert signals.number(known.name) == known


def test_realtime() -> None:
    assert signals.number("SIGRTMIN+3") == 37
    assert signals.number("RTMAX-1") == 63


@pytest.mark.parametrize("text", ["", "NOPE", "65", "-1", "RTMIN+40", "1x", "SIG"])
def test_invalid_forms(text: str) -> None:
    with pytest.raises(Error, match=re.escape(f'unknown signal "{text}"')):
        signals.number(text)
