"""podman as an ordinary user, with private storage."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.podman.conftest import Podman, load_images
from tests.harness import BusyboxRootfs
from tests.harness.host import umount
from tests.harness.user import FIRST_GID, FIRST_UID, NAME, RANGE, USER, opened

AS_USER = ["--reuid", str(USER), "--regid", str(USER), "--clear-groups"]


def open_tun() -> None:
    """Open /dev/net/tun to everybody, as udev does: slirp4netns needs it."""
    tun = Path("/dev/net/tun")
    if tun.exists() and tun.stat().st_mode & 0o006 != 0o006:
        device = tun.stat().st_rdev
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "net", tun.parent], check=True)
        os.mknod(tun, stat.S_IFCHR, device)
        tun.chmod(0o666)


class RootlessPodman(Podman):
    """podman called by USER."""

    def argv(self, *words: str, runtime: str | None = None) -> list[str]:
        command = ["podman", "--runtime", runtime or self.runtime, "--tmpdir", f"{self.home}/tmp", *words]
        # From a directory that the user may enter.
        return [*opened(Path(self.runtime)), "setpriv", *AS_USER, "env", "-C", str(self.home), *command]


@pytest.fixture(scope="session")
def user(make_home: Callable[[str], Path]) -> Iterator[Path]:
    """A home for the user, and entries in /etc, only in the session's mount namespace."""
    home = make_home("user")
    entries = {
        "passwd": f"{NAME}:x:{USER}:{USER}::{home}:/bin/sh\n",
        "group": f"{NAME}:x:{USER}:\n",
        "subuid": f"{NAME}:{FIRST_UID}:{RANGE}\n",
        "subgid": f"{NAME}:{FIRST_GID}:{RANGE}\n",
    }
    (home / "etc").mkdir()
    for name, entry in entries.items():
        file = home / "etc" / name
        file.write_text(Path("/etc", name).read_text() + entry)
        subprocess.run(["mount", "--bind", file, f"/etc/{name}"], check=True)
    yield home
    for name in entries:
        umount(f"/etc/{name}")


@pytest.fixture(scope="session")
def rootless(podman: Podman, user: Path, rootfs: BusyboxRootfs) -> Iterator[RootlessPodman]:
    """The user's podman, with the busybox image as localhost/alpine."""
    open_tun()
    (user / "xdg").mkdir(mode=0o700)
    for driver in ("overlay", "vfs"):
        for name in ("networks", "storage", "run", "tmp"):
            shutil.rmtree(user / name, ignore_errors=True)
        one = RootlessPodman(user, podman.runtime, driver)
        one.env["XDG_RUNTIME_DIR"] = str(user / "xdg")
        subprocess.run(["chown", "-R", f"{USER}:{USER}", user], check=True)
        if one("info").status == 0:
            break
    load_images(one, rootfs)
    yield one
    one("rm", "--all", "--force", "--time", "0")
    one("unshare", "rm", "-rf", str(user / "storage"), str(user / "run"))
    one("system", "migrate")  # ends the process that holds its user namespace


@pytest.fixture(autouse=True)
def none_left(rootless: RootlessPodman, no_leaks: None) -> Iterator[None]:
    """Remove the user's containers before the leak check."""
    yield
    rootless("rm", "--all", "--force", "--time", "0").ok()


Inspect = Callable[[str], str]


@pytest.fixture
def look(rootless: RootlessPodman, name: str) -> Inspect:
    """look(template): one value from podman inspect of the test's container."""
    return lambda template: rootless("inspect", "--format", template, name).text
