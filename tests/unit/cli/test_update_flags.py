"""The flags of update."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.cli.arguments import Arguments, parse
from ocipy.cli.commands import update
from ocipy.errors import Error


def change(*words: str) -> Any:
    arguments = Arguments()
    parse(words, update.FLAGS, arguments)
    return update.from_flags(arguments)


def test_no_flag_changes_nothing() -> None:
    assert change() == {}


def test_every_flag() -> None:
    numbers = [limit.flag.name for limit in update.LIMITS if limit.convert is update.number]
    sizes = [limit.flag.name for limit in update.LIMITS if limit.convert is update.size]
    words = [f"--{name}={value}" for value, name in enumerate(numbers, 1)]
    words += [f"--{name}={value}k" for value, name in enumerate(sizes, 1)]
    assert change(*words, "--cpuset-cpus", "0-1", "--cpuset-mems=0") == {
        "blockIO": {"weight": 1},
        "cpu": {
            "period": 2,
            "quota": 3,
            "burst": 4,
            "shares": 5,
            "realtimePeriod": 6,
            "realtimeRuntime": 7,
            "idle": 8,
            "cpus": "0-1",
            "mems": "0",
        },
        "pids": {"limit": 9},
        "memory": {"limit": 1024, "reservation": 2048, "swap": 3072, "kernel": 4096, "kernelTCP": 5120},
    }


def test_zero_and_minus_one_differ_from_absent() -> None:
    assert change("--pids-limit", "0", "--cpu-idle", "0") == {"pids": {"limit": 0}, "cpu": {"idle": 0}}
    assert change("--memory", "-1", "--cpu-quota=-1") == {"memory": {"limit": -1}, "cpu": {"quota": -1}}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("512b", 512),
        ("1k", 1024),
        ("100M", 100 << 20),
        ("100mb", 100 << 20),
        ("100 MiB", 100 << 20),
        ("1.5g", 3 << 29),
        ("0.5K", 512),
        ("2T", 2 << 40),
        ("1p", 1 << 50),
        ("-1", -1),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert update.size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-5", "5x", "5mbb", "1.2.3", "1.", ".5k", "1e3", "5 5", "5ib", "²", "k5"])
def test_invalid_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        update.size(text)


@pytest.mark.parametrize("text", ["x", "1.5", "0x9", "--1", "1k", " 1"])
def test_invalid_numbers(text: str) -> None:
    with pytest.raises(Error, match="invalid value for cpu-share"):
        change("--cpu-share=" + text)
