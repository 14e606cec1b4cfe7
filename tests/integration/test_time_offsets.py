"""linux.timeOffsets."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Bundle, Container, Result, Runtime, wait_until

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]
Shell = Callable[..., Result]


def uptime(text: str) -> float:
    return float(text.split()[0])


@pytest.mark.smoke
@pytest.mark.parametrize("user_namespace", [False, True])
def test_time_offsets(sh: Shell, bundle: Bundle, user_namespace: bool) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 86400, "nanosecs": 500}, "monotonic": {"secs": 3600}}
    if user_namespace:
        bundle.user_namespace()
    before = uptime(Path("/proc/uptime").read_text())
    result = sh("cat /proc/uptime; cat /proc/self/timens_offsets; readlink /proc/self/ns/time", bundle).ok()
    assert 0 <= uptime(result.lines[0]) - before - 86400 < 60
    assert [line.split() for line in result.lines[1:3]] == [["monotonic", "3600", "0"], ["boottime", "86400", "500"]]
    assert result.lines[3] != os.readlink("/proc/self/ns/time")


def test_a_time_namespace_without_offsets(sh: Shell, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    result = sh("cat /proc/self/timens_offsets; readlink /proc/self/ns/time", bundle).ok()
    assert [line.split()[1:] for line in result.lines[:2]] == [["0", "0"]] * 2
    assert result.lines[2] != os.readlink("/proc/self/ns/time")


@pytest.mark.parametrize("joins_pid", [False, True])
def test_the_created_container_is_already_in_its_time_namespace(
    container: MakeContainer, make_bundle: Callable[..., Bundle], joins_pid: bool
) -> None:
    """Another container may join it by init's pid, and exec does."""
    bundle = make_bundle()
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"monotonic": {"secs": 3600}}
    if joins_pid:
        pid = next(entry for entry in bundle.linux["namespaces"] if entry["type"] == "pid")
        pid["path"] = f"/proc/{container().start().pid}/ns/pid"
    one = container(bundle, sh="exec sleep 1000")
    created = one.namespace("time")
    assert created != os.readlink("/proc/self/ns/time")
    assert created == one.sh("readlink /proc/self/ns/time").ok().stdout.strip()
    one.start()
    wait_until(lambda: one.proc("comm").read_text() == "sleep\n")
    assert one.namespace("time") == created
    one.end()


@pytest.mark.ocipy_only("the words are ocipy's")
def test_a_clock_before_its_beginning(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["namespaces"].append({"type": "time"})
    bundle.linux["timeOffsets"] = {"boottime": {"secs": -int(time.clock_gettime(time.CLOCK_BOOTTIME)) - 1000}}
    runtime.create(bundle, new_id()).fails("/linux/timeOffsets", "clock")
    assert runtime.ids() == []


@pytest.mark.ocipy_only("the words are ocipy's")
def test_offsets_without_a_time_namespace(runtime: Runtime, bundle: Bundle, new_id: NewId) -> None:
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 1}}
    runtime.create(bundle, new_id()).fails("/linux/timeOffsets")
