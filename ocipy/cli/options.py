"""Turns the command line of create and run into the options of a plan, and sorts the descriptors from the caller."""

from __future__ import annotations

import posix

from ocipy.cli.arguments import Arguments, Flag
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_MAX
from ocipy.plan.model import Options

BUNDLE_FLAGS: tuple[Flag, ...] = (
    Flag("bundle", "text", "the bundle's directory", aliases=("b",), metavar="DIR", default="."),
    Flag("config", "text", "use this file instead of the bundle's config.json", aliases=("f",), metavar="FILE"),
    Flag("console-socket", "text", "socket to send the terminal's master to", metavar="PATH"),
    Flag("pidfd-socket", "text", "socket to send a pidfd of the process to", metavar="PATH"),
    Flag("pid-file", "text", "file to write the pid to", metavar="FILE"),
    Flag("preserve-fds", "number", "pass N more descriptors to the process", metavar="N"),
    Flag("no-pivot", "switch", "move and chroot instead of pivot_root, for an initramfs"),
    Flag("no-new-keyring", "switch", "keep the caller's session keyring"),
)


def options_from(arguments: Arguments, container_id: str, *, has_console: bool) -> Options:
    """The options. Also marks every descriptor that is not for the payload close-on-exec."""
    cgroup_manager = arguments.cgroup_manager
    preserve_fds = arguments.number("preserve-fds")
    listen_fds = _listen_fds()
    claim_descriptors(listen_fds, preserve_fds)
    return Options(
        container_id=container_id,
        bundle=arguments.text("bundle"),
        config=config_path(arguments.text("config")),
        preserve_fds=preserve_fds,
        listen_fds=listen_fds,
        no_pivot=arguments.switch("no-pivot"),
        no_new_keyring=arguments.switch("no-new-keyring"),
        has_console=has_console,
        systemd_cgroup=cgroup_manager == "systemd",
        no_cgroup=cgroup_manager == "disabled",
        pid_file=arguments.text("pid-file"),
        pidfd_socket=arguments.text("pidfd-socket") if "pidfd-socket" in arguments.values else "",  # restore has none
    )


def config_path(given: str) -> str:
    """--config, relative to the caller's directory as in crun. "config.json" and "" mean the one in the bundle."""
    if given in ("", "config.json"):
        return "config.json"
    return given if given[0] == "/" else posix.getcwd() + "/" + given


def _listen_fds() -> int:
    """The number of socket activation descriptors that are meant for this process (sd_listen_fds(3)).

    A caller that was activated itself may have left the variables set, with its own pid. Descriptor 3 may be anything
    by then, and must not reach the container.
    """
    if posix.environ.get(b"LISTEN_PID", b"") != str(posix.getpid()).encode():
        return 0
    text = posix.environ.get(b"LISTEN_FDS", b"")
    return int(text) if text.isdigit() and len(text) < 5 else 0


def claim_descriptors(listen_fds: int, preserve_fds: int) -> None:
    """Reserve the numbers of the payload's descriptors, so that no later open takes one; mark others close-on-exec.

    All descriptors of LISTEN_FDS must be open, and the last one of --preserve-fds: podman passes the highest number in
    its list, and the numbers in between may be unused. Raises Error.
    """
    if preserve_fds < 0:
        raise Error(f"--preserve-fds must not be negative: {preserve_fds}")
    count = listen_fds + preserve_fds
    last = 2 + count
    for fd in (*range(3, 3 + listen_fds), *((last,) if preserve_fds else ())):
        if not _is_open(fd):
            raise Error(
                f"unable to stat preserved-fd {fd - 3} (of {count})",
                hint=f"descriptor {fd} is not open: LISTEN_FDS is {listen_fds}, --preserve-fds {preserve_fds}",
            )
    for fd in range(3 + listen_fds, last):
        if not _is_open(fd):
            _fill(fd)
    _kernel.close_range(3 + count, CLOSE_RANGE_MAX, CLOSE_RANGE_CLOEXEC)


def _fill(hole: int) -> None:
    """Occupy an unused number until the exec, with an eventfd: our own descriptor there would stay open."""
    fd = posix.eventfd(0, posix.EFD_CLOEXEC)
    if fd != hole:
        posix.dup2(fd, hole, inheritable=False)
        posix.close(fd)


def _is_open(fd: int) -> bool:
    try:
        posix.fstat(fd)
    except OSError:
        return False
    return True
