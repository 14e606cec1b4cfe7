"""A container with CAP_SYS_PTRACE and without a user namespace inspects a process that enters its pid namespace. It
follows its root, working directory and file descriptors (CVE-2016-9962), and none leads to the host.

strace(1) delays the process in one system call, so the container need not be fast.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, Runtime

pytestmark = pytest.mark.needs_program("strace")

MakeContainer = Callable[..., Container]
MakeBundle = Callable[..., Bundle]
NewId = Callable[..., str]

# The progress of init or the joiner: just forked, half-way, without most privileges.
MOMENTS = ("close_range", "setsid", "umask")


def watch(marker: Path) -> str:
    """Return a script that inspects entering processes, also through a procfs that shows the host's processes."""
    seen = os.getpid()
    return f"""
    echo ready
    while :; do
      for p in /proc/[0-9]*; do
        for l in $p/root $p/cwd $p/fd/*; do
          for w in "" /.. /{seen}/root /../{seen}/root; do [ -e $l$w{marker} ] && echo REACHED $l$w; done
        done
      done 2>/dev/null
    done"""


def held_up(call: str) -> list[str | Path]:
    """Return a prefix for the runtime's command that delays each of these calls in its processes."""
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:delay_enter=150000"]


@pytest.fixture
def marker(work: Path) -> Path:
    path = work / "marker"
    path.write_text("of the host")
    return path


def watcher_of(container: MakeContainer, bundle: Bundle, marker: Path) -> Container:
    bundle.capabilities("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_KILL", "CAP_SYS_PTRACE")
    one = container(bundle, sh=watch(marker)).start()
    one.wait_output("ready")
    return one


def assert_blind(one: Container) -> None:
    assert "REACHED" not in one.stdout, one.stdout
    one.end()


@pytest.mark.parametrize("call", MOMENTS)
def test_nothing_of_the_host_is_open_in_an_exec_process(
    container: MakeContainer, bundle: Bundle, marker: Path, call: str
) -> None:
    one = watcher_of(container, bundle, marker)
    one.exec("true", prefix=held_up(call), timeout=60).ok()
    assert_blind(one)


@pytest.mark.parametrize("call", MOMENTS)
def test_the_root_of_an_exec_process_is_the_container_s_even_if_only_chroot_holds_it(
    container: MakeContainer, bundle: Bundle, marker: Path, call: str
) -> None:
    """In a container without a mount namespace, the host's root is only a chroot away."""
    bundle.without_namespace("mount")
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["destination"] == "/proc"]
    bundle.linux.pop("maskedPaths")
    bundle.linux.pop("readonlyPaths")
    bundle.config["root"]["readonly"] = False
    one = watcher_of(container, bundle, marker)
    one.exec("true", prefix=held_up(call), timeout=60).ok()
    assert_blind(one)


# In the order of create: namespaces, mounts, pivot, covered paths, and the rest.
@pytest.mark.parametrize("call", ["setns", "fsopen", "fsmount", "pivot_root", "sethostname", *MOMENTS])
def test_an_init_that_joins_a_pid_namespace_leads_only_into_its_container(
    runtime: Runtime, container: MakeContainer, make_bundle: MakeBundle, new_id: NewId, marker: Path, call: str
) -> None:
    """From its first appearance, neither its root nor its working directory nor a file descriptor leads to the host."""
    one = watcher_of(container, make_bundle(), marker)
    bundle: Any = make_bundle().join_pid_namespace(one.pid).sh("cat /proc/sys/net/ipv4/ip_forward; id -u")
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "1234"}
    bundle.config["hostname"] = "x"
    result = runtime.run(bundle, new_id(), prefix=held_up(call), timeout=60).ok()
    assert result.lines == ["1", "0"]
    assert_blind(one)
