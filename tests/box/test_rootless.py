"""Boxes of an ordinary user: a user namespace, the overlay in it, and no limits unless the host delegates them."""

from __future__ import annotations

import io
import tarfile

import pytest

from ocipy.box.images import busybox
from tests.box.conftest import Box
from tests.harness.host import Host, wait_until
from tests.harness.user import FIRST_UID, RANGE, USER


@pytest.fixture
def box(user_box: Box) -> Box:
    """The command as the user calls it."""
    return user_box


def test_its_root_is_the_user(box: Box) -> None:
    shown = box.run("busybox", "sh", "-c", "id -u; touch /made; stat -c %u /made; cat /proc/self/uid_map")
    assert shown.split() == ["0", "0", "0", str(USER), "1", "1", str(FIRST_UID), str(RANGE)]


def test_other_ids_are_the_allotted_ones_and_end_with_the_box(box: Box) -> None:
    box(
        "run",
        "--name",
        "one",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "mkdir /srv/x; chown 33 /srv/x; chmod 700 /srv/x",
    )
    (directory,) = (box.places / "data/boxes").glob("[!.]*")
    assert (directory / "upper/srv/x").stat().st_uid == FIRST_UID + 32
    box("rm", "one")
    assert not directory.exists()


def test_two_boxes_on_one_base(box: Box) -> None:
    for name in ("one", "two"):
        box("run", "--name", name, "--network", "none", "busybox", "sh", "-c", f"echo {name} > /etc/motd")
    box("cp", "one:/etc/motd", str(box.places / "motd"))
    assert (box.places / "motd").read_text() == "one\n"


def test_boxes_that_outlive_the_command(box: Box) -> None:
    box("run", "-d", "--name", "web", "--network", "none", "busybox", "sh", "-c", "echo begun; sleep 1000")
    assert box("exec", "web", "hostname").stdout != ""
    assert "web" in box("ps").stdout
    box("stop", "-t", "0", "web")
    assert box("logs", "web").stdout == "begun\n"


def test_limits_that_nobody_has_delegated_are_refused(box: Box) -> None:
    if Host().cgroup == "v2":
        pytest.skip("this host may delegate a v2 cgroup: tests/systemd/run has one")
    done = box("run", "--rm", "--network", "none", "-m", "50M", "busybox", "true", status=125)
    assert "delegated" in done.stderr


def test_a_bridge_needs_root(box: Box) -> None:
    assert "needs root" in box("run", "--rm", "--network", "bridge", "busybox", "true", status=125).stderr


def test_the_kernels_overlay_where_it_agrees(box: Box) -> None:
    box("run", "-d", "--name", "one", "--network", "none", "busybox", "sleep", "1000")
    assert box.inspect("one")["copyOnWrite"]["by"] == "overlayfs"
    assert box("exec", "one", "cat", "/proc/mounts").stdout.startswith("overlay / overlay ")
    for words in (("explain", "one"), ("run", "--dry-run", "--network", "none", "busybox")):
        assert "/: copied on write by overlayfs: the kernel lets a user namespace mount it" in box(*words).stdout
    assert len(list((box.places / "run").glob("overlayfs-*"))) == 1  # it was asked once


def test_files_that_only_other_ids_may_read(box: Box) -> None:
    """The user owns the ids, but has rights over their files only as root of a user namespace."""
    script = "mkdir /srv/p; echo x > /srv/p/secret; chmod 600 /srv/p/secret; chown -R 33 /srv/p; chmod 700 /srv/p"
    box("run", "--name", "one", "--network", "none", "busybox", "sh", "-c", script)
    assert box("diff", "one").stdout.split("\n") == ["C /srv", "A /srv/p", "A /srv/p/secret", ""]
    box("cp", "one:/srv/p", str(box.places / "out"))
    assert (box.places / "out/secret").read_text() == "x\n"
    assert (box.places / "out/secret").stat().st_uid == USER


def test_processes_of_a_box_without_a_cgroup(box: Box) -> None:
    box("run", "-d", "--name", "one", "--network", "none", "busybox", "sh", "-c", "sleep 1000 & sleep 1000")
    wait_until(lambda: len(box.inspect("one")["processes"]) == 2, "both are shown")
    assert box("top", "--no-stream", "one").stdout.count("sleep 1000\n") == 2


@pytest.mark.parametrize("name", ["a:b", "a,b", "a\\b", "x" * 250])
def test_a_path_that_overlayfs_cannot_take(box: Box, name: str) -> None:
    """The error names it, and does not blame the kernel."""
    (box.places / name).mkdir()
    done = box("run", "--rm", "--network", "none", str(box.places / name), "true", status=125)
    why = "of more than 255 bytes" if name[0] == "x" else "that contains : , or \\"
    assert done.stderr.startswith(f"ocipy: box run: overlayfs accepts no path {why}: {box.places}/{name[0]}")
    assert not list((box.places / "data/boxes").glob("[!.]*"))


def test_a_device_of_the_host(box: Box) -> None:
    """It is bind-mounted, under any name; its permissions are the host's, and cannot be limited further."""
    for given in ("/dev/zero", "/dev/zero:/dev/one", "/dev/zero:/dev/two:rw"):
        path = given.removeprefix("/dev/zero:").removesuffix(":rw")
        assert box.run("--device", given, "busybox", "head", "-c", "1", path) == "\0"
    words = ("run", "--rm", "--network", "none", "--device", "/dev/zero:r", "busybox", "true")
    assert "cannot be limited to r" in box(*words, status=125).stderr


def test_directories_that_the_image_closes_to_everybody(box: Box) -> None:
    image = box.places / "closed.tar"
    with tarfile.open(image, "w") as tar:
        for number, mode in enumerate((0, 0o300, 0o400)):
            made = tarfile.TarInfo(f"closed{number}")
            made.type, made.mode = tarfile.DIRTYPE, mode
            tar.addfile(made)
            file = tarfile.TarInfo(f"closed{number}/secret")
            file.size = 3
            tar.addfile(file, io.BytesIO(b"abc"))
        tar.add(busybox.find(), "bin/busybox")
    image.chmod(0o644)
    listed = box.run(str(image), "/bin/busybox", "cat", *(f"/closed{number}/secret" for number in range(3)))
    assert listed == "abc" * 3
    box("rmi", str(image))
