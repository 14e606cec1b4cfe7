"""A root filesystem that changes under us: swaps of directories and symlinks, in a volume of two containers."""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, proc_mounts
from tests.harness.hostile import ways_out

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]
RunScript = Callable[..., Result]

# Creates for each race; an implementation that checks before use loses within a few.
RACES = int(os.environ.get("OCIPY_TEST_RACES", "15"))
RENAME_EXCHANGE = 2
AT_FDCWD = -100


class Swapper(threading.Thread):
    """Swaps two names as fast as it can, as a process of another container could."""

    def __init__(self, one: Path, other: Path) -> None:
        super().__init__(daemon=True)
        self.names = os.fsencode(one), os.fsencode(other)
        self.stopped = threading.Event()
        self.swaps = 0

    def run(self) -> None:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        while not self.stopped.is_set():
            for _ in range(50):
                renameat2(AT_FDCWD, self.names[0], AT_FDCWD, self.names[1], RENAME_EXCHANGE)
            self.swaps += 50
            # 2 processors: leave one to the runtime.
            self.stopped.wait(0.0001)

    def __enter__(self) -> Swapper:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.join()


def _race(runtime: Runtime, bundle: Bundle, new_id: NewId, volume: Path, target: Path, link: str) -> list[Result]:
    """The results of creates during swaps of volume/dir and a symlink."""
    (volume / "dir").mkdir(exist_ok=True)
    (volume / "link").symlink_to(link)
    results = []
    with Swapper(volume / "dir", volume / "link") as swapper:
        for _ in range(RACES):
            results.append(runtime.run(bundle, new_id()))
        assert swapper.swaps > RACES
    assert target.is_dir()
    return results


@pytest.mark.parametrize("way", ["absolute", "relative", "root"])
def test_cve_2021_30465_target_swapped_for_a_symlink(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, work: Path, way: str
) -> None:
    """The mount lands at one of the path's targets inside the root, never outside."""
    volume = work / "volume"
    (volume / "dir/target").mkdir(parents=True)
    payload = work / "payload"
    payload.mkdir()
    (payload / "mark").write_text("mounted")
    hostile.mount("/volume", str(volume)).mount("/volume/dir/target", str(payload))
    hostile.sh("cut -d' ' -f5 /proc/self/mountinfo")
    before = len(proc_mounts())
    results = _race(runtime, hostile, new_id, volume, outside, ways_out(hostile, outside)[way])
    inside = ("/volume/", "/target", str(outside), "/outside")
    for result in results:
        if result.status == 0:
            # A mount that went outside is gone with the pivot, and would be missing here.
            landed = [point for point in result.lines if point.endswith("/target")]
            assert len(landed) == 1, repr(result)
            assert landed[0].startswith(inside), repr(result)
        else:
            result.fails()
    assert len(proc_mounts()) == before


@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_cve_2024_45310_nothing_is_made_outside(
    runtime: Runtime, hostile: Bundle, new_id: NewId, outside: Path, work: Path, way: str
) -> None:
    """The target is missing, and its parent is swapped during its creation; the fixture checks `outside`."""
    volume = work / "volume"
    volume.mkdir()
    (work / "file").write_text("mounted")
    hostile.mount("/volume", str(volume))
    hostile.mount("/volume/dir/a/b/file", str(work / "file"))
    hostile.mount("/volume/dir/c/d", "tmpfs", type="tmpfs")
    hostile.args("true")
    for result in _race(runtime, hostile, new_id, volume, outside, ways_out(hostile, outside)[way]):
        assert result.status in (0, 1), repr(result)
        for made in (volume / "dir/a", volume / "dir/c"):
            if not made.is_symlink():
                shutil.rmtree(made, ignore_errors=True)
