"""Where boxes and images are kept: below /var/lib/ocipy and /run, or in the user's directories (XDG)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from ocipy import Error
from ocipy.errors import caused_by

# Ids for boxes with a user namespace: above those that systemd-nspawn picks from (systemd's UIDS-GIDS.md).
USERNS_BASE, USERNS_SIZE = 1_900_000_000, 65536


class Places(NamedTuple):
    """data: survives a reboot. run: does not: the runtime's state, sockets, leases.

    Nobody else may search data: an image or a box may have set-uid programs, which are root's own on the host
    (CVE-2021-41091). Root of a box's user namespace walks through it, so its group is that of --userns auto.
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
            for path in (self.data.parent, self.run.parent, self.run):
                path.mkdir(mode=0o711, parents=True, exist_ok=True)
            self.data.mkdir(mode=0o700, exist_ok=True)
            _close_to_others(self.data)
            for path in (self.boxes, self.images):
                path.mkdir(mode=0o711, exist_ok=True)
            self.runtime.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise caused_by(error, "cannot create the directory for boxes", pointer=str(error.filename)) from None


def _close_to_others(path: Path) -> None:
    """Raises OSError."""
    status = path.stat()
    group, mode = (USERNS_BASE, 0o710) if os.geteuid() == 0 else (status.st_gid, 0o700)
    if (status.st_gid, stat.S_IMODE(status.st_mode)) != (group, mode):
        path.chmod(0o700)
        os.chown(path, -1, group)
        path.chmod(mode)


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
            "XDG_RUNTIME_DIR is not set", hint="a login session sets it; or set OCIPY_BOX to a directory that you own"
        )
    return Places(Path(data) / "ocipy/box", Path(run) / "ocipy-box")
