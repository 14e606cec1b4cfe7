"""process.env, process.cwd and process.args as the container's process sees them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.harness import Bundle, Container, Result, Runtime, wait_until

RunScript = Callable[..., Result]
NewId = Callable[[], str]
PATH = "PATH=/usr/bin:/bin"


def environment(result: Result) -> list[str]:
    return sorted(result.ok().stdout.split("\0")[:-1])


@pytest.fixture
def run_env(runtime: Runtime, bundle: Bundle, new_id: NewId) -> Callable[..., list[str]]:
    """The environment passed to execve, without a shell's additions."""

    def run(*entries: str) -> list[str]:
        bundle.process["env"] = [PATH, *entries]
        return environment(runtime.run(bundle.args("cat", "/proc/self/environ"), new_id()))

    return run


def test_environment_is_exactly_the_configured_one(run_env: Callable[..., list[str]]) -> None:
    assert run_env("A=1", "B=two words", "C=", "D=a=b", "HOME=/x", "ü=ö") == sorted(
        [PATH, "A=1", "B=two words", "C=", "D=a=b", "HOME=/x", "ü=ö"]
    )


def test_home_is_looked_up(run_env: Callable[..., list[str]], bundle: Bundle) -> None:
    assert run_env() == ["HOME=/root", PATH]
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    assert run_env() == ["HOME=/home/user", PATH]
    bundle.process["user"] = {"uid": 4711, "gid": 0}
    assert run_env() == ["HOME=/", PATH]


def test_home_given_is_kept(run_env: Callable[..., list[str]]) -> None:
    assert run_env("HOME=/given") == ["HOME=/given", PATH]


def test_the_last_of_two_values_wins(run_env: Callable[..., list[str]]) -> None:
    assert run_env("HOME=/x", "A=1", "A=2", "B=b", "A=3") == sorted([PATH, "HOME=/x", "A=3", "B=b"])


@pytest.mark.parametrize("entry", ["NOEQUALS", "=empty", "", "NUL=a\0b"])
def test_entries_that_are_not_assignments(runtime: Runtime, bundle: Bundle, new_id: NewId, entry: str) -> None:
    bundle.process["env"].append(entry)
    runtime.create(bundle.args("true"), new_id()).fails()
    assert runtime.ids() == []


