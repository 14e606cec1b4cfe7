"""Where boxes and images are kept: below /var/lib/ocipy and /run, or in the user's directories (XDG)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ocipy import Error
from ocipy.errors import caused_by


class Places(NamedTuple):
    """data: survives a reboot. run: does not: the runtime's state, sockets, leases.

    Everybody may search both, because the boxes' user namespaces walk through them; nobody else may list or write them.
    """

    data: Path
    run: Path

    @property
    def boxes(self) -> Path:
        """A directory for each box, named by its id."""
        return self.data / "boxes"

    @property
    def images(self) -> Path:
        """A directory for each image, named by its digest."""
        return self.data / "images"

    @property
    def runtime(self) -> Path:
        """--root of the runtime."""
        return self.run / "runtime"

    def make(self) -> None:
        """Make the directories that are missing. Raises Error."""
        try:
            for path in (self.data.parent, self.data, self.run.parent, self.run):
                path.mkdir(mode=0o711, parents=True, exist_ok=True)
            for path in (self.boxes, self.images):
                path.mkdir(mode=0o711, exist_ok=True)
            self.runtime.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise caused_by(error, "cannot create the directory for boxes", pointer=str(error.filename)) from None


def default_places() -> Places:
    """The places for this user. OCIPY_BOX names another directory for all of them. Raises Error."""
    wanted = os.environ.get("OCIPY_BOX")
    if wanted:
        top = Path(wanted).absolute()
        return Places(top / "data", top / "run")
    if os.geteuid() == 0:
        return Places(Path("/var/lib/ocipy/box"), Path("/run/ocipy-box"))
    data = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    run = os.environ.get("XDG_RUNTIME_DIR")
    if not run:
        raise Error(
            "XDG_RUNTIME_DIR is not set", hint="a login session sets it; or set OCIPY_BOX to a directory of yours"
        )
    return Places(Path(data) / "ocipy/box", Path(run) / "ocipy-box")
