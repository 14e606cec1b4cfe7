"""linux/procfs.py: the link of a file descriptor is procfs's own, without a mount on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ocipy.errors import Error
from ocipy.linux import _kernel, procfs


@pytest.mark.parametrize(
    "use",
    [
        lambda proc, fd: procfs.reopen(proc, fd, os.O_RDONLY),
        lambda proc, fd: procfs.change_mode(proc, fd, 0o600),
        lambda proc, fd: procfs.path_of(proc, fd),
    ],
    ids=["reopen", "change_mode", "path_of"],
)
def test_a_link_with_a_mount_on_it_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[int, int], object]
) -> None:
    """CVE-2025-52881: it would lead to a file of the container. A mount on the link has another id."""
    file = tmp_path / "file"
    file.touch(0o644)
    fd = os.open(file, os.O_PATH)
    proc = os.open("/proc/self", os.O_PATH)
    use(proc, fd)
    file.chmod(0o644)
    real = _kernel.mount_id
    monkeypatch.setattr(_kernel, "mount_id", lambda at, path, flags: real(at, path, flags) + bool(path))
    with pytest.raises(Error, match="something is mounted over /proc/self/fd"):
        use(proc, fd)
    assert file.stat().st_mode & 0o777 == 0o644
    os.close(fd)
    os.close(proc)