def test_callers_environment_stays_outside(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """The engine's whole environment reaches the runtime, including PYTHON… and LD_… variables."""
    bundle.process["env"] = [PATH, "HOME=/"]
    hostile = {
        "SECRET": "x",
        "PYTHONPATH": "/tmp",
        "PYTHONHOME": "/nowhere",
        "PYTHONSTARTUP": "/nowhere",
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONVERBOSE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "xx_XX.nosuch",
        "LC_ALL": "C",
        "LANGUAGE": "de",
        "TZ": "/nowhere",
        "_OCI_SYNCPIPE": "3",
        "_CONTAINERS_USERNS_CONFIGURED": "",
        "XDG_RUNTIME_DIR": "",
        "NOTIFY_SOCKET": "",
    }
    result = runtime.run(bundle.args("cat", "/proc/self/environ"), new_id(), env=hostile)
    assert environment(result) == ["HOME=/", PATH]
    assert result.stderr == ""


def test_python_variables_do_not_steer_the_runtime(runtime: Runtime, new_id: NewId) -> None:
    """With a wrong PYTHONHOME, an interpreter that reads it would not start."""
    result = runtime.call("state", new_id(), env={"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere"})
    result.fails("does not exist")


def test_a_minimal_environment_is_enough(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """podman's direct calls have no PATH, no HOME and no LANG."""
    id = new_id()
    bundle.sh("echo fine").write()
    wrapper = ["env", "-i"]
    created = runtime.call("create", "--bundle", bundle.path, id, prefix=wrapper).ok()
    runtime.call("start", id, prefix=wrapper).ok()
    for _ in range(100):
        if created.stdout_path.read_text() == "fine\n":
            break
        runtime.call("state", id, prefix=wrapper).ok()
    runtime.call("delete", "--force", id, prefix=wrapper).ok()
    assert created.stdout_path.read_text() == "fine\n"


def test_current_directory(sh: RunScript, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/usr/bin"
    assert sh("pwd; readlink /proc/self/cwd", bundle).ok().lines == ["/usr/bin", "/usr/bin"]


def test_current_directory_is_made(sh: RunScript, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = False
    bundle.process["cwd"] = "/new/deep/directory"
    assert sh("pwd", bundle).ok().stdout == "/new/deep/directory\n"
    assert (bundle.rootfs / "new/deep/directory").is_dir()


def test_current_directory_in_a_mount(sh: RunScript, bundle: Bundle) -> None:
    bundle.process["cwd"] = "/dev/shm"
    assert sh("pwd; echo x > f && cat f", bundle).ok().lines == ["/dev/shm", "x"]


def test_current_directory_that_only_the_user_may_enter(sh: RunScript, bundle: Bundle) -> None:
    """As root without CAP_DAC_OVERRIDE, or on a root-squashing file system, root could not."""
    home = bundle.rootfs / "home/user"
    home.mkdir()
    home.chmod(0o700)
    os.chown(home, 1000, 1000)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["cwd"] = "/home/user"
    assert sh("pwd", bundle).ok().stdout == "/home/user\n"


@pytest.mark.parametrize("cwd", ["/etc/passwd", "/etc/passwd/x"])
def test_current_directory_that_is_a_file(runtime: Runtime, bundle: Bundle, new_id: NewId, cwd: str) -> None:
    bundle.process["cwd"] = cwd
    runtime.create(bundle.args("true"), new_id()).fails("not a directory")
    assert runtime.ids() == []


def test_current_directory_that_the_user_may_not_enter(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    directory = bundle.rootfs / "closed"
    directory.mkdir()
    directory.chmod(0o700)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["cwd"] = "/closed/inner"
    (directory / "inner").mkdir()
    bundle.process["capabilities"] = {}
    result = runtime.run(bundle.args("pwd"), new_id())
    # It must work with the user's privileges alone, or with root's.
    if result.status == 0:
        assert result.stdout == "/closed/inner\n"
    else:
        result.fails("permission denied")


def test_arguments_are_passed_as_they_are(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    words = ["", "two words", "$HOME", "*", "'", '"', "\\n", "line\nbreak", "ü", "-n"]
    bundle.args("sh", "-c", 'for a; do printf "%s\\0" "$a"; done', "zero", *words)
    result = runtime.run(bundle, new_id()).ok()
    assert result.stdout.split("\0")[:-1] == words


def test_argument_zero(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """args[0] is looked up, and passed on unchanged."""
    result = runtime.run(bundle.args("cat", "/proc/self/cmdline"), new_id()).ok()
    assert result.stdout.split("\0")[0] == "cat"


def test_command_relative_to_the_current_directory(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.file("/home/tool", "#!/bin/sh\necho tool $0\n", 0o755)
    bundle.process["cwd"] = "/home"
    assert runtime.run(bundle.args("./tool"), new_id()).ok().stdout == "tool ./tool\n"


def test_path_is_the_containers(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.file("/opt/tools/only-here", "#!/bin/sh\necho found\n", 0o755)
    bundle.process["env"] = ["PATH=/nowhere:/opt/tools:/bin"]
    assert runtime.run(bundle.args("only-here"), new_id(), env={"PATH": "/usr/bin:/bin"}).ok().stdout == "found\n"


def test_path_entries_that_are_not_executable_are_skipped(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.file("/opt/a/tool", "no mode bits", 0o644)
    (bundle.rootfs / "opt/b/tool").mkdir(parents=True)
    bundle.file("/opt/c/tool", "#!/bin/sh\necho third\n", 0o755)
    bundle.process["env"] = ["PATH=/opt/a:/opt/b:/opt/c:/bin"]
    assert runtime.run(bundle.args("tool"), new_id()).ok().stdout == "third\n"


def test_without_path_nothing_is_found(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.process["env"] = ["A=b"]
    runtime.create(bundle.args("true"), new_id()).fails("executable file not found in $PATH")


def test_interpreter_line_that_leads_nowhere(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.file("/bin/script", "#!/no/such/interpreter\n", 0o755)
    result = runtime.run(bundle.args("script"), new_id())
    result.fails("no such file or directory", status=None)


def test_file_that_is_not_a_program(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.file("/bin/garbage", "\x01\x02\x03", 0o755)
    runtime.run(bundle.args("garbage"), new_id()).fails("exec format error", status=None)


def test_large_arguments_and_environment(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    """They are over 64 KiB each, which shows that no length between config.json and execve is limited to 16 bits."""
    bundle.process["env"] += [f"V{number}={'x' * 1000}" for number in range(100)]
    bundle.args("sh", "-c", "echo $#; tr '\\0' '\\n' < /proc/1/environ | grep -c ^V", "zero", *["y" * 1000] * 100)
    assert runtime.run(bundle, new_id()).ok().lines == ["100", "100"]


def test_container_process_is_named_by_its_command(container: Callable[..., Container]) -> None:
    one = container().start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    assert one.proc("exe").readlink().name == "busybox"
