"""Images from everywhere: a directory, tars, layouts, archives, and a registry on loopback."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.box.conftest import SECONDS, Box
from tests.conftest import runtime_path
from tests.harness.host import wait_until

BUSYBOX = "/bin/busybox"


def fill(archive: tarfile.TarFile, text: str) -> None:
    """Add a root filesystem of a few files."""
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev"):
        directory = tarfile.TarInfo(name)
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(directory)
    archive.add(BUSYBOX, "bin/busybox")
    for name in ("sh", "cat", "id", "true", "pwd", "sleep"):
        link = tarfile.TarInfo(f"bin/{name}")
        link.type, link.linkname = tarfile.SYMTYPE, "busybox"
        archive.addfile(link)
    for name, content in (("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n"), ("etc/os", text)):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content.encode()))


@pytest.fixture
def minirootfs(tmp_path: Path) -> Path:
    """A tar of a root filesystem, like Alpine's minirootfs."""
    path = tmp_path / "mini.tar"
    with tarfile.open(path, "w") as archive:
        fill(archive, "mini\n")
    return path


@pytest.fixture
def layout(tmp_path: Path, minirootfs: Path) -> Path:
    """An OCI layout with a special config, made by umoci."""
    path = tmp_path / "layout"
    for words in (
        ["init", "--layout", str(path)],
        ["new", "--image", f"{path}:v1"],
        ["raw", "add-layer", "--image", f"{path}:v1", str(minirootfs)],
        ["config", "--image", f"{path}:v1", "--config.entrypoint", "sh", "--config.entrypoint", "-c",
         "--config.cmd", "pwd; id -u; echo $OF_IMAGE", "--config.env", "OF_IMAGE=yes", "--config.user", "web",
         "--config.workingdir", "/etc", "--config.label", "a=b"],
    ):  # fmt: skip
        subprocess.run(["umoci", *words], check=True, capture_output=True)
    return path


