"""The runtime under test, and the tests that are left out, with reasons."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.harness.host import Host
from tests.harness.text import lines

TOP = Path(__file__).resolve().parent.parent

MARKS = """
ocipy_only(reason): tests what only ocipy has; left out with another runtime
differs_from_runc(reason, always=True): runc differs on purpose; always, or sometimes, fails there
unprivileged: runs without root too
needs_cgroup_v2: needs the unified hierarchy
needs_cgroup_v1: needs the v1 controllers (v1 or hybrid)
needs_apparmor: needs a kernel with AppArmor
needs_systemd: needs a host that systemd was booted on; tests/systemd/run has one
needs_capability(name): needs root to hold this capability
needs_program(name): needs this program on the host
needs_network: needs a way to a package index, for pip
smoke: the short set for slow machines
"""


def runtime_path() -> str:
    """The absolute path of the runtime under test: OCI_RUNTIME, a path or a name; by default the checkout's."""
    wanted = os.environ.get("OCI_RUNTIME") or str(TOP / ".venv/bin/ocipy")
    return str(Path(shutil.which(wanted) or wanted).absolute())


def runtime_version(path: str) -> str:
    """ "NAME VERSION" from the first line of --version; "" if the runtime does not run."""
    try:
        answer = subprocess.run([path, "--version"], check=False, capture_output=True, timeout=60)
    except OSError:
        return ""
    first = lines(os.fsdecode(answer.stdout))[:1]
    return first[0].replace(" version ", " ") if answer.returncode == 0 and first else ""


@pytest.fixture(scope="session")
def host() -> Host:
    """Facts of this machine."""
    return Host()


def _nothing(_number: int, _frame: object) -> None:
    """A handler that does nothing: an exec resets a handler, but would keep "ignored"."""


def restore_default_signals() -> None:
    """Undo the ignored and blocked signals of `nohup make test &` (HUP, INT, QUIT), which every program that the tests
    execute would inherit: signal(7). The session itself still ignores them."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else _nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def pytest_configure(config: pytest.Config) -> None:
    restore_default_signals()
    for line in MARKS.strip().splitlines():
        config.addinivalue_line("markers", line)


def pytest_report_header() -> list[str]:
    path = runtime_path()
    host = Host()
    return [
        f"runtime: {path} ({runtime_version(path) or 'does not run'})",
        f"host: Linux {os.uname().release}, cgroup {host.cgroup}, {'root' if host.root else 'not root'}",
    ]


def _reason(mark: pytest.Mark) -> str:
    """The reason that a mark gives, by position or by name."""
    return str(mark.args[0] if mark.args else mark.kwargs["reason"])


def _reason_to_leave_out(item: pytest.Item, host: Host, kind: str) -> str | None:
    """Why this test can't run here, or None."""
    integration = "tests/integration/" in item.nodeid or "tests/engines/" in item.nodeid
    if integration and not host.root and item.get_closest_marker("unprivileged") is None:
        return "needs root"
    only = item.get_closest_marker("ocipy_only")
    if only is not None and kind != "ocipy":
        return f"only ocipy: {_reason(only)}"
    if item.get_closest_marker("needs_cgroup_v2") is not None and host.cgroup != "v2":
        return f"needs cgroup v2, this host is {host.cgroup}"
    if item.get_closest_marker("needs_cgroup_v1") is not None and host.cgroup not in ("v1", "hybrid"):
        return f"needs cgroup v1 controllers, this host is {host.cgroup}"
    if item.get_closest_marker("needs_apparmor") is not None and not host.apparmor:
        return "needs AppArmor, which this kernel runs without"
    if item.get_closest_marker("needs_systemd") is not None and not Path("/run/systemd/system").is_dir():
        return "needs systemd as init: tests/systemd/run brings one"
    if item.get_closest_marker("needs_network") is not None and not host.network:
        return "needs a network: pip fetches packages"
    for mark in item.iter_markers("needs_capability"):
        if not host.has_capability(mark.args[0]):
            return f"needs {mark.args[0]}, which this host withholds"
    for mark in item.iter_markers("needs_program"):
        if shutil.which(mark.args[0]) is None:
            return f"needs the program {mark.args[0]}"
    return None


def _other_target(item: pytest.Item) -> str | None:
    """The make target that runs what this host can't, as tests/vm/run (SMOKE) and tests/systemd/run select tests."""
    marks = {mark.name for mark in item.iter_markers()}
    if "needs_systemd" in marks:
        return "make test-systemd"
    in_vm = marks & {"smoke", "needs_cgroup_v2", "needs_apparmor"} and item.nodeid.startswith(
        ("tests/integration/", "tests/box/")
    )
    return "make test-vm" if in_vm and "needs_cgroup_v1" not in marks else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    host = Host()
    version = runtime_version(runtime_path())
    kind = version.split()[0] if version else "ocipy"
    for item in items:
        reason = _reason_to_leave_out(item, host, kind)
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
            _elsewhere[item.nodeid] = _other_target(item)
        differs = item.get_closest_marker("differs_from_runc")
        if differs is not None and kind != "ocipy":
            # Strict for the runc version that the mark was written for: a difference that is gone must be noticed.
            strict = version.startswith("runc 1.5.") and differs.kwargs.get("always", True)
            item.add_marker(pytest.mark.xfail(reason=f"{kind} differs: {_reason(differs)}", strict=strict))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        _left_out.setdefault(report.longrepr[2].removeprefix("Skipped: "), []).append(report.nodeid)
    elif report.skipped and hasattr(report, "wasxfail"):
        _left_out.setdefault(str(report.wasxfail), []).append(report.nodeid)


_left_out: dict[str, list[str]] = {}
_elsewhere: dict[str, str | None] = {}


def _told(tests: list[str]) -> str:
    """How many of these run in another target, for the end of a line."""
    targets = Counter(target for target in map(_elsewhere.get, tests) if target)
    return "".join(f"; {number} of them in `{target}`" for target, number in sorted(targets.items()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _left_out:
        return
    terminalreporter.section("left out, or known to differ, and why")
    for reason, tests in sorted(_left_out.items()):
        terminalreporter.write_line(f"{len(tests):4} {reason}{_told(tests)}")
    every = [test for tests in _left_out.values() for test in tests]
    terminalreporter.write_line(f"{len(every):4} in all{_told(every)}")
