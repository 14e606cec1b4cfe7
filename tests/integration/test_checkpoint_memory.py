"""The transport of a checkpoint's memory: in several dumps, over the network, on demand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import scaled, wait_until
from tests.harness.criu import CRIU, Asked, Counter, has_feature

pytestmark = pytest.mark.usefixtures("criu")

PAGE = 4096
PAGES = 512
# The content of a page, different for each page and each time.
FILL = f"""
import mmap
pages = mmap.mmap(-1, {PAGES * PAGE})
def fill(numbers, word):
    for number in numbers:
        text = f"{{word}} {{number}} ".encode()
        pages[number * {PAGE}:(number + 1) * {PAGE}] = (text * {PAGE})[:{PAGE}]
def words():
    return [pages[number * {PAGE}:number * {PAGE} + 40].split()[:2] for number in range({PAGES})]
"""
LOOK = "[[part.decode() for part in word] for word in words()]"


def is_filled(asked: Asked, **numbers: range) -> None:
    """Assert that the pages have these words; later words win."""
    expected = {number: word for word, span in numbers.items() for number in span}
    assert asked.ask(LOOK) == [[expected[number], str(number)] for number in range(PAGES)]


def size_of_pages(images: Path) -> int:
    return sum(path.stat().st_size for path in images.glob("pages-*.img"))


def blocks_of_pages(images: Path) -> int:
    """The size of the files on disk, without holes."""
    return sum(path.stat().st_blocks * 512 for path in images.glob("pages-*.img"))


@pytest.fixture
def tracking() -> None:
    if not has_feature("mem_dirty_track"):
        pytest.skip("needs a kernel that tracks changes of memory, CONFIG_MEM_SOFT_DIRTY (criu check: mem_dirty_track)")


def test_leave_running(counter: Counter) -> None:
    pid = counter.run()
    counter.checkpoint("--leave-running").ok()
    assert (counter.pid, counter.status) == (pid, "running")
    counter.goes_on(counter.count)
    counter.runtime.delete(counter.id, force=True).ok()
    counter.restore().ok()
    counter.goes_on(1)


@pytest.mark.parametrize("flag", ["", "--auto-dedup"])
def test_a_chain_of_dumps(asked: Asked, work: Path, tracking: None, flag: str) -> None:
    """Each dump has the changes since the previous one. Together they have the final memory."""
    pid = asked.run()
    asked.ask(FILL)
    asked.ask(f"fill(range({PAGES}), 'first')")
    asked.images = work / "one"
    asked.checkpoint("--pre-dump").ok()
    assert (asked.pid, asked.status) == (pid, "running")
    asked.ask("fill(range(100), 'second')")
    whole = blocks_of_pages(work / "one")
    asked.images = work / "two"
    flags = [flag] if flag else []
    asked.checkpoint("--pre-dump", "--parent-path", "../one", *flags).ok()
    asked.ask("fill(range(50, 150), 'third')")
    asked.images = work / "three"
    asked.checkpoint("--parent-path", "../two", *flags).ok()
    assert asked.id not in asked.runtime.ids()
    assert os.readlink(work / "three/parent") == "../two"
    assert size_of_pages(work / "three") < size_of_pages(work / "one")
    if flag:
        assert blocks_of_pages(work / "one") < whole, "what is in newer images is no more in the older ones"
    asked.restore(*flags).ok()
    is_filled(asked, first=range(PAGES), second=range(50), third=range(50, 150))


@pytest.mark.differs_from_runc("it names no flag")
def test_a_pre_dump_without_tracking(asked: Asked) -> None:
    if has_feature("mem_dirty_track"):
        pytest.skip("needs a kernel without CONFIG_MEM_SOFT_DIRTY")
    pid = asked.run()
    asked.checkpoint("--pre-dump").fails("--pre-dump needs criu's feature mem_track", "CONFIG_MEM_SOFT_DIRTY")
    assert (asked.pid, asked.status) == (pid, "running")
    assert asked.ask("1 + 1") == 2


def test_deduplication_at_restore(asked: Asked) -> None:
    """The restore removes pages from the images after reading them."""
    asked.run()
    asked.ask(FILL)
    asked.ask(f"fill(range({PAGES}), 'first')")
    asked.checkpoint().ok()
    before = blocks_of_pages(asked.images)
    asked.restore("--auto-dedup").ok()
    is_filled(asked, first=range(PAGES))
    assert blocks_of_pages(asked.images) < before - PAGES * PAGE / 2


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether a process on this host listens on the port (proc(5), /proc/net/tcp: state 0A)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in map(str.split, lines))


@contextmanager
def running(*words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run criu with these arguments until the end of the `with` block."""
    process = subprocess.Popen([CRIU, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_page_server(asked: Asked, work: Path) -> None:
    """The memory goes there; together with the other images it is a complete checkpoint."""
    asked.run()
    asked.ask(FILL)
    asked.ask(f"fill(range({PAGES}), 'first')")
    arrived = work / "arrived"
    arrived.mkdir()
    port = free_port()
    with running("page-server", "--images-dir", arrived, "--address", "127.0.0.1", "--port", str(port)) as server:
        wait_until(lambda: listens(port), "the page server", 30)
        asked.checkpoint("--page-server", f"127.0.0.1:{port}").ok()
        assert server.wait(scaled(30)) == 0
    assert size_of_pages(asked.images) == 0
    assert size_of_pages(arrived) >= PAGES * PAGE
    for path in arrived.glob("*.img"):
        shutil.copy(path, asked.images)
    asked.restore().ok()
    is_filled(asked, first=range(PAGES))


def test_no_page_server(counter: Counter) -> None:
    """The container continues."""
    pid = counter.run()
    failed = counter.checkpoint("--page-server", f"127.0.0.1:{free_port()}")
    failed.fails("criu")
    if counter.runtime.is_ocipy:
        failed.fails("Can't connect to server", "criu page-server")
    assert (counter.pid, counter.status) == (pid, "running")
    counter.goes_on(counter.count)


def test_lazy_pages(asked: Asked, work: Path) -> None:
    """The memory stays in the old container until the restored one needs it. Then the old one is gone."""
    asked.run()
    asked.ask(FILL)
    asked.ask(f"fill(range({PAGES}), 'first')")
    first, port = asked.id, free_port()
    reading, writing = os.pipe()
    flags = ["--lazy-pages", "--page-server", f"127.0.0.1:{port}", "--status-fd", str(writing)]
    dumping = asked.begin_checkpoint(*flags, fds=[writing])
    os.close(writing)
    assert os.read(reading, 9) == b"\0"
    os.close(reading)
    places: list[str | Path] = ["--images-dir", asked.images, "--work-dir", work / "w"]
    with running("lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", str(port), *places) as server:
        wait_until((work / "w/lazy-pages.socket").exists, "the server of pages", 30)
        asked.id = f"{first}-2"
        asked.bundle.linux["cgroupsPath"] += "-2"
        asked.bundle.write()
        restoring = asked.begin_restore("--lazy-pages")
        done = dumping.wait(120)
        if "Lazy pages transfer FAILED" in asked.log("dump.log"):
            # criu 4.1 and 4.2 on Linux 6.18, with runc as well: page-pipe: splice: -1: Bad file descriptor.
            restoring.signal(signal.SIGTERM)
            restoring.wait(60)
            asked.runtime.delete(first, force=True).ok()
            pytest.skip("needs a kernel on which criu can send lazy pages; it says: Lazy pages transfer FAILED")
        done.ok()
        assert server.wait(scaled(60)) == 0
    is_filled(asked, first=range(PAGES))
    assert asked.runtime.ids() == [asked.id]
    asked.runtime.delete(asked.id, force=True).ok()
    assert restoring.wait().status == 137
