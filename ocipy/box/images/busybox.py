"""The image that needs only the host's static busybox (Debian: busybox-static)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ocipy import Error
from ocipy.box.config import ImageConfig
from ocipy.box.tools import output_of
from ocipy.linux.text import decode, lines_of

CANDIDATES = ("/bin/busybox", "/usr/bin/busybox")
DIRECTORIES = (
    "bin",
    "dev",
    "etc",
    "home",
    "mnt",
    "proc",
    "root",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "var",
    "var/tmp",
)
# Applets of busybox that a box does not need under these names.
LEFT_OUT = ("busybox", "init", "linuxrc")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"


def find() -> str:
    """The static busybox. Raises Error if the host has none."""
    for path in CANDIDATES:
        if os.access(path, os.X_OK) and b"ld-linux" not in Path(path).read_bytes()[:4096]:
            return path
    raise Error("no static busybox is installed", hint="install busybox-static, or use another image")


def digest(path: str) -> str:
    """sha256:… of the program: another program makes another image."""
    import hashlib  # OpenSSL's functions, which a snapshot cannot have

    return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()


def fill(path: str, rootfs: Path) -> ImageConfig:
    """Make the root filesystem in an empty directory. Return the image's config. Raises Error, OSError."""
    for name in DIRECTORIES:
        (rootfs / name).mkdir()
    for name, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700)):
        (rootfs / name).chmod(mode)
    shutil.copyfile(path, rootfs / "bin/busybox")
    (rootfs / "bin/busybox").chmod(0o755)
    listed = output_of([path, "--list"], "cannot list the commands of busybox")
    for name in lines_of(decode(listed)):
        if name and "/" not in name and name not in LEFT_OUT:
            (rootfs / "bin" / name).symlink_to("busybox")
    for name, text in (("passwd", PASSWD), ("group", GROUP), ("hostname", ""), ("hosts", ""), ("resolv.conf", "")):
        (rootfs / "etc" / name).write_text(text)
    return ImageConfig(command=("/bin/sh",))
