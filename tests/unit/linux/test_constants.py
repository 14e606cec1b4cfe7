"""The constants against the headers of this machine, by a C program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ocipy.linux import constants

HEADERS = """
fcntl.h poll.h sched.h signal.h termios.h unistd.h sys/file.h sys/mount.h sys/resource.h sys/socket.h sys/stat.h
sys/wait.h linux/bpf.h linux/bpf_common.h linux/capability.h linux/close_range.h linux/ioprio.h linux/magic.h
linux/memfd.h linux/mempolicy.h linux/openat2.h linux/personality.h linux/prctl.h linux/seccomp.h
""".split()
#: These have linux/sched.h for a header, which cannot stand beside libc's sched.h.
KERNEL_SCHEDULING = "SCHED_FLAG_"
#: Newer than Linux 6.1, whose headers Debian 12 has: the program may do without these only.
NEW = {"MFD_NOEXEC_SEAL", "MPOL_WEIGHTED_INTERLEAVE", "PID_FS_MAGIC"}
#: In no header: ~0U of close_range(2), and __WCLONE, a name that a class would mangle.
PRIVATE = {"CLOSE_RANGE_MAX", "WCLONE"}

NAMES = sorted(name for name in vars(constants) if name.isupper())


def compile_and_run(directory: Path, headers: list[str], names: list[str]) -> dict[str, int]:
    """The value of each name in the headers; the compiler's errors show the missing ones."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    names = list(names)
    while names:
        lines = [f"#include <{header}>" for header in ["stdio.h", *headers]]
        lines += ["int main(void) {", *(f'printf("{name} %lld\\n", (long long)({name}));' for name in names), "}"]
        source = directory / "constants.c"
        source.write_text("#define _GNU_SOURCE\n" + "\n".join(lines))
        command = [compiler, str(source), "-o", str(directory / "constants")]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "PATH": "/bin"}
        )
        if result.returncode == 0:
            break
        missing = [name for name in names if f"'{name}' undeclared" in result.stderr]
        assert missing, result.stderr
        names = [name for name in names if name not in missing]
    output = subprocess.run([directory / "constants"], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in output.splitlines())}


def test_constants_are_those_of_the_headers(tmp_path: Path) -> None:
    scheduling = [name for name in NAMES if name.startswith(KERNEL_SCHEDULING)]
    others = [name for name in NAMES if name not in scheduling]
    found = compile_and_run(tmp_path, HEADERS, others)
    found |= compile_and_run(tmp_path, ["linux/sched.h"], scheduling)
    assert {name: vars(constants)[name] for name in found} == found
    assert set(NAMES) - set(found) <= NEW | PRIVATE
