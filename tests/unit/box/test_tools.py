"""What the programs print when they fail becomes an Error: the errno, and a hint at the likely cause."""

from __future__ import annotations

import errno
import re
import stat
from pathlib import Path

import pytest

from ocipy import Error
from ocipy.box import tools

PACKAGE = Path(tools.__file__).parent

# Messages of skopeo 1.9, umoci 0.4, pasta, shadow's newuidmap, util-linux's unshare and nft.
SAID = [
    ("skopeo", "writing blob: write /var/tmp/x/1: no space left on device", errno.ENOSPC, "a filesystem is full"),
    ("umoci", "unpack layer: write /x/etc/f: disk quota exceeded", errno.EDQUOT, "quota"),
    ("umoci", "unpack layer: read /x/1: input/output error", errno.EIO, "a device or a filesystem"),
    ("zstd", "zstd: error 25 : Write error : No space left on device", errno.ENOSPC, "a filesystem is full"),
    ("skopeo", "reading manifest latest in localhost:5000/none: manifest unknown: manifest unknown", 0, "this name"),
    ("skopeo", "pinging container registry x: Get https://x/v2/: dial tcp: lookup x: no such host", 0, "be reached"),
    ("skopeo", "unauthorized: authentication required", 0, "skopeo login"),
    ("skopeo", "Get https://x:5000/v2/: http: server gave HTTP response to HTTPS client", 0, "TLS"),
    ("pasta", "Failed to open /dev/net/tun: No such device", 0, "modprobe tun"),
    ("pasta", "Failed to open /dev/net/tun: Permission denied", errno.EACCES, "mode 0666"),
    ("pasta", "Failed to open tun socket in namespace", 0, "modprobe tun"),
    ("pasta", "Failed to bind port 80 (Permission denied) for '-t 80:80', exiting", 0, "unprivileged_port_start"),
    ("pasta", "Failed to bind any port for '-t 8080:80', exiting", 0, "unprivileged_port_start"),
    ("pasta", "External interface not usable", 0, "--network none"),
    ("newuidmap", "newuidmap: write to uid_map failed: Operation not permitted", errno.EPERM, "set-uid root"),
    ("newgidmap", "newgidmap: gid range [1-65537) -> [100000-165536) not allowed", 0, "/etc/subuid"),
    ("unshare", "unshare: unshare failed: No space left on device", errno.ENOSPC, "user.max_user_namespaces"),
    ("unshare", "unshare: unshare failed: Operation not permitted", errno.EPERM, "docs/rootless.md"),
    ("nft", "internal:0:0-0: Error: Could not process rule: No such file or directory", 0, "nf_nat"),
    ("nft", 'internal:0:0-0: Error: Could not open file "/dev/stdin": No such file or directory', 0, "/proc/self/fd/0"),
    ("nft", "internal:0:0-0: Error: Could not process rule: Operation not permitted", errno.EPERM, "CAP_NET_ADMIN"),
]


@pytest.mark.parametrize(("program", "said", "number", "hint"), SAID)
def test_a_failure_has_an_errno_and_a_hint(program: str, said: str, number: int, hint: str) -> None:
    error = tools.failed(program, "cannot do it", said)
    assert error.errno == number and hint in error.hint
    assert error.line.lower() == f"cannot do it: {said}".lower()


def test_an_unknown_failure_is_reported_verbatim() -> None:
    error = tools.failed("skopeo", "cannot do it", "something else")
    assert (error.line, error.hint) == ("cannot do it: something else", "")
    assert tools.failed("skopeo", "cannot do it", "").line == "cannot do it"


def test_the_last_line_of_a_program_that_fails(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot do it: ls: cannot access"):
        tools.output_of(["ls", "/nonexistent"], "cannot do it")
    assert tools.output_of(["echo", "a"], "cannot do it") == b"a\n"


def test_a_program_that_cannot_be_executed(tmp_path: Path) -> None:
    with pytest.raises(Error) as caught:
        tools.output_of(["nothing-of-this-name"], "cannot do it", "do without")
    assert "is not installed" in caught.value.line
    assert caught.value.hint == "install nothing-of-this-name, or do without"
    assert "uidmap" in tools.not_installed("newuidmap", "x").hint
    program = tmp_path / "program"
    program.touch(mode=stat.S_IRUSR)
    with pytest.raises(Error, match=f"cannot do it: cannot execute {program}: Permission denied"):
        tools.output_of([str(program)], "cannot do it")
    with pytest.raises(Error, match="cannot do it: cannot execute true: No such file or directory"):
        tools.begin(["true"], "cannot do it", cwd=tmp_path / "none")


def test_only_one_place_starts_programs() -> None:
    """So a missing program is always reported in the same words, with its package."""
    starts = re.compile(r"subprocess\.(run|Popen|call|check_\w+)\(|os\.(spawn|posix_spawn)|shutil\.which")
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if starts.search(path.read_text())}
    assert found == {"tools.py"}


@pytest.mark.parametrize(
    ("program", "said", "words"),
    [
        ("zstd", b"", ""),
        ("zstd", b"a warning\nzstd: why\n\n", "zstd: why"),
        ("umoci", "   \u2a2f why\n   \u2022 gzip: read/write on closed pipe\n".encode(), "\u2a2f why"),
        (
            "skopeo",
            b'time="1" level=fatal msg="why"\ntime="1" level=error msg="more"\n',
            'time="1" level=fatal msg="why"',
        ),
        ("pasta", b"one\ntwo\nthree\nfour\n", "two; three; four"),
        ("pasta", b"one\nFailed to send 54 bytes to syslog\ntwo\n", "one; two"),
    ],
)
def test_the_reason_among_all_that_a_program_prints(program: str, said: bytes, words: str) -> None:
    assert tools.last_words(program, said) == words
