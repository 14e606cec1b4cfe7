"""Boxes where the caller's surroundings are unusual: no problem, or one clear error that leaves nothing behind."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.conftest import Box, box_of
from tests.conftest import runtime_path
from tests.harness.host import wait_until
from tests.harness.user import HIDDEN, USER

RUN = ("run", "--rm", "--network", "none", "busybox")
SLEEP = ("busybox", "sleep", "1000")
CLOSED = ["sh", "-c", 'umask 077; exec "$@"', "sh"]


@pytest.fixture(params=["root", "user"])
def box(request: pytest.FixtureRequest) -> Box:
    """Root's and a user's."""
    return box_of(request.param, request, {})


def said(box: Box, *words: str, status: int = 125) -> str:
    """The error of a command that fails: a line and its hint, on standard error alone."""
    done = box(*words, status=status)
    assert done.stdout == "" and done.stderr.startswith(f"ocipy: box {words[0]}: ")
    assert done.stderr.count("\n") == 2 and "Traceback" not in done.stderr and "the step" not in done.stderr
    return done.stderr


def test_a_umask_that_closes_files_to_others(box: Box) -> None:
    """It applies neither in the box, nor to its root, nor to the files that are made for it."""
    box.before = [*CLOSED, *box.before]
    script = "umask; cat /etc/hostname /etc/hosts /etc/resolv.conf >/dev/null && id -u; ls -ld / | cut -c1-10"
    assert box.run("-u", "nobody", "busybox", "sh", "-c", script) == "0022\n65534\ndrwxr-xr-x\n"
    box("run", "-d", "--name", "one", "--network", "none", *SLEEP)
    assert box("exec", "-u", "nobody", "one", "id", "-u").stdout == "65534\n"


def test_a_umask_and_a_user_namespace(root_box: Box) -> None:
    root_box.before = CLOSED
    assert root_box.run("--userns", "auto", "-u", "nobody", "busybox", "id", "-u") == "65534\n"


def test_hidepid(box: Box) -> None:
    """The box's processes may have other ids, which a user does not see in /proc."""
    box.before = ["unshare", "--mount", "sh", "-c", HIDDEN, "sh", "2", *box.before]
    box("run", "-d", "--name", "one", "--network", "none", "-u", "nobody", *SLEEP)
    assert box("exec", "one", "id", "-u").stdout == "65534\n"
    assert box("ps").stdout.count("running") == 1
    assert box.inspect("one")["state"]["pid"] > 0
    box("cp", "one:/etc/hostname", str(box.places / "hostname"))
    box("explain", "one")
    box("restart", "one")
    box("stop", "-t", "0", "one")


def test_a_terminal_for_the_box_without_one_here(box: Box) -> None:
    for flags in ("-i", "-t", "-it"):
        assert box.run(flags, "busybox", "echo", "hello").split() == ["hello"]
    box("run", "-dt", "--name", "one", "--network", "none", *SLEEP)
    assert box("exec", "-it", "one", "echo", "hello").stdout.split() == ["hello"]


@pytest.fixture
def at_home(user_box: Box, user_places: Path) -> Box:
    """A user's, with the default places."""
    (user_places / "run").mkdir()
    os.chown(user_places / "run", USER, USER)
    del user_box.environment["OCIPY_BOX"]
    user_box.environment |= {"HOME": str(user_places / "home"), "XDG_RUNTIME_DIR": str(user_places / "run")}
    return user_box


ELSEWHERE = "set OCIPY_BOX to a directory that you own\n"


@pytest.mark.parametrize("directory", [None, "", "relative", "/nonexistent/run", "/usr"])
def test_no_usable_directory_of_the_session(at_home: Box, directory: str | None) -> None:
    del at_home.environment["XDG_RUNTIME_DIR"]
    if directory is not None:
        at_home.environment["XDG_RUNTIME_DIR"] = directory
    error = said(at_home, *RUN, "true")
    end(at_home)
    assert error.endswith(ELSEWHERE)
    named = directory is not None and directory.startswith("/")
    assert (": /" if named else "XDG_RUNTIME_DIR is not set to an absolute path") in error


@pytest.mark.parametrize("home", [None, "", "relative", "/nonexistent/home", "/usr"])
def test_no_usable_home(at_home: Box, home: str | None) -> None:
    """Without a usable HOME, that of /etc/passwd counts: / for this user."""
    del at_home.environment["HOME"]
    if home is not None:
        at_home.environment["HOME"] = home
    error = said(at_home, *RUN, "true")
    end(at_home)
    assert error.endswith(ELSEWHERE)
    assert (": /.local: cannot" in error) == (home in (None, "", "relative"))


