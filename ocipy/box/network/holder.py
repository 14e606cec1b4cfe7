"""A process that holds a user namespace, and a network namespace that belongs to it, until a box has joined them.

The network namespace must belong to the box's user namespace: only then may the box mount its sysfs, set its
parameters and use the capabilities of its root on it (user_namespaces(7)).
"""

from __future__ import annotations

import subprocess
from contextlib import suppress

from ocipy.box.id_maps import IdMap, map_ids
from ocipy.box.tools import begin, failed, last_words

WHAT = "cannot make a user namespace"


class Holder:
    """The process; it ends with us, or by let_go(). id_maps: the user namespace's uid map and gid map. Raises Error."""

    def __init__(self, id_maps: tuple[IdMap, IdMap]) -> None:
        words = ["unshare", "--user", "--net", "cat"]
        pipe = subprocess.PIPE
        self._process = begin(words, WHAT, stdin=pipe, stdout=pipe, stderr=pipe)
        self.pid = self._process.pid
        try:
            self._await()
            map_ids(self.pid, id_maps)
        except BaseException:
            self.let_go()
            raise

    def _await(self) -> None:
        """Wait until it is in its namespaces. Raises Error if it cannot make them."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        with suppress(BrokenPipeError):
            process.stdin.write(b"there\n")
            process.stdin.flush()
        if process.stdout.readline() != b"there\n":
            raise failed("unshare", WHAT, last_words("unshare", process.stderr.read()))

    def let_go(self) -> None:
        """End it. Processes that have joined its namespaces stay there."""
        self._process.kill()
        self._process.communicate()
