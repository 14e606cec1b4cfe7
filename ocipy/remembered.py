"""Answers that a snapshot contains.

Most configs have much in common: the device rules that every container gets, the paths that engines mask, the
capabilities that they leave. To compute what follows from these takes longer than to look it up.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ClassVar, TypeVar

    Argument = TypeVar("Argument")
    Answer = TypeVar("Answer")
else:
    # The core phase has no typing.
    Argument = Answer = object


class Remembered(dict[Argument, Answer]):
    """The answers of a pure function, by its argument. Looking up one that is missing computes it.

    Nobody may change an answer: it is the same object each time. Answers are only added while a snapshot's maker
    practises (cli/practice.py), so the memory of a program that uses the library does not grow.
    """

    __slots__ = ("compute",)
    learns: ClassVar[bool] = False

    def __init__(self, compute: Callable[[Argument], Answer]) -> None:
        self.compute = compute

    def __missing__(self, argument: Argument) -> Answer:
        answer = self.compute(argument)
        if Remembered.learns:
            self[argument] = answer
        return answer
