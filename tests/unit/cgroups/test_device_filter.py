"""Applying device rules: it is an error if the kernel did not apply them, because others are in force then."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from ocipy.cgroups import device_filter
from ocipy.cgroups.devices import ALL, ANY
from ocipy.errors import Error
from ocipy.linux import _kernel


@pytest.mark.parametrize("stands", ["c 1:3 rwm\n", "a *:* rwm\n", "c 1:3 rw\n", ""])
def test_rules_that_v1_did_not_apply_are_an_error(tmp_path: Path, stands: str) -> None:
    """The kernel accepts a write without applying it: devices.list shows the rules in force."""
    (tmp_path / "devices.list").write_text(stands)
    for name in ("devices.allow", "devices.deny"):
        (tmp_path / name).touch()
    rules = [(False, "a", ANY, ANY, ALL), (True, "c", 1, 5, ALL)]
    with pytest.raises(Error, match="did not apply the device rules"):
        device_filter.set_v1(str(tmp_path), rules)


def test_rules_that_v1_applied_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "devices.list").write_text("c 1:5 rwm\n")
    device_filter.set_v1(str(tmp_path), [(False, "a", ANY, ANY, ALL), (True, "c", 1, 5, ALL)])


@pytest.mark.parametrize("rules", [[(False, "a", ANY, ANY, ALL)], [(True, "c", 1, 3, ALL)], []])
def test_a_device_program_that_cannot_be_loaded_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rules: list[Any]
) -> None:
    """Unless the rules allow everything: no program does the same."""

    def load(*_arguments: Any) -> int:
        raise OSError(errno.EINVAL, "x")

    monkeypatch.setattr(_kernel, "bpf_prog_load", load)
    if rules:
        rules = [(False, "a", ANY, ANY, ALL), *rules]
        with pytest.raises(Error, match="cannot load the device program"):
            device_filter.set_v2(str(tmp_path), rules)
    else:
        device_filter.set_v2(str(tmp_path), [(True, "a", ANY, ANY, ALL)])
