"""The end of the user's input, if that is not a terminal: the process gets its terminal's end-of-file character.

This is what script(1) does: a terminal never ends by itself, so its reader would wait forever (`exec -t … </dev/null`,
cron, CI). Cold: a user's terminal has no end.
"""

from __future__ import annotations

import posix

from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_RDONLY, POLLIN

# The time until the next check, in milliseconds. It doubles each time that there was nothing to do.
SHORTEST, LONGEST = 10, 1000


class EndOfInput:
    """Decides when to send the character: once all earlier input has been read, and again whenever it has been read.

    The end of a pipe is permanent: every later reader sees it. In raw mode the character is like any other, so it is
    sent only once, for a line editor that waits for it.
    """

    __slots__ = ("_due", "_pause", "_sent_raw")

    def __init__(self) -> None:
        self._pause = SHORTEST
        self._due = 0
        self._sent_raw = False

    def tell(self, master: int) -> int:
        """Send the character if it is time. Returns the milliseconds until the next call."""
        now = _kernel.monotonic_ns()
        if now >= self._due:
            self._pause = SHORTEST if self._send(master) else min(2 * self._pause, LONGEST)
            self._due = now + self._pause * 1_000_000
        return (self._due - now) // 1_000_000 + 1

    def _send(self, master: int) -> bool:
        try:
            character, canonical = _kernel.tty_end_of_file(master)
            if not character or (self._sent_raw and not canonical) or _is_unread(master):
                return False
            posix.write(master, bytes((character,)))
        except OSError:  # nobody has the other side open, or its buffer is full
            return False
        self._sent_raw = self._sent_raw or not canonical
        return True


def _is_unread(master: int) -> bool:
    """Whether something waits to be read on the other side, if only the last end-of-file character."""
    peer = _kernel.pty_peer(master, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    try:
        return bool(_kernel.poll([(peer, POLLIN)], 0))
    finally:
        posix.close(peer)
