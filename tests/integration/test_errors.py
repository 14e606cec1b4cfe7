"""Failures before the container exists: one error, exit status 1, nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Result, Runtime

NewId = Callable[[], str]


def refused(runtime: Runtime, bundle: Bundle, id: str, *words: str) -> Result:
    """Create must fail with one error, and leave nothing behind."""
    result = runtime.create(bundle, id).fails(*words)
    assert runtime.ids() == []
    assert result.stdout == ""
    if runtime.is_ocipy:
        one_error(result)
    return result


def one_error(result: Result) -> None:
    """The form of an error: a line `ocipy: COMMAND ID: POINTER: what`, and at most one with the cause, indented."""
    lines = result.stderr.splitlines()
    assert 1 <= len(lines) <= 2, repr(result)
    assert lines[0].startswith("ocipy: "), repr(result)
    assert all(line.startswith("  ") for line in lines[1:]), repr(result)


@pytest.mark.unprivileged
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', '{"ociVersion": "1.0.0"', "\x00", '{"a": 1} {"b": 2}'])
def test_broken_json(runtime: Runtime, bundle: Bundle, new_id: NewId, text: str) -> None:
    (bundle.path / "config.json").write_text(text)
    runtime.call("create", "--bundle", bundle.path, new_id()).fails()
    assert runtime.ids() == []


@pytest.mark.unprivileged
def test_broken_json_says_where(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    (bundle.path / "config.json").write_text('{\n "ociVersion": "1.0.0",\n oops\n}')
    runtime.call("create", "--bundle", bundle.path, new_id()).fails(
        "invalid character" if not runtime.is_ocipy else "config.json"
    )


@pytest.mark.ocipy_only("runc does not say where a file is not UTF-8")
def test_config_in_invalid_utf8(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.args("true")
    path = bundle.write()
    path.write_bytes(path.read_bytes().replace(b"ocipy-test", b"\xff\xfe", 1))
    one_error(runtime.call("create", "--bundle", bundle.path, new_id()).fails("config.json"))


def _edit(pointer: str, value: Any) -> Callable[[Bundle], None]:
    def edit(bundle: Bundle) -> None:
        *path, last = pointer.strip("/").split("/")
        target: Any = bundle.config
        for name in path:
            target = target[int(name) if isinstance(target, list) else name]
        target[int(last) if isinstance(target, list) else last] = value

    return edit


WRONG_SHAPES = [
    ("/process/args", "sh"),
    ("/process/args", []),
    ("/process/cwd", "relative"),
    ("/process/cwd", 1),
    ("/process/env", {"A": "b"}),
    ("/process/user", "root"),
    ("/process/user/uid", -1),
    ("/process/user/uid", 2**32),
    ("/process/rlimits", [{"type": "RLIMIT_NO_SUCH", "soft": 1, "hard": 1}]),
    ("/root", "rootfs"),
    ("/mounts", {"destination": "/x"}),
    ("/mounts/0/options", "ro"),
    ("/linux/namespaces", [{"type": "no-such"}]),
    ("/linux/namespaces", [{"type": "mount"}, {"type": "mount"}]),
    ("/linux/maskedPaths", "/proc/kcore"),
    ("/linux/resources", []),
    ("/linux/resources/pids", {"limit": "many"}),
    ("/linux/rootfsPropagation", "sideways"),
    ("/linux/sysctl", {"net.ipv4.ip_forward": 1}),
    ("/annotations", {"a": 1}),
    ("/hooks", {"createRuntime": [{"path": 5}]}),
]


@pytest.mark.unprivileged
@pytest.mark.parametrize(("pointer", "value"), WRONG_SHAPES)
def test_wrong_shape(runtime: Runtime, bundle: Bundle, new_id: NewId, pointer: str, value: Any) -> None:
    bundle.args("true")
    del bundle.config["hostname"]  # it needs one of the removed namespaces
    _edit(pointer, value)(bundle)
    result = refused(runtime, bundle, new_id())
    if runtime.is_ocipy:
        assert pointer in result.stderr, f"the error does not name {pointer}\n{result!r}"


@pytest.mark.parametrize("pointer", ["/ociVersion", "/process/args", "/process/cwd", "/root/path"])
@pytest.mark.ocipy_only("runc treats some of these as empty")
def test_required_member_missing(runtime: Runtime, bundle: Bundle, new_id: NewId, pointer: str) -> None:
    bundle.args("true")
    *path, last = pointer.strip("/").split("/")
    target: Any = bundle.config
    for name in path:
        target = target[name]
    del target[last]
    refused(runtime, bundle, new_id(), last)


def test_null_is_the_same_as_absent(sh: Callable[..., Result], bundle: Bundle) -> None:
    """Go writes null for a nil slice or map, and engines send it."""
    bundle.config["hooks"] = None
    bundle.config["annotations"] = None
    bundle.process["rlimits"] = None
    bundle.process["user"]["additionalGids"] = None
    bundle.linux["sysctl"] = None
    bundle.linux["devices"] = None
    bundle.linux["seccomp"] = None
    bundle.linux["resources"] = None
    bundle.config["mounts"][0]["options"] = None
    assert sh("echo fine", bundle).ok().stdout == "fine\n"


def test_unknown_members_are_ignored(sh: Callable[..., Result], bundle: Bundle) -> None:
    """The specification: runtimes must not fail on unknown properties."""
    bundle.config["org.example.unknown"] = {"x": 1}
    bundle.process["unknown"] = [1]
    bundle.linux["unknown"] = True
    assert sh("echo fine", bundle).ok().stdout == "fine\n"


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.2.1", "1.3.0"])
def test_versions_that_engines_write(sh: Callable[..., Result], bundle: Bundle, version: str) -> None:
    bundle.config["ociVersion"] = version
    assert sh("echo fine", bundle).ok().stdout == "fine\n"


@pytest.mark.ocipy_only("runc does not look at ociVersion")
@pytest.mark.parametrize("version", ["2.0.0", "", "1", "one"])
def test_unsupported_versions(runtime: Runtime, bundle: Bundle, new_id: NewId, version: str) -> None:
    bundle.config["ociVersion"] = version
    refused(runtime, bundle.args("true"), new_id(), "/ociVersion")


@pytest.mark.unprivileged
def test_missing_bundle(runtime: Runtime, work: Path, new_id: NewId) -> None:
    result = runtime.call("create", "--bundle", work / "nowhere", new_id()).fails("no such file or directory")
    assert "nowhere" in result.stderr
    assert runtime.ids() == []


@pytest.mark.unprivileged
def test_missing_config(runtime: Runtime, work: Path, new_id: NewId) -> None:
    (work / "empty").mkdir()
    runtime.call("create", "--bundle", work / "empty", new_id()).fails("config.json")
    assert runtime.ids() == []


def test_missing_rootfs(runtime: Runtime, make_bundle: Callable[..., Bundle], new_id: NewId) -> None:
    refused(runtime, make_bundle(rootfs=False).args("true"), new_id(), "rootfs")


def test_rootfs_is_a_file(runtime: Runtime, make_bundle: Callable[..., Bundle], new_id: NewId) -> None:
    bundle = make_bundle(rootfs=False).args("true")
    bundle.rootfs.write_text("")
    refused(runtime, bundle, new_id())


@pytest.mark.differs_from_runc("runc cannot pivot into the host's root")
def test_rootfs_is_the_hosts_root(runtime: Runtime, make_bundle: Callable[..., Bundle], new_id: NewId) -> None:
    """This is allowed, and mounts in the container stay there: the leak check looks at the host's mounts."""
    bundle = make_bundle(rootfs=False).args("/bin/sh", "-c", "touch /etc/new || echo read-only")
    bundle.config["root"] = {"path": "/", "readonly": True}
    bundle.without_mount("/sys/fs/cgroup")
    assert runtime.run(bundle, new_id()).ok().stdout == "read-only\n"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["no-such-command"], 'exec: "no-such-command": executable file not found in $PATH'),
        (["/no/such"], 'exec: "/no/such": stat /no/such: no such file or directory'),
        (["/etc"], 'exec: "/etc": is a directory'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
        ([""], "executable file not found in $PATH"),
    ],
)
def test_missing_command(runtime: Runtime, bundle: Bundle, new_id: NewId, args: list[str], sentence: str) -> None:
    """create reports them in the words that podman and Docker turn into 126 and 127."""
    refused(runtime, bundle.args(*args), new_id(), sentence)


