"""The end of the user's input, where that is no terminal: the process is told by its terminal's end-of-file character.

As script(1) does it: a terminal has no end of its own, and who reads it would wait for ever (`exec -t … </dev/null`,
cron, CI). Cold: a user's terminal comes to no end.
"""

from __future__ import annotations

import posix

from ocipy.linux import _kernel
from ocipy.linux.constants import O_CLOEXEC, O_NOCTTY, O_NONBLOCK, O_RDONLY, POLLIN

# How long to the next look, in milliseconds: doubled each time that there was nothing to do.
SHORTEST, LONGEST = 10, 1000


class EndOfInput:
    """When to send the character: once all that was sent before has been read, and each time that it was read.

    The end of a pipe stays, and is everybody's who reads it later. In raw mode it is a character like others: only
    once, for a line editor that is waiting for it.
    """

    __slots__ = ("_due", "_pause", "_sent_raw")

    def __init__(self) -> None:
        self._pause = SHORTEST
        self._due = 0
        self._sent_raw = False

    def tell(self, master: int) -> int:
        """Send it if it is time to. In how many milliseconds to come again."""
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
        except OSError:  # nobody has the other side open, or it takes no more
            return False
        self._sent_raw = self._sent_raw or not canonical
        return True


def _is_unread(master: int) -> bool:
    """Something is waiting to be read on the other side, if only the character of before."""
    peer = _kernel.pty_peer(master, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
    try:
        return bool(_kernel.poll([(peer, POLLIN)], 0))
    finally:
        posix.close(peer)
