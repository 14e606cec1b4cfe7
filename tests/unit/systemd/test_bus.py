"""What is said to systemd, and what is made of its answers: with one that is none on the other side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.systemd import bus
from tests.unit.fake_systemd import SERVICE, FakeSystemd, HangUp, Refusal, fake_systemd

UNIT = "ocipy-web.scope"
DESCRIPTION = "ocipy container web (/run/ocipy)"


@pytest.fixture(autouse=True)
def new_connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bus, "_connection", None)
    monkeypatch.setattr(bus, "PATIENCE", 3.0)
    yield
    if bus._connection is not None:
        bus._connection._stream.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    with fake_systemd(tmp_path / "systemd/private") as fake:
        yield fake


def ask(systemd: FakeSystemd, do: str, **request: Any) -> Any:
    request = {"do": do, "addresses": [systemd.address], "unit": UNIT, **request}
    return json.loads(bus.main(json.dumps(request).encode()))


def start(systemd: FakeSystemd, *properties: Any) -> Any:
    return ask(systemd, "start", properties=properties, pid=4711)


def refuse(name: str, text: str = "because") -> Any:
    def answer(arguments: Any) -> Any:
        raise Refusal(name, text)

    return answer


def hang_up(arguments: Any) -> Any:
    raise HangUp


def test_where_the_managers_own_cgroup_is(systemd: FakeSystemd) -> None:
    systemd.properties["ControlGroup"] = ("s", "/user.slice/user-1000.slice/user@1000.service")
    assert ask(systemd, "connect") == {
        "address": systemd.address,
        "root": "/user.slice/user-1000.slice/user@1000.service",
    }


def test_its_own_socket_needs_no_subscription(systemd: FakeSystemd) -> None:
    ask(systemd, "connect")
    assert {method for method, _ in systemd.calls} == {"Get"}


def test_a_message_bus_does(tmp_path: Path) -> None:
    with fake_systemd(tmp_path / "bus") as bus:
        assert start(bus) == {}
        assert [method for method, _ in bus.calls][:3] == ["Hello", "AddMatch", "Subscribe"]


def test_a_unit_is_made_with_the_process_in_it(systemd: FakeSystemd) -> None:
    properties = [
        ("Slice", "s", "system.slice", 0),
        ("Delegate", "b", True, 0),
        ("TimeoutStopUSec", "t", 2**64 - 1, 0),
        ("After", "as", ["a.service"], 0),
        ("AllowedCPUs", "ay", [7, 2], 244),
        ("DeviceAllow", "a(ss)", [["char-*", "m"]], 0),
        ("DeviceAllow", "a(ss)", [], 0),
        ("OOMPolicy", "s", "kill", 253),
    ]
    assert start(systemd, *properties) == {}
    ((unit, mode, made, others),) = systemd.method("StartTransientUnit")
    assert (unit, mode, others) == (UNIT, "replace", [])
    assert made == [
        ("Slice", ("s", "system.slice")),
        ("Delegate", ("b", True)),
        ("TimeoutStopUSec", ("t", 2**64 - 1)),
        ("After", ("as", ["a.service"])),
        ("AllowedCPUs", ("ay", b"\7\2")),
        ("DeviceAllow", ("a(ss)", [("char-*", "m")])),
        ("DeviceAllow", ("a(ss)", [])),
        ("PIDs", ("au", [4711])),
    ], "what is newer than this systemd is left out"


def test_other_jobs_are_not_ours(systemd: FakeSystemd) -> None:
    def others_first(arguments: Any) -> Any:
        for _ in range(3):
            systemd.job(["other.scope"])
        return systemd.job(arguments)

    systemd.results = ["failed", "canceled", "done", "done"]
    systemd.answers["StartTransientUnit"] = others_first
    assert start(systemd) == {}


def test_a_job_that_fails(systemd: FakeSystemd) -> None:
    systemd.results = ["failed"]
    with pytest.raises(Error, match=r"cannot make the unit ocipy-web\.scope: its job ended with 'failed'"):
        start(systemd)
    assert systemd.method("ResetFailedUnit") == [(UNIT,)], "a failed unit would stay"


def test_a_job_that_does_not_end(systemd: FakeSystemd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "PATIENCE", 0.3)
    systemd.results = [None]
    with pytest.raises(Error, match="did not answer"):
        start(systemd)


def test_a_failed_unit_of_that_name_makes_place(systemd: FakeSystemd) -> None:
    made: list[Any] = []

    def only_the_second_time(arguments: Any) -> Any:
        made.append(arguments)
        if len(made) == 1:
            raise Refusal(SERVICE + ".UnitExists")
        return systemd.job(arguments)

    systemd.answers["StartTransientUnit"] = only_the_second_time
    assert start(systemd) == {}
    assert [method for method, _ in systemd.calls if method != "Get"] == [
        "StartTransientUnit", "ResetFailedUnit", "StartTransientUnit", "Ping",
    ]  # fmt: skip


def test_a_unit_of_that_name_that_lives(systemd: FakeSystemd) -> None:
    systemd.answers["StartTransientUnit"] = refuse(SERVICE + ".UnitExists")
    systemd.answers["ResetFailedUnit"] = refuse(SERVICE + ".NoSuchUnit")
    assert start(systemd) == {"exists": True}


def test_a_property_that_it_does_not_know(systemd: FakeSystemd) -> None:
    text = "Cannot set property Nonsense, or unknown property."
    systemd.answers["StartTransientUnit"] = refuse("org.freedesktop.DBus.Error.PropertyReadOnly", text)
    with pytest.raises(Error, match=text):
        start(systemd)


def test_properties_of_a_unit_that_runs(systemd: FakeSystemd) -> None:
    assert ask(systemd, "set", properties=[("TasksMax", "t", 5, 0), ("New", "b", True, 999)]) == {}
    assert systemd.method("SetUnitProperties") == [(UNIT, True, [("TasksMax", ("t", 5))])]
    assert systemd.calls[-1][0] == "Ping", "until it has written them"
    assert ask(systemd, "set", properties=[("New", "b", True, 999)]) == {}
    assert len(systemd.method("SetUnitProperties")) == 1
    systemd.answers["SetUnitProperties"] = refuse("x.y", "TasksMax= is out of range")
    with pytest.raises(Error, match=r"cannot set properties of the unit ocipy-web.scope: .*TasksMax= is out of range"):
        ask(systemd, "set", properties=[("TasksMax", "t", 0, 0)])


def test_a_process_is_attached(systemd: FakeSystemd) -> None:
    ask(systemd, "attach", pid=5, below="/a")
    assert systemd.method("AttachProcessesToUnit") == [(UNIT, "/a", [5])]


class TestStop:
    def test_whose_it_is(self, systemd: FakeSystemd) -> None:
        assert ask(systemd, "whose", description=DESCRIPTION) == {"whose": "ours"}
        assert ask(systemd, "whose", description="ocipy container web (/somewhere/else)") == {"whose": "other"}
        systemd.answers["GetUnit"] = refuse(SERVICE + ".NoSuchUnit")
        assert ask(systemd, "whose", description=DESCRIPTION) == {"whose": "gone"}
        systemd.answers["GetUnit"] = refuse("org.freedesktop.DBus.Error.AccessDenied", "no")
        with pytest.raises(Error, match="systemd refused GetUnit: no"):
            ask(systemd, "whose", description=DESCRIPTION)

    def test_it_is_stopped_and_forgotten(self, systemd: FakeSystemd) -> None:
        ask(systemd, "stop")
        assert systemd.calls == [("StopUnit", (UNIT, "replace")), ("ResetFailedUnit", (UNIT,))]

    def test_one_that_goes_at_this_moment(self, systemd: FakeSystemd) -> None:
        systemd.answers["StopUnit"] = refuse(SERVICE + ".NoSuchUnit")
        ask(systemd, "stop")

    def test_one_that_did_not_fail(self, systemd: FakeSystemd) -> None:
        systemd.answers["ResetFailedUnit"] = refuse(SERVICE + ".NoSuchUnit")
        ask(systemd, "stop")

    def test_that_is_refused(self, systemd: FakeSystemd) -> None:
        systemd.answers["StopUnit"] = refuse("org.freedesktop.DBus.Error.AccessDenied", "no")
        with pytest.raises(Error, match="systemd refused StopUnit: no"):
            ask(systemd, "stop")


@pytest.mark.parametrize("method", ["Get", "StartTransientUnit"])
def test_it_goes_away_in_between(systemd: FakeSystemd, method: str) -> None:
    systemd.answers[method] = hang_up
    with pytest.raises(Error, match="the connection to systemd has broken"):
        start(systemd)


@pytest.mark.parametrize("greeting", [b"REJECTED\r\n", b"DATA\r\nERROR\r\n", b"x" * 2000, b"DATA\r\nOK"])
def test_it_does_not_let_us_in(systemd: FakeSystemd, greeting: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "CONNECT_PATIENCE", 0.5)
    systemd.greeting = greeting
    with pytest.raises(Error, match=r"cannot connect to systemd: unix:path=.*private: ") as caught:
        ask(systemd, "connect")
    assert "--cgroup-manager=cgroupfs" in caught.value.hint


def test_the_first_address_that_works(systemd: FakeSystemd, tmp_path: Path) -> None:
    addresses = [f"unix:path={tmp_path}/nothing", "nonsense", systemd.address]
    assert ask(systemd, "connect", addresses=addresses)["address"] == systemd.address


def test_no_address_works(systemd: FakeSystemd, tmp_path: Path) -> None:
    with pytest.raises(Error, match="nothing: No such file or directory; nonsense: ") as caught:
        ask(systemd, "connect", addresses=[f"unix:path={tmp_path}/nothing", "nonsense"])
    assert "leave --systemd-cgroup out" in caught.value.hint
    with pytest.raises(Error, match="no address is known") as caught:
        ask(systemd, "connect", addresses=[], user=True)
    assert "XDG_RUNTIME_DIR" in caught.value.hint
