"""Commands that are tried while a snapshot is made, to find out which memory they write to (launcher/rehearsal.c).

They take a container through its life in a separate directory, up to the exec, which fails. They leave the host's
cgroups alone; the code for cgroups is only touched, and what it remembers is looked up. If this user may not make
containers, they fail early.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from types import CodeType, FunctionType, ModuleType

from ocipy.cgroups.devices import DEFAULT_RULES, DENY_ALL
from ocipy.cli.main import main
from ocipy.cli.practice import limit_devices
from ocipy.config.template import rootless_template, template

NAME = "trial"
# Who writes, as in launcher/snapshot.h. Init's own part is recorded when init waits for start.
ANY_COMMAND, HOST_LANE, INIT_LANE, EXEC, OTHER, NOBODY = 1, 2, 4, 8, 16, 32
# What no trial command reaches: cgroups, and what follows an exec that succeeds.
UNTRIED = {
    HOST_LANE: (
        "ocipy.cgroups.cgroup",
        "ocipy.cgroups.creation",
        "ocipy.cgroups.device_filter",
        "ocipy.cgroups.device_program",
        "ocipy.cgroups.devices",
        "ocipy.cgroups.files",
        "ocipy.cgroups.layout",
        "ocipy.cgroups.paths",
        "ocipy.host.cgroup",
        "ocipy.plan.cgroup",
        "ocipy.plan.device_rules",
    ),
    INIT_LANE: ("ocipy.init.cgroup_enter", "ocipy.plan.cgroup_enter"),
    OTHER: (
        "ocipy.cgroups.ending",
        "ocipy.cgroups.freezer",
        "ocipy.operations.delete",
        "ocipy.operations.foreground",
        "ocipy.operations.start",
    ),
}


def play(directory: str, scene: int) -> int:
    """Carry out one of the scenes, each in a separate process. Return the group that it counts for; 0 after the last.

    Raises OSError if the directory, which must be new, cannot be made.
    """
    options = ["ocipy", "--cgroup-manager=disabled", "--root", directory + "/state"]
    commands = (
        (ANY_COMMAND, ["state", NAME]),
        (HOST_LANE, ["create", "--bundle", directory, NAME]),
        (OTHER, ["state", NAME]),
        (EXEC, ["exec", NAME, "/bin/true"]),
        (OTHER, ["kill", NAME, "KILL"]),
        (OTHER, ["delete", "--force", NAME]),
        (HOST_LANE, ["run", "--bundle", directory, NAME]),
    )
    if scene == 0:
        _prepare(directory)
        return NOBODY
    if scene <= len(commands):
        writer, words = commands[scene - 1]
        main(options + words)
        return writer
    for writer in list(UNTRIED)[scene - len(commands) - 1 :]:
        for name in UNTRIED[writer]:
            _touch(sys.modules[name])
        if writer == HOST_LANE:
            limit_devices((DENY_ALL, *DEFAULT_RULES))
        return writer
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def _touch(place: ModuleType | type) -> None:
    """Count references to the functions and their constants, as a call does."""
    for value in list(vars(place).values()):
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        elif isinstance(value, property):
            value = value.fget
        if isinstance(value, FunctionType):
            _touch_code(value.__code__)
        elif isinstance(value, type) and value.__module__ == getattr(place, "__module__", place.__name__):
            _touch(value)


def _touch_code(code: CodeType) -> None:
    for constant in (*code.co_consts, code.co_name, code.co_qualname, *code.co_names):
        if isinstance(constant, CodeType):
            _touch_code(constant)


def _prepare(directory: str) -> None:
    """Write a bundle whose program cannot be executed, since its interpreter does not exist."""
    uid = os.geteuid()
    config = rootless_template(uid, os.getegid()) if uid else template()
    config["process"]["terminal"] = False
    config["process"]["args"] = ["/bin/true"]
    shutil.rmtree(directory, ignore_errors=True)
    os.mkdir(directory, 0o700)
    os.makedirs(directory + "/rootfs/bin")
    with open(directory + "/config.json", "w") as file:
        json.dump(config, file)
    with open(directory + "/rootfs/bin/true", "w") as file:
        file.write("#!/nothing\n")
    os.chmod(directory + "/rootfs/bin/true", 0o755)
