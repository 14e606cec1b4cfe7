"""What init looks up in the container's files: the command (process.args) in PATH, and the user's home in passwd.

Both belong to the image and are hostile. passwd(5) is read without libc, which would load the image's libraries
(CVE-2019-14271), and in a way that never blocks.
"""

from __future__ import annotations

import errno
import posix

from ocipy.errors import CAUSES, Error
from ocipy.init import paths
from ocipy.linux import procfs
from ocipy.linux.constants import O_NOCTTY, O_NONBLOCK, O_RDONLY, S_IFDIR, S_IFMT, S_IFREG, X_OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.init.context import Init

PASSWD_MAX = 1 << 20  # bytes
PERMISSION_DENIED = "permission denied"


def find(name: bytes, path: bytes) -> bytes:
    """Return the file to execute. Raises Error."""
    if b"/" in name:
        try:
            failure, hint = _unfit(name, posix.stat(name).st_mode)
        except OSError as error:
            failure, hint = f"stat {_text(name)}: {reason(error)}", CAUSES.get(error.errno or 0, "")
            if error.errno == errno.ENOENT:
                hint = "the container does not have this file"
        if failure:
            raise Error(f"exec: {quote(name)}: {failure}", hint=hint)
        return name
    unfit = ""
    if name:
        for directory in path.split(b":") if path else ():
            # POSIX: an empty entry is the working directory.
            candidate = (directory or b".") + b"/" + name
            try:
                mode = posix.stat(candidate).st_mode
            except OSError:
                continue
            failure, hint = _unfit(candidate, mode)
            if not failure:
                return candidate
            if failure == PERMISSION_DENIED:
                unfit = unfit or f"{_text(candidate)} exists, but {hint}"
    searched = f"the container does not have it in {_text(path)}" if path else "process.env has no PATH"
    raise Error(f"exec: {quote(name)}: executable file not found in $PATH", hint=unfit or searched)


def _unfit(path: bytes, mode: int) -> tuple[str, str]:
    """Return (why a file of this mode cannot be executed, the likely cause), ("", "") if it can be."""
    if mode & S_IFMT == S_IFDIR:
        return "is a directory", ""
    try:
        # A seccomp filter may deny faccessat2 (Linux 5.8); by now the real ids equal the effective ones.
        executable = posix.access(path, X_OK, effective_ids=True) or posix.access(path, X_OK)
    except OSError:
        executable = bool(mode & 0o111)
    if executable:
        return "", ""
    if not mode & 0o111:
        return PERMISSION_DENIED, f"its mode, {mode & 0o7777:04o}, has no execute bit"
    return (
        PERMISSION_DENIED,
        f"its mode, {mode & 0o7777:04o}, does not let process.user execute it, or its filesystem is mounted noexec",
    )


def _text(path: bytes) -> str:
    return path.decode("utf-8", "replace")


def to_bytes(text: str) -> bytes:
    """Encode text for the kernel: arguments of exec need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def reason(error: OSError) -> str:
    """Return the error's text in lower case, as engines expect it."""
    text = posix.strerror(error.errno or 0)
    return text[:1].lower() + text[1:]


def quote(name: bytes) -> str:
    """Quote a name, so that nothing in it can end the quotes or the line."""
    text = name.decode("utf-8", "replace").replace("\\", "\\\\").replace('"', '\\"')
    if not text.isprintable():
        text = "".join(character if character.isprintable() else "?" for character in text)
    return f'"{text}"'


def home_directory(init: Init, uid: int) -> bytes:
    """Return this user's home from the container's /etc/passwd, b"/" if none is there."""
    return find_home(_read_passwd(init), uid) or b"/"


def find_home(passwd: bytes, uid: int) -> bytes:
    """Return the sixth field of the first line with this uid (passwd(5)), b"" if there is no such line."""
    wanted = str(uid).encode()
    for line in passwd.split(b"\n"):
        fields = line.split(b":")
        # libc reads 0500 as 500.
        if len(fields) >= 6 and fields[2] and (fields[2].lstrip(b"0") or b"0") == wanted:
            return b"" if b"\0" in fields[5] else fields[5]
    return b""


def _read_passwd(init: Init) -> bytes:
    """Return the content of /etc/passwd below the root, b"" if it is missing or unreadable."""
    try:
        handle = paths.open_below(init.rootfs, "/etc/passwd")
    except OSError:
        return b""
    try:
        # Check before opening: opening a device or a FIFO has side effects or may block forever.
        if posix.fstat(handle).st_mode & S_IFMT != S_IFREG:
            return b""
        fd = procfs.reopen(init.proc, handle, O_RDONLY | O_NONBLOCK | O_NOCTTY)
    except OSError:
        return b""
    finally:
        posix.close(handle)
    try:
        content = b""
        while len(content) < PASSWD_MAX:
            part = posix.read(fd, 65536)
            if not part:
                break
            content += part
        return content
    except OSError:  # a file of procfs may fail in any way
        return b""
    finally:
        posix.close(fd)
