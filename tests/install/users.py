"""What an ordinary user installs at home: with a private group, a umask of 002 (Debian 13's), no terminal, and other
users' processes hidden."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.install.checks import Bundle, Way, leaves_nothing
from tests.install.packages import uv, wheel
from tests.install.system import install, run

NAME = "kim"
HOME = Path("/home", NAME)
LOCAL = HOME / ".local"
# Programs that call others as this user.
WRAPPERS = Path("/tmp/of-user")
ENTRY = (
    f"umask 002; exec setpriv --reuid={NAME} --regid={NAME} --init-groups"
    f" env HOME={HOME} PATH=/usr/sbin:/usr/bin:/sbin:/bin"
)


def wrapper(name: str, program: str | Path) -> Path:
    """An executable that calls a program as this user."""
    WRAPPERS.mkdir(exist_ok=True)
    path = WRAPPERS / name
    path.write_text(f'#!/bin/sh\n{ENTRY} {program} "$@"\n')
    path.chmod(0o755)
    return path


class OfUser(Way):
    """An ordinary user's way of installing; the place is the home directory."""

    place = HOME
    moved = HOME

    def call(self, *words: str | Path) -> None:
        run("sh", "-c", f'{ENTRY} "$@"', "sh", *words, cwd="/")

    def prepare(self) -> None:
        run("useradd", "--create-home", "--user-group", NAME)
        run("mount", "-o", "remount,hidepid=2", "/proc")
        self.package = wheel(self.python)
        self.command = wrapper("ocipy", LOCAL / "bin/ocipy")

    def bundle(self, ordinary: Bundle) -> Bundle:
        return Bundle(wrapper("runc", "runc"), NAME)

    def clean(self) -> None:
        run("mount", "-o", "remount,hidepid=0", "/proc")
        run("userdel", "--remove", NAME)
        shutil.rmtree(HOME, ignore_errors=True)


class PipUser(OfUser):
    """pip install --user."""

    name = "pip --user"

    def prepare(self) -> None:
        install("python3-pip")
        super().prepare()
        self.pip = (self.python, "-m", "pip")

    def install(self) -> Path:
        self.call(*self.pip, "install", "-q", "--user", "--break-system-packages", "--no-compile", self.package)
        return self.command

    def uninstall(self) -> None:
        self.call(*self.pip, "uninstall", "-q", "-y", "--break-system-packages", "ocipy")
        leaves_nothing(LOCAL, "pip uninstall")


class PipxUser(OfUser):
    """pipx, with its default directories."""

    name = "pipx, a user"

    def prepare(self) -> None:
        install("pipx")
        super().prepare()

    def install(self) -> Path:
        self.call("pipx", "install", "--python", self.python, self.package)
        return self.command

    def uninstall(self) -> None:
        self.call("pipx", "uninstall", "ocipy")
        leaves_nothing(LOCAL, "pipx uninstall")


class UvUser(OfUser):
    """uv tool install, with its default directories."""

    name = "uv, a user"

    def install(self) -> Path:
        self.call(uv(), "tool", "install", "--no-python-downloads", "--python", self.python, self.package)
        return self.command

    def uninstall(self) -> None:
        self.call(uv(), "tool", "uninstall", "ocipy")
        leaves_nothing(LOCAL, "uv tool uninstall")
