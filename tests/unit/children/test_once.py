"""Work in a child."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ocipy.children import interrupts, once
from ocipy.errors import Error
from tests.unit.child import in_child


def test_the_result_of_the_child() -> None:
    assert once.in_child("it", lambda: b"x" * 200_000) == b"x" * 200_000


def test_its_error() -> None:
    def fail() -> bytes:
        raise Error("no", pointer="/x", status=7)

    with pytest.raises(Error) as caught:
        once.in_child("it", fail)
    assert (caught.value.line, caught.value.status) == ("/x: no", 7)


def test_a_child_that_hangs_is_ended_by_a_signal() -> None:
    """newuidmap asking a directory service, or a filesystem of the container that does not answer."""

    def hang() -> bytes:
        time.sleep(60)
        return b""

    def interrupted() -> bool:
        watched = interrupts.catch()
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            once.in_child("it", hang, interrupts=watched)
        except Error as error:
            with pytest.raises(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            return (error.line, error.status) == ("interrupted by SIGTERM", 143)
        return False

    begun = time.monotonic()
    assert in_child(interrupted) == 0
    assert time.monotonic() - begun < 10
