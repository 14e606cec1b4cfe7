"""Makes the snapshot of this installation on request. The owner's first command also makes it (launcher/renew.c)."""

from __future__ import annotations

import posix
import sys

from ocipy.errors import Error, in_bytes


def setup() -> str:
    """Make or renew the snapshot. Return a sentence about it. Raises Error if it cannot be made."""
    start = sys.modules.get("ocipy.launcher._start")
    if start is None:
        raise Error("an ordinary Python has no snapshot", hint="run the executable: ocipy setup")
    obstacle = start.setup_obstacle()
    if obstacle is not None:
        raise Error(f"cannot make {start.snapshot}: {obstacle}", hint="without it, each command starts Python")
    import subprocess

    made = subprocess.run([start.executable(), "_snapshot"], check=False, capture_output=True)
    if made.returncode != 0:
        what = made.stderr.decode(errors="replace").strip().removeprefix("ocipy: ")
        raise Error(what or f"the process that makes {start.snapshot} ended with status {made.returncode}")
    return f"made {start.snapshot} ({in_bytes(posix.stat(start.snapshot).st_size)}): commands start from it"
