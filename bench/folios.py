"""What the page cache holds of the snapshot: figures differ by a quarter between huge pages and single ones
(docs/performance.md, *Huge pages*)."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

PAGE = 4096
PAGES_OF_HUGE = 512
# linux/kernel-page-flags.h, and proc_pid_pagemap(5).
_HEAD, _TAIL = 1 << 15, 1 << 16
_PRESENT, _FRAME = 1 << 63, (1 << 55) - 1


def huge_pages(flags: list[int]) -> int:
    """How many pages of a file are parts of huge ones. flags: of each page, in order; 0 if it is not cached."""
    found = run = 0
    for one in (*flags, 0):
        if one & _TAIL and run:
            run += 1
            continue
        found += run if run >= PAGES_OF_HUGE else 0
        run = 1 if one & _HEAD else 0
    return found


def flags_of(file: Path) -> list[int]:
    """The kernel's flags of each page of a file; 0 if it is not cached. Raises OSError unless this is root."""
    libc = ctypes.CDLL(None, use_errno=True)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, mmap.MAP_PRIVATE) as memory:
        memory.madvise(mmap.MADV_RANDOM)  # no read-ahead, which would fill gaps with single pages for good
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        pages = -(-len(memory) // PAGE)
        cached = (ctypes.c_ubyte * pages)()
        if libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(memory)), cached):
            raise OSError(ctypes.get_errno(), "mincore")
        with open("/proc/self/pagemap", "rb", 0) as frames, open("/proc/kpageflags", "rb", 0) as kernel:
            return [
                _flags_of_page(memory, start, page, frames.fileno(), kernel.fileno()) if cached[page] & 1 else 0
                for page in range(pages)
            ]


def _flags_of_page(memory: mmap.mmap, start: int, page: int, frames: int, kernel: int) -> int:
    memory[page * PAGE]  # a page fault maps the page, so that its frame is known
    entry = _number(frames, start // PAGE + page)
    return _number(kernel, entry & _FRAME) if entry & _PRESENT else 0


def _number(file: int, index: int) -> int:
    return int.from_bytes(os.pread(file, 8, index * 8), "little")


def about(file: Path) -> str:
    """One line about a snapshot, or why nothing is known."""
    try:
        flags = flags_of(file)
    except OSError as error:
        return f"the snapshot in the page cache: unknown: {error}"
    huge, cached = huge_pages(flags), sum(flag != 0 for flag in flags)
    return f"the snapshot in the page cache: {cached} of {len(flags)} pages, {huge} of them parts of huge pages"
