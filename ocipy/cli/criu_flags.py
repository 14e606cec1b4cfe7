"""Turns the command lines of checkpoint and restore into the flags of plan/checkpoint.py. Cold."""

from __future__ import annotations

import os

from ocipy.cli.arguments import Arguments, Flag
from ocipy.plan.checkpoint import CriuFlags, parse_page_server

DEFAULT_IMAGES = "checkpoint"

COMMON: tuple[Flag, ...] = (
    Flag("image-path", "text", "directory of criu's image files (default: ./checkpoint)", metavar="DIR"),
    Flag("work-path", "text", "directory of criu's log and work files (default: --image-path)", metavar="DIR"),
    Flag("parent-path", "text", "images of an earlier pre-dump, relative to --image-path", metavar="DIR"),
    Flag("tcp-established", "switch", "allow established TCP connections"),
    Flag("tcp-close", "switch", "drop established TCP connections"),
    Flag("ext-unix-sk", "switch", "allow Unix sockets whose other end is outside the container"),
    Flag("shell-job", "switch", "allow processes of the caller's session and terminal"),
    Flag("file-locks", "switch", "handle file locks"),
    Flag("lazy-pages", "switch", "transfer memory when it is used, with criu lazy-pages"),
    Flag("manage-cgroups-mode", "text", "soft, full, strict or ignore (default: soft)", metavar="MODE"),
    Flag(
        "empty-ns",
        "list",
        "leave out the contents of a namespace; those of network are always left out",
        metavar="NAMESPACE",
    ),
    Flag("auto-dedup", "switch", "drop memory from the parent's images that newer images contain"),
)

CHECKPOINT: tuple[Flag, ...] = (
    *COMMON,
    Flag("leave-running", "switch", "keep the container running"),
    Flag("pre-dump", "switch", "dump only the memory, and keep the container running"),
    Flag("page-server", "text", "send the memory to a criu page-server", metavar="ADDRESS:PORT"),
    Flag("status-fd", "number", "descriptor to write a zero byte to when --lazy-pages can serve", default=-1),
    Flag("tcp-skip-in-flight", "switch", "leave out TCP connections that are not yet accepted"),
    Flag("link-remap", "switch", "link open files that were deleted back into place, where possible"),
    Flag("network-lock", "text", "iptables, nftables or skip", metavar="METHOD"),
)

RESTORE: tuple[Flag, ...] = (
    *COMMON,
    Flag("lsm-profile", "text", "LSM profile for the processes", metavar="TYPE:NAME"),
    Flag("lsm-mount-context", "text", "SELinux context for the mounts", metavar="CONTEXT"),
)


def flags_from(arguments: Arguments) -> CriuFlags:
    """The flags, with absolute paths. Raises Error."""
    given: dict[str, object] = {}
    for flag in (*CHECKPOINT, *RESTORE):
        if flag.name in arguments.values:
            given[flag.name.replace("-", "_")] = arguments.values[flag.name]
    given["image_path"] = os.path.abspath(arguments.text("image-path") or DEFAULT_IMAGES)
    if arguments.text("work-path"):
        given["work_path"] = os.path.abspath(arguments.text("work-path"))
    given["page_server"] = parse_page_server(str(given.get("page_server", "")))
    return CriuFlags(**given)  # type: ignore[arg-type]
