"""The launcher trusts code that a group can write to only if nobody but the owner is in that group (trust.c)."""

from __future__ import annotations

import os
import shlex
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.launcher.test_launcher import compiled

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs other users")
USER = 1234
PASSWD = f"root:x:0:0:root:/root:/bin/sh\nkim:x:{USER}:{USER}:Kim:/home/kim:/bin/sh\n"
GROUP = f"root:x:0:\nkim:x:{USER}:\n"
TRUSTED = 3  # exit status of the fake start library
# acl(5) as an extended attribute: version 2; then tag, permissions and id of each entry.
ENTRIES = ((1, 7, -1), (2, 7, USER + 1), (4, 5, -1), (16, 7, -1), (32, 5, -1))
OTHER_USER_WRITES = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in ENTRIES)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """The directory of a launcher that another user installed with a umask of 002."""
    with tempfile.TemporaryDirectory(prefix="launcher-") as name:
        directory = Path(name)
        compiled(directory, '-DOCIPY_START_LIBRARY="{library}"')
        directory.chmod(0o755)
        for path in (directory / "lib", directory / "lib/start.so"):
            os.chown(path, USER, USER)
            path.chmod(0o775)
        yield directory


def started(place: Path, passwd: str, group: str, entry: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Call the launcher as that user, on a host with these users and groups. entry: a command that calls it."""
    for name, text in (("passwd", passwd), ("group", group)):
        (place / name).write_text(text)
    user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *entry]
    mounts = [f"mount --bind {place}/{name} /etc/{name}" for name in ("passwd", "group")]
    script = " && ".join([*mounts, shlex.join([*user, str(place / "bin/ocipy"), "state"])])
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/")


def test_a_private_group_is_not_others(place: Path) -> None:
    assert started(place, PASSWD, GROUP).returncode == TRUSTED
    assert started(place, PASSWD, GROUP.replace(f"{USER}:\n", f"{USER}:kim\n")).returncode == TRUSTED


def test_nor_is_it_in_a_user_namespace(place: Path) -> None:
    """Rootless podman calls a runtime like this: root in the namespace is the user."""
    assert started(place, PASSWD, GROUP, ("unshare", "--map-root-user")).returncode == TRUSTED


@pytest.mark.parametrize(
    ("passwd", "group"),
    [
        (PASSWD, GROUP.replace(f"{USER}:\n", f"{USER}:kim,lee\n")),
        (PASSWD, GROUP + f"other:x:{USER}:lee\n"),
        (PASSWD + f"lee:x:1235:{USER}:Lee:/home/lee:/bin/sh\n", GROUP),
        (PASSWD, GROUP.replace("kim", "staff")),
        (PASSWD, "root:x:0:\n"),
        (PASSWD.replace("kim", "root"), GROUP),
        ("root:x:0:0:root:/root:/bin/sh\n", GROUP),
        ("", ""),
    ],
    ids=["member", "same id", "another's first", "another name", "no group", "name", "no user", "no files"],
)
@pytest.mark.parametrize("entry", [(), ("unshare", "--map-root-user")], ids=["user", "namespace"])
def test_a_group_that_may_have_other_members_is(place: Path, passwd: str, group: str, entry: tuple[str, ...]) -> None:
    refused = started(place, passwd, group, entry)
    assert refused.returncode == 1
    assert refused.stderr.endswith("it, or its directory, is writable by others\n")


@pytest.mark.parametrize("name", ["lib", "lib/start.so"])
def test_a_user_named_in_an_acl_can_write_too(place: Path, name: str) -> None:
    os.setxattr(place / name, "system.posix_acl_access", OTHER_USER_WRITES)
    try:
        assert (place / name).stat().st_mode & 0o777 == 0o775
        assert "is writable by others" in started(place, PASSWD, GROUP).stderr
    finally:
        os.removexattr(place / name, "system.posix_acl_access")
        (place / name).chmod(0o775)


def test_root_has_no_private_group(place: Path) -> None:
    """/usr/local may belong to the group staff; others may be in root's."""
    library = place / "lib/start.so"
    os.chown(library, 0, 0)
    try:
        assert "is writable by others" in started(place, PASSWD, GROUP).stderr
    finally:
        os.chown(library, USER, USER)
