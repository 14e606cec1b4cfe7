"""From the command line of create and run to the options of a plan; and the descriptors that the caller gave us."""

from __future__ import annotations

import posix

from ocipy.cli.arguments import Arguments, Flag
from ocipy.errors import Error
from ocipy.linux import _kernel
from ocipy.linux.constants import CLOSE_RANGE_CLOEXEC, CLOSE_RANGE_MAX
from ocipy.plan.model import Options

BUNDLE_FLAGS: tuple[Flag, ...] = (
    Flag("bundle", "text", "the bundle's directory", aliases=("b",), metavar="DIR", default="."),
    Flag("config", "text", "another file than the bundle's config.json", aliases=("f",), metavar="FILE"),
    Flag("console-socket", "text", "socket that is sent the terminal's master", metavar="PATH"),
    Flag("pidfd-socket", "text", "socket that is sent a pidfd of the process", metavar="PATH"),
    Flag("pid-file", "text", "file to write the pid to", metavar="FILE"),
    Flag("preserve-fds", "number", "so many more descriptors for the process", metavar="N"),
    Flag("no-pivot", "switch", "move and chroot instead of pivot_root, for an initramfs"),
    Flag("no-new-keyring", "switch", "keep the caller's session keyring"),
)


def options_from(arguments: Arguments, container_id: str, *, has_console: bool) -> Options:
    """The options; and every descriptor of the caller that is not for the payload is marked close-on-exec."""
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
    """--config: relative to the caller's directory, as in crun; "config.json", as "", is the one in the bundle."""
    if given in ("", "config.json"):
        return "config.json"
    return given if given[0] == "/" else posix.getcwd() + "/" + given


def _listen_fds() -> int:
    """The descriptors of socket activation that are for us (sd_listen_fds(3)).

    Of a caller that was activated itself the variables are left over, with its own pid: what descriptor 3 is by now is
    none of the container's business.
    """
    if posix.environ.get(b"LISTEN_PID", b"") != str(posix.getpid()).encode():
        return 0
    text = posix.environ.get(b"LISTEN_FDS", b"")
    return int(text) if text.isdigit() and len(text) < 5 else 0


def claim_descriptors(listen_fds: int, preserve_fds: int) -> None:
    """See that none of ours takes the number of a descriptor of the payload; mark the others close-on-exec.

    Those of LISTEN_FDS are all open, and so is the last one of --preserve-fds: podman gives that the highest number of
    its list, and the numbers between belong to nobody. Raises Error.
    """
    if preserve_fds < 0:
        raise Error(f"--preserve-fds needs a number from 0 on, not {preserve_fds}")
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
    """Keep a number free until the exec, by what leads nowhere: one of ours with that number would not be closed."""
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