def test_a_user_without_a_home_or_an_entry(at_home: Box) -> None:
    del at_home.environment["HOME"]
    at_home.before = [word.replace(str(USER), str(USER + 1)) for word in at_home.before]
    os.chown(at_home.environment["XDG_RUNTIME_DIR"], USER + 1, USER + 1)
    assert "HOME is not set to an absolute path" in said(at_home, *RUN, "true")
    end(at_home)


def test_a_relative_directory_for_data_is_ignored(at_home: Box, tmp_path: Path) -> None:
    os.mkdir(at_home.environment["HOME"])
    os.chown(at_home.environment["HOME"], USER, USER)
    at_home.environment["XDG_DATA_HOME"] = "relative"
    assert at_home(*RUN, "id", "-u").stdout == "0\n"
    assert Path(at_home.environment["HOME"], ".local/share/ocipy/box/boxes").is_dir()
    assert not Path("relative").exists()
    end(at_home)


def end(at_home: Box) -> None:
    """Undo what would disturb the fixture, which removes the boxes at the end."""
    at_home.before = [word.replace(str(USER + 1), str(USER)) for word in at_home.before]
    at_home.environment["OCIPY_BOX"] = str(at_home.places)
    os.chown(at_home.places / "run", USER, USER)


@pytest.mark.parametrize("name", ["h\u00f6he", "a b", "a'b\"c", "-x", "a\nb", "a%b$c"])
def test_a_place_with_an_odd_name(box: Box, name: str) -> None:
    """The programs that boxes need take it as it is, in any locale."""
    place = box.places / name
    place.mkdir()
    if box.is_users:
        os.chown(place, USER, USER)
    box.environment |= {"OCIPY_BOX": str(place), "LC_ALL": "C"}
    box("run", "-d", "--name", "one", "--network", "none", *SLEEP)
    assert box("exec", "one", "echo", "inside").stdout == "inside\n"
    assert box.inspect("one")["directory"].startswith(str(place))
    box("stop", "-t", "0", "one")
    assert box("wait", "one").stdout == "137\n"
    box("rm", "one")


@pytest.mark.parametrize("to", ["/dev/full", "&-"])
def test_an_output_that_cannot_be_written(box: Box, to: str) -> None:
    """A box whose id cannot be printed is removed: nobody would know about it."""
    why = "No space left on device" if to == "/dev/full" else "Bad file descriptor"
    before = ["sh", "-c", f'exec "$@" >{to}', "sh", *box.before]
    box("create", "--name", "one", "--network", "none", *SLEEP)
    usual, box.before = box.before, before
    for words in (("run", "-d", "--network", "none", *SLEEP), ("create", "busybox"), ("ps",), ("inspect", "one")):
        done = box(*words, status=None)
        assert done.stderr.startswith(f"ocipy: box {words[0]}: cannot write to standard output: {why}\n")
        assert done.returncode == (125 if words[0] == "run" else 1)
    box.before = usual
    assert box("ps", "-a").stdout.count("\n") == 2


def test_a_place_whose_name_is_not_utf_8(box: Box) -> None:
    place = os.fsencode(box.places) + b"/a\xffb"
    box.environment["OCIPY_BOX"] = os.fsdecode(place)
    error = said(box, *RUN, "true")
    assert f"{box.places}/a\\xffb/data is not UTF-8" in error and error.endswith(ELSEWHERE)
    assert not os.path.exists(place)
    box.environment["OCIPY_BOX"] = str(box.places)


class Full:
    """A small filesystem as the place of the boxes, which the caller owns."""

    def __init__(self, box: Box, path: Path) -> None:
        self.box, self.path = box, path
        path.mkdir()
        owner = USER if box.is_users else 0
        options = f"size=4m,mode=711,uid={owner},gid={owner}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", path], check=True)
        box.environment["OCIPY_BOX"] = str(path)

    def fill(self, free: int = 0) -> None:
        """Use up the space, except for `free` bytes."""
        with open(self.path / "filled", "wb") as file:
            status = os.statvfs(self.path)
            os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - free, 4096))

    def empty(self) -> None:
        (self.path / "filled").unlink()


@pytest.fixture
def full(box: Box) -> Iterator[Full]:
    made = Full(box, box.places / "full")
    places = box.places
    box.places = made.path  # where the leak check looks
    yield made
    names = box("ps", "-aq").stdout.split()
    if names:
        box("rm", "-f", *names)
    box.places = places
    box.environment["OCIPY_BOX"] = str(places)
    unmount = ["umount", str(made.path)]
    wait_until(lambda: subprocess.run(unmount, check=False).returncode == 0, "conmon has ended", timeout=20)
    made.path.rmdir()


