"""The runtime that boxes run on: ocipy itself, through its public library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ocipy import Runtime
from ocipy.box.places import Places


class Home(NamedTuple):
    """What all boxes of a user share: their places and the runtime. rootless: the user is not root."""

    places: Places
    runtime: Runtime
    rootless: bool


def make_home(places: Places) -> Home:
    """The Home of the boxes in these places."""
    return Home(places, make_runtime(places), os.geteuid() != 0)


def make_runtime(places: Places, before: Sequence[str] = ()) -> Runtime:
    """The Runtime of these places. systemd makes the cgroups if is_made_by_systemd().

    before: words to put before the executable in each call.
    """
    manager = "systemd" if is_made_by_systemd() else "cgroupfs"
    return Runtime(places.runtime, executable=executable_path(), cgroup_manager=manager, before=before)


def is_made_by_systemd() -> bool:
    """Whether systemd makes the cgroups of boxes: the host's for root, otherwise the user's, if there is one."""
    return can_limit() if os.geteuid() != 0 else has_systemd() and is_v2()


def executable_path() -> str:
    """The executable: $OCIPY, or this package's."""
    return os.environ.get("OCIPY") or Runtime().executable.path


def is_v2() -> bool:
    """Whether the unified hierarchy is the host's only one (cgroups(7))."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def has_systemd() -> bool:
    """Whether the host was booted with systemd (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def can_limit() -> bool:
    """Whether an unprivileged user can make a cgroup with limits: on v2, with a systemd user manager."""
    return is_v2() and has_systemd() and Path(f"/run/user/{os.geteuid()}/systemd").is_dir()
