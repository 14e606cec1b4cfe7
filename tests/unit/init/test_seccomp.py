"""init/seccomp.py loads exactly the requested filter."""

from __future__ import annotations

import errno

import pytest

from ocipy.errors import Error
from ocipy.init import seccomp
from ocipy.init.context import Init
from ocipy.linux import _kernel, channel
from ocipy.linux.constants import SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW
from ocipy.plan.seccomp import SeccompLoad

BOTH = SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW


def kernel_without_spec_allow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Imitate a kernel that does not know the flag. Return the flags of each call."""
    asked: list[int] = []

    def seccomp_load(_program: bytes, flags: int) -> int:
        asked.append(flags)
        if flags & SECCOMP_FILTER_FLAG_SPEC_ALLOW:
            raise OSError(errno.EINVAL, "x")
        return 0

    monkeypatch.setattr(_kernel, "seccomp_load", seccomp_load)
    return asked


def test_requested_spec_allow_is_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The specification does not let a runtime leave out a flag: there is an error, and no container."""
    asked = kernel_without_spec_allow(monkeypatch)
    ours, theirs = channel.pair()
    init = Init(channel=ours, state={})
    init.seccomp_program = b"x" * 8
    with pytest.raises(Error, match="cannot load the filter") as caught:
        seccomp.seccomp_load(init, SeccompLoad(flags=BOTH, optional=False))
    assert "one of the flags" in caught.value.hint
    assert asked == [BOTH]
    for end in (ours, theirs):
        _kernel.close_range(end.fd, end.fd, 0)


def test_spec_allow_is_dropped_if_the_config_did_not_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """runc's flag, for a profile without flags."""
    asked = kernel_without_spec_allow(monkeypatch)
    seccomp.load_filter(b"x" * 8, BOTH, True)
    assert asked == [BOTH, SECCOMP_FILTER_FLAG_LOG]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOMEM])
def test_another_error_is_not_retried(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    calls = 0

    def seccomp_load(_program: bytes, _flags: int) -> int:
        nonlocal calls
        calls += 1
        raise OSError(number, "x")

    monkeypatch.setattr(_kernel, "seccomp_load", seccomp_load)
    with pytest.raises(OSError):
        seccomp.load_filter(b"x" * 8, BOTH, True)
    assert calls == 1