def test_missing_hook(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/no/such/hook"}]}
    refused(runtime, bundle.args("true"), new_id(), "/no/such/hook", "no such file or directory")


def test_failing_hook(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo the reason >&2; exit 3"]}]
    }
    refused(runtime, bundle.args("true"), new_id(), "3", "the reason")


def test_missing_mount_source(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    result = refused(
        runtime,
        bundle.args("true").mount("/mnt", "/no/such/source"),
        new_id(),
        "/no/such/source",
        "no such file or directory",
    )
    if runtime.is_ocipy:
        assert f"/mounts/{len(bundle.config['mounts']) - 1}" in result.stderr


def test_failures_late_in_create_leave_nothing(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """Each of these fails at a different point, the last ones when almost everything has been made."""
    for edit in (
        _edit("/linux/sysctl", {"kernel.shmmax": "x"}),
        _edit("/process/apparmorProfile", "no-such-profile"),
        _edit("/process/selinuxLabel", "no:such:label"),
        _edit("/process/cwd", "/etc/passwd"),
        _edit("/linux/cgroupsPath", bundle.linux["cgroupsPath"]),
    ):
        bundle.args("/no/such/command")
        edit(bundle)
        refused(runtime, bundle, new_id())
        for member in ("apparmorProfile", "selinuxLabel"):
            bundle.process.pop(member, None)
        bundle.process["cwd"] = "/"
        bundle.linux.pop("sysctl", None)


@pytest.fixture
def tiny(work: Path) -> Iterator[Path]:
    """A filesystem with hardly any space."""
    path = work / "tiny"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k,nr_inodes=16", "none", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_full_state_directory(runtime: Runtime, bundle: Bundle, new_id: NewId, tiny: Path) -> None:
    state = tiny / "state"
    state.mkdir()
    (tiny / "filler").write_bytes(b"x" * 4096)
    with pytest.raises(OSError):
        (tiny / "more").write_bytes(b"x" * 8192)
    bundle.args("true").write()
    id = new_id()
    result = runtime.call("create", "--bundle", bundle.path, id, globals=["--root", state])
    result.fails("no space left on device")
    assert [entry.name for entry in state.iterdir() if not entry.name.startswith(".")] == []


def test_state_directory_without_inodes(runtime: Runtime, bundle: Bundle, new_id: NewId, tiny: Path) -> None:
    """With 0, 1, 2, … free inodes each attempt fails at another file; none leaves a partial state."""
    state = tiny / "state"
    state.mkdir()
    bundle.args("true").write()
    fillers: list[Path] = []
    with pytest.raises(OSError):
        while True:
            filler = tiny / str(len(fillers))
            filler.touch()
            fillers.append(filler)
    failed = 0
    for filler in fillers:
        id = new_id()
        result = runtime.call("create", "--bundle", bundle.path, id, globals=["--root", state])
        if result.status == 0:
            runtime.call("delete", "--force", id, globals=["--root", state]).ok()
            break
        result.fails("no space left on device")
        failed += 1
        assert [entry.name for entry in state.iterdir() if not entry.name.startswith(".")] == []
        filler.unlink()
    assert failed >= 2


def test_read_only_state_directory(runtime: Runtime, bundle: Bundle, new_id: NewId, tiny: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", tiny], check=True)
    bundle.args("true").write()
    result = runtime.call("create", "--bundle", bundle.path, new_id(), globals=["--root", tiny / "state"])
    result.fails("read-only file system")


def test_state_directory_is_a_file(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path) -> None:
    (work / "file").write_text("")
    bundle.args("true").write()
    runtime.call("create", "--bundle", bundle.path, new_id(), globals=["--root", work / "file"]).fails(
        "not a directory"
    )


@pytest.mark.unprivileged
@pytest.mark.parametrize(
    "words",
    [["no-such-command"], ["state"], ["create"], ["create", "--no-such-flag", "x"], ["state", "--bundle"], ["kill"]],
)
def test_usage(runtime: Runtime, words: list[str]) -> None:
    result = runtime.call(*words)
    assert result.status not in (0, -9), repr(result)
    assert (result.stderr + result.stdout).strip()
    assert "Traceback" not in result.stderr


@pytest.mark.unprivileged
def test_closed_standard_error(runtime: Runtime, new_id: NewId) -> None:
    """An engine that has gone must not turn an error into a crash."""
    read, write = os.pipe()
    os.close(read)
    result = runtime.call("state", new_id(), stderr=write)
    os.close(write)
    assert result.status == 1 or result.status == -13, repr(result)


def test_closed_standard_output(runtime: Runtime) -> None:
    read, write = os.pipe()
    os.close(read)
    result = runtime.call("features", stdout=write)
    os.close(write)
    assert result.status in (0, 1, -13), repr(result)
    assert "Exception ignored" not in result.stderr and "Traceback" not in result.stderr


@pytest.mark.ocipy_only(reason="the words are its own")
def test_a_runtime_in_a_chroot_says_so(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """If "/" is not a mount point, its propagation cannot be set: a host tree below a plain directory."""
    bundle.write()
    top = bundle.path / "chroot"
    top.mkdir()
    script = f"""
        cd /
        for name in */; do
            mkdir -p {top}/$name && mount --rbind /$name {top}/$name
        done
        exec chroot {top} {runtime.path} --root {runtime.root} create --bundle {bundle.path} {new_id()}
    """
    result = runtime.spawn(["unshare", "-m", "sh", "-c", script]).wait()
    result.fails('cannot set the propagation of the mounts below "/": Invalid argument', "as in a chroot")
    one_error(result)