def test_a_directory(box: Box, tmp_path: Path, minirootfs: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    subprocess.run(["tar", "-xf", minirootfs, "-C", root], check=True)
    before = sorted(str(path) for path in root.rglob("*"))
    assert box.run(str(root), "sh", "-c", "echo x > /etc/os; cat /etc/os") == "x\n"
    assert sorted(str(path) for path in root.rglob("*")) == before
    assert (root / "etc/os").read_text() == "mini\n"


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst"])
def test_a_tar_compressed_or_not(box: Box, minirootfs: Path, suffix: str) -> None:
    program = {"": None, ".gz": "gzip", ".xz": "xz", ".zst": "zstd"}[suffix]
    path = Path(f"{minirootfs}{suffix}")
    if program:
        with open(path, "wb") as out:
            subprocess.run([program, "-c", minirootfs], check=True, stdout=out)
    assert box.run(str(path), "cat", "/etc/os") == "mini\n"
    assert box.run(str(path)) == ""  # its command is a shell


def test_the_images_config_applies(box: Box, layout: Path) -> None:
    assert box.run(f"oci:{layout}:v1") == "/etc\n33\nyes\n"
    assert box.run("--entrypoint", "cat", f"oci:{layout}:v1", "/etc/os") == "mini\n"
    assert box.run("-u", "0", "-w", "/tmp", f"oci:{layout}:v1") == "/tmp\n0\nyes\n"


def test_a_docker_archive(box: Box, layout: Path, tmp_path: Path) -> None:
    path = tmp_path / "saved.tar"
    words = ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{layout}:v1", f"docker-archive:{path}:x:y"]
    subprocess.run(words, check=True, capture_output=True)
    assert box.run(f"docker-archive:{path}") == "/etc\n33\nyes\n"


@pytest.fixture
def registry(tmp_path: Path, server: Callable[..., subprocess.Popen[bytes]]) -> Iterator[str]:
    """A registry on loopback, host:port."""
    program = shutil.which("docker-registry")
    assert program, "install docker-registry: make setup"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    server([program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens() -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, "the registry listens", timeout=20)
    yield f"localhost:{port}"


def test_a_registry(box: Box, layout: Path, registry: str) -> None:
    words = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:v1"]
    subprocess.run([*words, f"docker://{registry}/name:tag"], check=True, capture_output=True)
    digest = box("pull", f"{registry}/name:tag").stdout.strip()
    assert digest.startswith("sha256:")
    assert box.run(f"{registry}/name:tag") == "/etc\n33\nyes\n"
    assert f"{registry}/name:tag" in box("images").stdout
    done = box("run", "--rm", f"{registry}/none", status=125)
    assert "cannot pull" in done.stderr and done.stderr.count("\n") <= 2
    assert "deleted" in box("rmi", f"{registry}/name:tag").stdout
    assert registry not in box("images").stdout


def test_unpacked_once_by_digest_and_shared(box: Box, layout: Path) -> None:
    box.run(f"oci:{layout}:v1")
    box.run(f"oci:{layout}:v1")
    assert len(list((box.places / "data/images").glob("sha256-*"))) == 1


def test_an_image_that_a_box_needs_stays(box: Box) -> None:
    box("create", "--name", "one", "--network", "none", "busybox")
    assert "is used by one" in box("rmi", "busybox", status=1).stderr
    box("rm", "one")
    done = box("rmi", "none", "busybox", status=1)
    assert done.stderr.startswith("ocipy: box rmi: there is no image none\n") and "untagged: busybox" in done.stdout
    assert "there is no image" in box("rmi", "busybox", status=1).stderr
    assert box("rmi", "-f", "busybox").stdout == ""
    assert box("images").stdout.count("\n") == 1


def test_a_half_unpacked_image_is_removed_by_the_next_command(box: Box) -> None:
    box.run("busybox", "true")
    partial = box.places / "data/images/partial-left"
    (partial / "rootfs").mkdir(parents=True)
    box("pull", "busybox")
    assert not partial.exists()


@pytest.fixture
def related(tmp_path: Path, layout: Path) -> Path:
    """The layout with two more images based on the first: each adds a layer that changes, adds and deletes a file."""
    for tag, text in (("one", "1\n"), ("two", "2\n")):
        layer = tmp_path / f"{tag}.tar"
        with tarfile.open(layer, "w") as archive:
            for name, content in (("etc/os", text), (f"etc/{tag}", text), ("etc/.wh.passwd", "")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content.encode()))
        for words in (
            ["tag", "--image", f"{layout}:v1", tag],
            ["raw", "add-layer", "--image", f"{layout}:{tag}", str(layer)],
        ):
            subprocess.run(["umoci", *words], check=True, capture_output=True)
    return layout


def test_two_images_and_two_boxes_on_one_base(box: Box, related: Path) -> None:
    """Both are correct, and share what they have in common; removing one takes nothing from the other."""
    read = ("-c", "cat /etc/os; ls /etc; echo changed > /etc/os; echo x >> /bin/busybox; wc -c < /bin/busybox")
    size = os.stat(BUSYBOX).st_size + 2
    for tag in ("one", "two", "one"):
        run = ("--entrypoint", "/bin/sh", "-u", "0", f"oci:{related}:{tag}", *read)
        said = box.run(*run, status=None).split("\n")
        assert said[:1] == ["1" if tag == "one" else "2"]
        assert {tag, "os"} <= set(said) and not {"passwd", "one" if tag == "two" else "two"} & set(said)
    roots = list((box.places / "data/images").glob("sha256-*/rootfs"))
    assert len(roots) == 2 and (roots[0] / "bin/busybox").samefile(roots[1] / "bin/busybox")
    assert (roots[0] / "bin/busybox").stat().st_size == size - 2
    assert not (roots[0] / "etc/os").samefile(roots[1] / "etc/os")
    box("rmi", f"oci:{related}:one")
    run = ("--entrypoint", "/bin/cat", "-u", "0", f"oci:{related}:two", "/etc/os", "/bin/busybox")
    assert box.run(*run).startswith("2\n")


def logged(box: Box, tmp_path: Path) -> Path:
    """A file that gets the command lines of skopeo and umoci from now on."""
    (tmp_path / "wrappers").mkdir()
    for name in ("skopeo", "umoci"):
        path = tmp_path / "wrappers" / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/calls\nexec {shutil.which(name)} "$@"\n')
        path.chmod(0o755)
    box.environment["PATH"] = f"{tmp_path}/wrappers:{box.environment['PATH']}"
    (tmp_path / "calls").write_text("")
    return tmp_path / "calls"


def test_a_stored_image_is_not_fetched_again(
    box: Box, layout: Path, minirootfs: Path, registry: str, tmp_path: Path
) -> None:
    """A tar or a layout is read, and a pull asks the registry for the digest, but nothing is copied."""
    words = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:v1"]
    subprocess.run([*words, f"docker://{registry}/name:tag"], check=True, capture_output=True)
    images = (str(minirootfs), f"oci:{layout}:v1", f"{registry}/name:tag")
    digests = [box("pull", image).stdout for image in images]
    calls = logged(box, tmp_path)
    assert [box("pull", image).stdout for image in images] == digests
    assert [line.split(" ")[1] for line in calls.read_text().split("\n") if line] == ["inspect", "inspect"]
    calls.write_text("")
    box.run(f"{registry}/name:tag")
    assert calls.read_text() == ""
    manifest = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{registry}/name:tag"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert digests[2] == manifest


def test_a_tag_that_has_moved_is_another_image(box: Box, related: Path, registry: str) -> None:
    for tag, text in (("one", "1\n"), ("two", "2\n")):
        words = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{related}:{tag}"]
        subprocess.run([*words, f"docker://{registry}/name:tag"], check=True, capture_output=True)
        run = ("--pull", "--entrypoint", "/bin/cat", "-u", "0", f"{registry}/name:tag", "/etc/os")
        assert box.run(*run) == text


def configured(layout: Path, *flags: str) -> str:
    """Make an image like the layout's, with another config. Return its reference."""
    subprocess.run(["umoci", "config", "--image", f"{layout}:v1", "--tag", "other", *flags], check=True)
    return f"oci:{layout}:other"


def test_the_images_stop_signal_and_labels_apply(box: Box, layout: Path) -> None:
    image = configured(layout, "--config.stopsignal", "SIGUSR1", "--config.label", "of=image", "--config.label", "b=1")
    script = "trap 'echo stopped; exit 3' USR1; echo ready; while :; do sleep 0.1; done"
    words = (
        "-d",
        "--name",
        "one",
        "--network",
        "none",
        "--label",
        "b=2",
        "--entrypoint",
        "/bin/sh",
        image,
        "-c",
        script,
    )
    box("run", *words)
    wait_until(lambda: box("logs", "one").stdout == "ready\n", "it has its trap")
    box("stop", "-t", "20", "one")
    assert box("logs", "one").stdout == "ready\nstopped\n"
    found = box.inspect("one")
    assert found["state"]["exitStatus"] == 3 and found["labels"] == {"a": "b", "of": "image", "b": "2"}


@pytest.mark.parametrize("word", ["SIGNAL", "99", "-1", "RTMIN+31", "\u0661", "0"])
def test_an_unknown_stop_signal_is_refused_before_there_is_a_box(box: Box, layout: Path, word: str) -> None:
    told = box("create", configured(layout, f"--config.stopsignal={word}"), status=None)
    assert told.returncode != 0 and told.stdout == ""
    what = " is 0" if word == "0" else f': unknown signal "{word}"\n'
    assert told.stderr.startswith(f"ocipy: box create: the image's StopSignal{what}")
    assert not list((box.places / "data/boxes").glob("[!.]*"))


def test_labels_of_an_image_do_not_tell_the_runtime_what_to_do(box: Box, layout: Path) -> None:
    """As annotations they would: this one keeps the caller's groups in the box."""
    image = configured(layout, "--config.label", "run.oci.keep_original_groups=1")
    box.before = ["setpriv", "--groups", "4711"]
    assert "4711" not in box.run("-u", "0", "--entrypoint", "/bin/cat", image, "/proc/self/status")
    assert "annotations" not in box("run", "--dry-run", "--network", "none", image).stdout


def on_a_terminal(box: Box, *words: str) -> tuple[int, str]:
    """(exit status, what the command says on standard error, which is a terminal)."""
    master, slave = os.openpty()
    said: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(master, 1 << 16):
                said.append(data)
        except OSError:  # every descriptor of the terminal is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    environment = box.environment | {"TERM": "xterm"}
    words = (runtime_path(), "box", *words)
    done = subprocess.run(words, check=False, env=environment, stdin=slave, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    reader.join(SECONDS)
    os.close(master)
    return done.returncode, b"".join(said).decode("utf-8", "replace")


def test_progress_only_on_a_terminal(box: Box, layout: Path, minirootfs: Path) -> None:
    for image, tag in ((str(minirootfs), "mini.tar"), (f"oci:{layout}:v1", f"oci:{layout}:v1")):
        done = box("pull", image)
        assert done.stderr == "" and done.stdout.startswith("sha256:") and done.stdout.count("\n") == 1
        box("rmi", tag)
        status, said = on_a_terminal(box, "pull", image)
        assert status == 0 and "unpacking" in said and "\x1b[" in said


def test_a_name_in_another_directory_is_another_image(box: Box, minirootfs: Path, tmp_path: Path) -> None:
    """A tar that has changed is another image too."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        shutil.copy(minirootfs, tmp_path / name / "mini.tar")
        with tarfile.open(tmp_path / name / "mini.tar", "a") as archive:
            info = tarfile.TarInfo("etc/os")
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
        for words in (
            ["init", "--layout", "layout"],
            ["new", "--image", "layout:v1"],
            ["raw", "add-layer", "--image", "layout:v1", "mini.tar"],
            ["config", "--image", "layout:v1", "--config.cmd", "/bin/sh"],
        ):
            subprocess.run(["umoci", *words], check=True, capture_output=True, cwd=tmp_path / name)
        box.before = ["env", "-C", str(tmp_path / name)]
        for image in ("mini.tar", "./mini.tar", "oci:layout:v1"):
            assert box.run(image, "cat", "/etc/os") == name


@pytest.mark.parametrize(
    ("image", "why", "hint"),
    [
        ("oci:LAYOUT:none", 'no descriptor found for reference "none"', ""),
        ("docker-archive:TAR", "manifest.json", ""),
        ("localhost:1/name", "connection refused", "the registry cannot be reached"),
        ("REGISTRY/none", "manifest unknown", "the registry has no image of this name"),
    ],
)
def test_an_unavailable_image_is_reported_once(
    box: Box, layout: Path, minirootfs: Path, registry: str, image: str, why: str, hint: str
) -> None:
    image = image.replace("LAYOUT", str(layout)).replace("TAR", str(minirootfs)).replace("REGISTRY", registry)
    told = box("run", "--rm", "--network", "none", image, "true", status=125).stderr
    assert "cannot pull" in told and why in told
    assert "Error parsing" not in told and "\\" not in told and told.count("\n") == 1 + bool(hint)
    assert hint in told


def test_an_image_is_removed_by_the_word_that_fetched_it(
    box: Box, layout: Path, minirootfs: Path, registry: str
) -> None:
    words = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:v1"]
    subprocess.run([*words, f"docker://{registry}/name"], check=True, capture_output=True)
    box.before = ["env", "-C", str(layout.parent)]
    for word in (f"{registry}/name", "oci:layout:v1", "./mini.tar"):
        box("pull", word)
        assert "untagged" in box("rmi", word).stdout
    assert box("images").stdout.count("\n") == 1


def test_a_directory_without_its_slash(box: Box, layout: Path) -> None:
    assert box.run(configured(layout, "--config.workingdir", "etc")).split("\n")[0] == "/etc"


def test_what_a_terminal_would_act_on_is_shown_as_text(box: Box, layout: Path) -> None:
    image = configured(layout, "--config.label", "\x1b[2Ja=\x1b[31m")
    script = "touch \"$(printf '/tmp/\\033[2J\\nD etc')\""
    box("run", "--name", "one", "--network", "none", "-u", "0", "--entrypoint", "/bin/sh", image, "-c", script)
    for words in (("inspect", "one"), ("diff", "one")):
        told = box(*words).stdout
        assert "\x1b" not in told and "\\x1b[2J" in told
    assert "D etc" not in box("diff", "one").stdout.split("\n")


def test_what_a_box_and_its_command_call_themselves_is_shown_as_text(box: Box) -> None:
    odd = "\x1b[2J\x9b31m\nID  NAME"
    mount = ["--tmpfs", "/\x1b[2Jmount"]
    script = "sleep 1000; :"
    box("run", "-d", "--name", "one", "--network", "none", *mount, "busybox", "sh", "-c", script, odd)
    for words in (("ps",), ("top", "--no-stream", "one"), ("explain", "one"), ("inspect", "one")):
        told = box(*words).stdout
        assert "\x1b" not in told and "\x9b" not in told and "\nID  NAME" not in told[1:]
