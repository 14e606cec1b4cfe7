"""Children in other namespaces end, whatever happens."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NoReturn

import pytest

from ocipy import Error
from ocipy.box import forked


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """A test that hangs fails."""

    def late(*_arguments: object) -> NoReturn:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_ids_that_cannot_be_mapped_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, id_maps: object) -> NoReturn:
        raise Error(f"newuidmap is not installed for {pid}")

    monkeypatch.setattr(forked, "map_ids", refuse)
    with pytest.raises(Error, match="newuidmap"):
        forked.as_root_of((((0, 0, 1),), ((0, 0, 1),)), lambda: b"")


def test_an_answer_and_a_refusal_come_back() -> None:
    assert forked.call(lambda: b"yes") == b"yes"

    def refuse() -> bytes:
        raise FileNotFoundError(2, "there is none")

    with pytest.raises(FileNotFoundError):
        forked.call(refuse)
