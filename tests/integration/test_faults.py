"""Every system call may fail, and a signal may arrive at any: the result is one clear line, and nothing left behind.

strace(1) injects the faults. It counts the calls of each process separately, so the Nth call is the runtime's on the
host or the init process's, whichever is first.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Bundle, Result, Runtime

pytestmark = [pytest.mark.ocipy_only("its own calls, one by one"), pytest.mark.needs_program("strace")]

MakeBundle = Callable[..., Bundle]
NewId = Callable[[], str]
Check = Callable[[], None]

# How many places to try for each call, spread evenly.
SAMPLES = int(os.environ.get("OCIPY_TEST_FAULTS", "3"))
# Where the runtime begins to work, after the loader and Python's start.
BEGIN = "signalfd4("
# What failed, and the field or file, if any.
NAMED = re.compile(
    r"ocipy: \w+ \S+: (/\S+: )?(cannot .|the kernel refused the step \w|tmpfs does not accept .|the init process .|"
    r"container |there is no .|exec: .)"
)
# The calls of an ordinary container, with possible errors.
FAULTS = {
    "capset": "EPERM",
    "chdir": "EACCES",
    "clone3": "EAGAIN",
    "close_range": "EINVAL",
    "fchdir": "EACCES",
    "fchmodat": "EPERM",
    "fchownat": "EPERM",
    "flock": "ENOLCK",
    "fsconfig": "EINVAL",
    "fsmount": "EPERM",
    "fsopen": "EMFILE",
    "fstatfs": "EIO",
    "keyctl": "EDQUOT",
    "mkdir": "ENOSPC",
    "mkdirat": "EROFS",
    "mknodat": "ENOSPC",
    "mount_setattr": "EINVAL",
    "move_mount": "EINVAL",
    "newfstatat": "EIO",
    "open_tree": "EMFILE",
    "openat": "EMFILE",
    "openat2": "ENFILE",
    "pivot_root": "EINVAL",
    "poll": "ENOMEM",
    "prctl": "EINVAL",
    "prlimit64": "EPERM",
    "read": "EIO",
    "readlinkat": "EIO",
    "recvmsg": "ENOMEM",
    "rename": "ENOSPC",
    "rmdir": "EIO",
    "sendmsg": "ENOBUFS",
    "sethostname": "EPERM",
    "setns": "EPERM",
    "setresuid": "EAGAIN",
    "setsid": "EACCES",
    "signalfd4": "EMFILE",
    "socketpair": "EMFILE",
    "statx": "EIO",
    "symlinkat": "ENOSPC",
    "umount2": "EINVAL",
    "unlink": "EIO",
    "unshare": "ENOSPC",
    "wait4": "EINTR",
    "write": "ENOSPC",
}
# Additional calls of a container with joined and new namespaces, mapped ids and hooks.
STAGED = {
    "clone3": "ENOMEM",
    "memfd_create": "EMFILE",
    "mkdir": "EDQUOT",
    "mount_setattr": "EPERM",
    "openat2": "EXDEV",
    "pidfd_open": "EMFILE",
    "pipe2": "ENFILE",
    "poll": "EINVAL",
    "recvmsg": "EIO",
    "sendmsg": "EPIPE",
    "setns": "EPERM",
    "setresgid": "EPERM",
    "setresuid": "EPERM",
    "unshare": "EUSERS",
    "wait4": "ECHILD",
    "waitid": "ECHILD",
    "write": "EPERM",
}


class Injector:
    """Runs containers under strace, with one fault each."""

    def __init__(self, runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, nothing_left: Check) -> None:
        self.runtime = runtime
        self.bundle = bundle
        self.new_id = new_id
        self.nothing_left = nothing_left
        trace = work / "trace"
        runtime.run(bundle, new_id(), prefix=["strace", "-ff", "-o", str(trace)]).ok()
        self.first: Counter[str] = Counter()
        self.last: Counter[str] = Counter()
        # Of the process that clones, up to the clone, and up to /proc/PID/stat, which it reads for the state.
        self.cloned: Counter[str] = Counter()
        self.saving: Counter[str] = Counter()
        for path in work.glob("trace.*"):
            text = path.read_text(errors="replace")
            calls = Counter(re.findall(r"^(\w+)\(", text, re.MULTILINE))
            self.last |= calls
            if BEGIN in text:
                self.first = Counter(re.findall(r"^(\w+)\(", text.partition(BEGIN)[0], re.MULTILINE))
            if BEGIN in text and "clone3(" in text:
                before, _, after = text.partition("clone3(")
                self.cloned = Counter(re.findall(r"^(\w+)\(", before, re.MULTILINE))
                head = re.split(r'^openat\(.*/proc/\d+/stat"', after, maxsplit=1, flags=re.MULTILINE)[0]
                self.saving = self.cloned + Counter(re.findall(r"^(\w+)\(", head, re.MULTILINE))

    def places(self, call: str, samples: int = SAMPLES) -> list[int]:
        """Choose the calls to try."""
        first, last = self.first[call] + 1, self.last[call]
        return sorted({first + (last - first) * index // max(samples - 1, 1) for index in range(samples)})

    def inject(self, call: str, place: int, fault: str) -> tuple[str, Result]:
        """Return (the container's id, the result)."""
        id = self.new_id()
        strace = ["strace", "-f", "-qq", "-o", "/dev/null"]
        if fault.startswith("error="):
            strace.append("--seccomp-bpf")  # faster, but then strace 6.1 injects no signals
        prefix = [*strace, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={place}"]
        return id, self.runtime.run(self.bundle, id, prefix=prefix)

    def fail(self, call: str, error: str) -> None:
        assert self.last[call], f"nobody calls {call}"
        for place in self.places(call):
            id, result = self.inject(call, place, f"error={error}")
            told = [
                line
                for line in result.stderr.splitlines()
                if not line.startswith(("  ", "ocipy: warning: ", "strace: "))
            ]
            assert "internal error" not in result.stderr, result
            assert "Traceback" not in result.stderr, result
            assert (result.status, len(told)) in ((0, 0), (1, 1)), f"{call} {place} {error}: {result!r}"
            assert all(line.startswith("ocipy: run ") for line in told), result
            assert all(NAMED.search(line) for line in told), result
            if result.status and (call in ("rmdir", "unlink") or self._has_run(id)):
                # The deletion failed, and the error names the leftovers.
                self.runtime.delete(id, force=True).ok()
            self.nothing_left()

    def _has_run(self, id: str) -> bool:
        """Whether start has released it: the FIFO is gone."""
        directory = self.runtime.root / id
        return (directory / "state.json").exists() and not any(directory.glob("exec.fifo*"))

    def interrupt(self, call: str, number: signal.Signals) -> None:
        statuses = set()
        for place in self.places(call):
            id, result = self.inject(call, place, f"signal={number.name}")
            if number == signal.SIGKILL:
                self.runtime.delete(id, force=True).ok()
            # Killed like any program before the runtime begins, or because the payload got the signal.
            assert result.status in (0, 1, 128 + number, -number), f"{call} {place}: {result!r}"
            assert "internal error" not in result.stderr, result
            self.nothing_left()
            statuses.add(result.status)
        assert statuses != {0} or number == signal.SIGPIPE, f"{number.name} never arrived"


@pytest.fixture
def ordinary(runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, assert_nothing_left: Check) -> Injector:
    # Not everything that mknod gives a node by itself.
    bundle.linux["devices"] = [{"path": "/dev/others", "type": "c", "major": 1, "minor": 5, "uid": 7}]
    return Injector(runtime, bundle.args("true"), new_id, work, assert_nothing_left)


@pytest.fixture
def staged(
    runtime: Runtime, bundle: Bundle, new_id: NewId, work: Path, assert_nothing_left: Check
) -> Iterator[Injector]:
    """With a stage before init, for new user and time namespaces, and a hook of each kind."""
    whole = [{"containerID": 0, "hostID": 0, "size": 4294967295}]
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = whole
    bundle.linux["namespaces"] += [{"type": "user"}, {"type": "time"}, {"type": "uts", "path": "/proc/self/ns/uts"}]
    bundle.linux["namespaces"].remove({"type": "uts"})
    del bundle.config["hostname"]
    kinds = ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    bundle.config["hooks"] = {kind: [{"path": "/bin/true"}] for kind in kinds}
    yield Injector(runtime, bundle.args("true"), new_id, work, assert_nothing_left)


@pytest.mark.parametrize(
    "call",
    # clone3 creates v2's cgroup namespace with the others.
    [pytest.param(call, marks=[pytest.mark.needs_cgroup_v1] if call == "unshare" else []) for call in FAULTS],
)
def test_a_call_fails(ordinary: Injector, call: str) -> None:
    ordinary.fail(call, FAULTS[call])


def test_a_lookup_that_a_rename_disturbs_is_repeated(ordinary: Injector) -> None:
    """openat2(2): EAGAIN."""
    for place in ordinary.places("openat2"):
        ordinary.inject("openat2", place, "error=EAGAIN")[1].ok()


@pytest.mark.parametrize("call", STAGED)
def test_a_call_fails_on_the_way_through_a_stage(staged: Injector, call: str) -> None:
    staged.fail(call, STAGED[call])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGPIPE])
