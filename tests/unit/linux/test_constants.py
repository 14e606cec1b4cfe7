"""The constants, compared with the headers of this machine by a C program."""

from __future__ import annotations

from pathlib import Path

from ocipy.linux import constants
from tests.unit.headers import values

HEADERS = """
fcntl.h poll.h sched.h signal.h termios.h unistd.h sys/file.h sys/mount.h sys/resource.h sys/socket.h sys/stat.h
sys/wait.h linux/bpf.h linux/bpf_common.h linux/capability.h linux/close_range.h linux/ioprio.h linux/magic.h
linux/memfd.h linux/mempolicy.h linux/openat2.h linux/personality.h linux/prctl.h linux/seccomp.h
""".split()
#: These are in linux/sched.h, which conflicts with libc's sched.h.
KERNEL_SCHEDULING = "SCHED_FLAG_"
#: Newer than Linux 6.1, whose headers Debian 12 has. Only these may be missing.
NEW = {"MFD_NOEXEC_SEAL", "MPOL_WEIGHTED_INTERLEAVE", "PID_FS_MAGIC"}
#: In no header under this name: ~0U in close_range(2), (uid_t) -1, and __WCLONE, which a class would mangle.
PRIVATE = {"CLOSE_RANGE_MAX", "NO_ID", "WCLONE"}

NAMES = sorted(name for name in vars(constants) if name.isupper())


def test_constants_are_those_of_the_headers(tmp_path: Path) -> None:
    scheduling = [name for name in NAMES if name.startswith(KERNEL_SCHEDULING)]
    others = [name for name in NAMES if name not in scheduling]
    found = values(tmp_path, HEADERS, {name: name for name in others})
    found |= values(tmp_path, ["linux/sched.h"], {name: name for name in scheduling})
    assert {name: vars(constants)[name] for name in found} == found
    assert set(NAMES) - set(found) <= NEW | PRIVATE
