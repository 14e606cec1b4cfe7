"""Where boxes and images are kept: below /var/lib/ocipy and /run, or in the user's directories (XDG)."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ocipy import Error
from ocipy.box.names import check_utf8
from ocipy.errors import caused_by

ELSEWHERE = "set OCIPY_BOX to a directory that you own"
# With these the directory itself is at fault; for any other errno the hint is its usual cause.
HINTS = dict.fromkeys((errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS), ELSEWHERE)
# Ids for boxes with a user namespace: above those that systemd-nspawn picks from (systemd's UIDS-GIDS.md).
USERNS_BASE, USERNS_SIZE = 1_900_000_000, 65536


class Places(NamedTuple):
    """data: survives a reboot. run: does not: the runtime's state, sockets, leases.

    No other user may enter data: an image or a box may contain set-uid programs, which belong to the host's root
    (CVE-2021-41091). Root of a box's user namespace must pass through it, so its group is that of --userns auto.
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
        for path in self:
            check_utf8(str(path), hint=ELSEWHERE)
        try:
            for path in (self.data.parent, self.run.parent, self.run):
                path.mkdir(mode=0o711, parents=True, exist_ok=True)
            self.data.mkdir(mode=0o700, exist_ok=True)
            _close_to_others(self.data)
            for path in (self.boxes, self.images):
                path.mkdir(mode=0o711, exist_ok=True)
            self.runtime.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise caused_by(
                error, "cannot create the directory for boxes", pointer=str(error.filename), hint=HINTS
            ) from None


def _close_to_others(path: Path) -> None:
    """Let no other user enter the directory. Raises OSError."""
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
    run = _absolute("XDG_RUNTIME_DIR")
    if run is None:
        raise Error("XDG_RUNTIME_DIR is not set to an absolute path", hint=f"a login session sets it; or {ELSEWHERE}")
    data = _absolute("XDG_DATA_HOME") or _home() / ".local/share"
    return Places(data / "ocipy/box", run / "ocipy-box")


def _absolute(variable: str) -> Path | None:
    """The directory in the variable. The XDG specification says to ignore a relative path."""
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else None


def _home() -> Path:
    """From HOME, otherwise from the user's entry in /etc/passwd. Raises Error."""
    home = _absolute("HOME")
    if home is None:
        with suppress(KeyError):  # the user has no entry
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    if home is None or not home.is_absolute():
        raise Error("HOME is not set to an absolute path", hint=ELSEWHERE)
    return home
