"""events: statistics in runc's format, and OOM kills."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness import Bundle, Container, Host, Runtime, wait_until
from tests.harness.runtime import Running

MakeContainer = Callable[..., Container]

MEGABYTE = 1 << 20


def lines_of(call: Running) -> list[Any]:
    """The documents that a call has written so far."""
    text = call.stdout_path.read_text()
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


@pytest.mark.smoke
def test_stats(container: MakeContainer, bundle: Bundle, host: Host) -> None:
    bundle.linux["resources"].update({"memory": {"limit": 100 * MEGABYTE}, "pids": {"limit": 50}})
    one = container(bundle, sh="sleep 1000 & exec sleep 1000").start()
    wait_until(lambda: one.runtime.call("events", "--stats", one.id).ok().json["data"]["pids"]["current"] == 2)
    result = one.runtime.call("events", "--stats", one.id).ok()
    assert len(result.lines) == 1
    assert result.stderr == ""
    assert (result.json["type"], result.json["id"]) == ("stats", one.id)
    data = result.json["data"]
    assert data["pids"] == {"current": 2, "limit": 50}
    assert data["memory"]["usage"]["limit"] == 100 * MEGABYTE
    assert 0 < data["memory"]["usage"]["usage"] < 100 * MEGABYTE
    assert data["memory"]["raw"]
    assert data["cpu"]["usage"]["total"] > 0
    assert {"kernel", "user"} <= data["cpu"]["usage"].keys()
    assert set(data) == {
        "cpu",
        "cpuset",
        "memory",
        "pids",
        "blkio",
        "hugetlb",
        "intel_rdt",
        "network_interfaces",
    }


def test_numbers_are_unsigned(container: MakeContainer) -> None:
    """Engines fail to decode "max" or a negative number, so "no limit" is a large number."""
    one = container().start()
    text = one.runtime.call("events", "--stats", one.id).ok().stdout
    assert '"max"' not in text.replace('"max":', "")
    data = json.loads(text)["data"]
    assert data["memory"]["usage"]["limit"] >= 9223372036854771712
    assert data["pids"].get("limit", 0) == 0
    for part in ("cpu", "memory", "pids", "blkio", "hugetlb"):
        numbers = [word for word in json.dumps({**data[part], "psi": None}).replace(",", " ").split() if word[0] == "-"]
        assert numbers == []


@pytest.mark.parametrize("status", ["created", "paused"])
def test_stats_without_a_running_process(container: MakeContainer, status: str) -> None:
    one = container()
    if status == "paused":
        one.start()
        one.runtime.call("pause", one.id).ok()
    assert one.runtime.call("events", "--stats", one.id).ok().json["data"]["pids"]["current"] >= 1


def test_periodic_stats(container: MakeContainer) -> None:
    one = container().start()
    call = one.runtime.begin("events", "--interval", "100ms", one.id)
    wait_until(lambda: len(lines_of(call)) >= 3, timeout=20)
    assert {event["type"] for event in lines_of(call)} == {"stats"}
    one.end()
    call.wait()


@pytest.mark.ocipy_only("runc waits on v1 until the container is deleted")
@pytest.mark.parametrize("own_pid_namespace", [True, False])
def test_it_ends_with_the_last_process(container: MakeContainer, bundle: Bundle, own_pid_namespace: bool) -> None:
    if not own_pid_namespace:
        bundle.without_namespace("pid")
    one = container(bundle, sh="sleep 1000 & echo child $!; exec sleep 1000").start()
    child = int(one.wait_output("child ").split()[1])
    call = one.runtime.begin("events", "--interval", "100ms", one.id)
    wait_until(lambda: lines_of(call), timeout=20)
    os.kill(one.pid, signal.SIGKILL)
    if not own_pid_namespace:
        one.wait_dead()
        assert call.process.poll() is None
        os.kill(child, signal.SIGKILL)
    call.wait(20).ok()


def watched(container: MakeContainer, bundle: Bundle, script: str) -> tuple[Container, Running]:
    """Return a container with little memory, and a call that listens to its events. Its script gets a line to begin."""
    bundle.linux["resources"]["memory"] = {"limit": 20 * MEGABYTE, "swap": 20 * MEGABYTE}
    reader, writer = os.pipe()
    one = container(bundle.sh(script), stdin=reader).start()
    os.close(reader)
    call = one.runtime.begin("events", "--interval", "100ms", one.id)
    wait_until(lambda: lines_of(call), timeout=20)
    os.write(writer, b"now\n")
    os.close(writer)
    return one, call


def test_an_oom_kill_of_a_child(container: MakeContainer, bundle: Bundle) -> None:
    """The OOM killer kills the child, and init survives."""
    script = "read line; dd if=/dev/zero of=/dev/null bs=100M count=1; echo child $?; exec sleep 1000"
    one, call = watched(container, bundle, script)
    one.wait_output("child 137")
    wait_until(lambda: {"type": "oom", "id": one.id} in lines_of(call), timeout=20)
    one.end()
    call.wait()


def test_an_oom_kill_of_init(container: MakeContainer, bundle: Bundle) -> None:
    """The event arrives even though the container ends at the same time."""
    one, call = watched(container, bundle, "read line; exec dd if=/dev/zero of=/dev/null bs=100M count=1")
    assert one.reap() == 137
    one.runtime.delete(one.id).ok()
    call.wait(20)
    assert {"type": "oom", "id": one.id} in lines_of(call)


@pytest.mark.ocipy_only("runc says so, and continues")
def test_the_reader_has_gone(container: MakeContainer) -> None:
    one = container().start()
    reader, writer = os.pipe()
    call = one.runtime.begin("events", "--interval", "50ms", one.id, stdout=writer)
    os.close(writer)
    assert os.read(reader, 16).startswith(b'{"type":"stats"')
    os.close(reader)
    assert call.wait(20).ok().stderr == ""


@pytest.mark.parametrize(
    ("interval", "words"), [("0s", "duration interval must be greater than 0"), ("5", "interval"), ("soon", "interval")]
)
def test_invalid_intervals(container: MakeContainer, interval: str, words: str) -> None:
    one = container()
    one.runtime.call("events", "--interval", interval, one.id).fails(words)


def test_for_a_stopped_container(container: MakeContainer) -> None:
    one = container().start().kill().wait_dead()
    for flags in (("--stats",), ()):
        one.runtime.call("events", *flags, one.id, timeout=10).fails(f"container with id {one.id} is not running")


def test_for_a_missing_container(runtime: Runtime, new_id: Callable[[], str]) -> None:
    runtime.call("events", "--stats", new_id()).fails("container does not exist")
    runtime.call("events").fails()