def test_a_disk_without_space_for_the_image(full: Full) -> None:
    full.box("ps")  # makes the directories
    full.fill(free=256 << 10)
    for words in ((*RUN, "true"), ("pull", "busybox")):
        error = said(full.box, *words, status=125 if words[0] == "run" else 1)
        assert f"{full.path}/data/images: cannot store the image: No space left on device" in error
        assert sorted(os.listdir(full.path / "data/images")) == ["lock"]
    full.empty()
    assert full.box.run("busybox", "id", "-u") == "0\n"


COMPRESSIONS = {"": [], ".gz": ["gzip"], ".xz": ["xz", "-0"], ".bz2": ["bzip2"], ".zst": ["zstd", "-q", "--rm"]}


@pytest.mark.parametrize("kind", [*COMPRESSIONS, "oci"])
def test_a_disk_without_space_for_an_archive(full: Full, kind: str) -> None:
    """Whichever program notices it first: ocipy while it copies or decompresses the archive, umoci while it makes a
    layer of it or unpacks that."""
    tar = full.path.parent / "image.tar"
    with tarfile.open(tar, "w") as archive:
        info = tarfile.TarInfo("noise")
        info.size = 1 << 20
        archive.addfile(info, io.BytesIO(os.urandom(info.size)))
    image = f"{tar}{kind}"
    if kind == "oci":
        image = f"oci:{tar.parent}/layout:v1"
        for words in (["init", "--layout", "layout"], ["new", "--image", "layout:v1"]):
            subprocess.run(["umoci", *words], check=True, capture_output=True, cwd=tar.parent)
        words = ["umoci", "raw", "add-layer", "--image", "layout:v1", "image.tar"]
        subprocess.run(words, check=True, capture_output=True, cwd=tar.parent)
        subprocess.run(["chmod", "-R", "a+rX", tar.parent / "layout"], check=True)
    elif kind:
        subprocess.run([*COMPRESSIONS[kind], tar], check=True)
    full.box("ps")  # makes the directories
    for free in (1 << 19, 3 << 19):
        full.fill(free)
        error = said(full.box, "pull", image, status=1)
        assert Path(image).name in error and "No space left on device" in error and "damaged" not in error
        assert sorted(os.listdir(full.path / "data/images")) == ["lock"]
        full.empty()
    assert full.box("pull", image).stdout.startswith("sha256:")


def test_a_disk_without_space_for_a_box(full: Full) -> None:
    full.box.run("busybox", "true")
    full.fill()
    for words in ((*RUN, "true"), ("run", "-d", "--network", "none", *SLEEP), ("create", "busybox", "true")):
        error = said(full.box, *words, status=125 if words[0] == "run" else 1)
        assert "cannot write the record of the box: No space left on device" in error
        assert os.listdir(full.path / "data/boxes") == [".lock"]
    assert full.box("ps", "-aq").stdout == ""
    full.empty()
    assert full.box.run("busybox", "id", "-u") == "0\n"


def test_a_disk_that_is_full_when_a_box_starts(full: Full) -> None:
    full.box("create", "--name", "one", "--network", "none", *SLEEP)
    full.fill()
    error = full.box("start", "one", status=1).stderr
    assert "cannot write a file of the box: No space left on device" in error and error.count("\n") == 2
    full.empty()
    full.box("start", "one")
    assert "running" in full.box("ps").stdout


def test_a_disk_that_is_full_when_a_box_is_removed(full: Full) -> None:
    full.box("run", "-d", "--name", "one", "--network", "none", *SLEEP)
    full.fill()
    full.box("rm", "-f", "one")
    assert os.listdir(full.path / "data/boxes") == [".lock"]


@pytest.mark.parametrize(
    "words", [("ps", "-a"), ("images",), ("stats",), ("run", "--help"), ("run", "--dry-run", *SLEEP)]
)
def test_an_output_that_nobody_reads(root_box: Box, words: tuple[str, ...]) -> None:
    """As in `ocipy box stats | head`: no error, as with the runtime's commands."""
    root_box.run("busybox", "true")
    unread, output = os.pipe()
    os.close(unread)
    command = [runtime_path(), "box", *words]
    done = subprocess.run(command, check=False, env=root_box.environment, stdout=output, stderr=subprocess.PIPE)
    os.close(output)
    assert (done.returncode, done.stderr) == (0, b"")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, check=False, env=root_box.environment, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode in (1, 125) and b"No space left on device" in done.stderr