@pytest.mark.parametrize("call", ["mkdir", "move_mount", "sendmsg", "rename", "openat"])
def test_a_signal_comes(ordinary: Injector, call: str, number: signal.Signals) -> None:
    ordinary.interrupt(call, number)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("call", ["clone3", "recvmsg", "poll"])
def test_a_signal_comes_on_the_way_through_a_stage(staged: Injector, call: str, number: signal.Signals) -> None:
    staged.interrupt(call, number)


@pytest.mark.parametrize("moment", ["cloned", "saving"])
@pytest.mark.parametrize("through", ["ordinary", "staged"])
def test_a_kill_between_the_clone_and_the_state(request: pytest.FixtureRequest, through: str, moment: str) -> None:
    """The state has no pid yet, so init must exit by itself, and delete must find the rest.

    The runtime is killed as it opens its first file after the clone, or the last one before it writes the state: by
    then init may already be mounting what is the host's.
    """
    injector: Injector = request.getfixturevalue(through)
    calls: Counter[str] = getattr(injector, moment)
    id, result = injector.inject("openat", calls["openat"] + 1, "signal=SIGKILL")
    assert result.status == -signal.SIGKILL, result  # strace ends only after init
    saved = json.loads((injector.runtime.root / id / "state.json").read_text())
    assert (saved["pid"], saved["cgroup"] is None) == (0, False)
    assert injector.runtime.state(id)["status"] in ("creating", "stopped")
    injector.runtime.delete(id, force=True).ok()
    injector.nothing_left()
