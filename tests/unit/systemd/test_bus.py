"""The requests to systemd, and how its replies are handled, with a fake systemd."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ocipy.children import interrupts
from ocipy.errors import Error
from ocipy.systemd import bus, units
from tests.unit.child import in_child
from tests.unit.fake_systemd import GREETING, SERVICE, FakeSystemd, HangUp, Refusal, fake_systemd

UNIT = "ocipy-web.scope"
DESCRIPTION = "ocipy container web (/run/ocipy)"


@pytest.fixture(autouse=True)
def some_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "PATIENCE", 3.0)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    with fake_systemd(tmp_path / "systemd/private") as fake:
        yield fake


T = TypeVar("T")


def ask(systemd: FakeSystemd, work: Callable[..., T], *arguments: Any) -> T:
    """Call a function of units.py for the unit, and return its result."""
    connection = bus.connect([systemd.address])
    try:
        return work(connection, UNIT, *arguments)
    finally:
        connection.close()


def start(systemd: FakeSystemd, *properties: Any) -> bool:
    """Make the unit. Returns whether systemd has made it and has settled."""

    def work(connection: bus.Connection, unit: str) -> bool:
        settled = units.start(connection, unit, properties, 4711)
        return settled is not None and connection.answer(settled) == ()

    return ask(systemd, work)


def root_of(connection: bus.Connection, unit: str) -> str:
    return bus.root_of(connection)


def refuse(name: str, text: str = "because") -> Any:
    def answer(arguments: Any) -> Any:
        raise Refusal(name, text)

    return answer


def hang_up(arguments: Any) -> Any:
    raise HangUp


def test_the_managers_own_cgroup(systemd: FakeSystemd) -> None:
    systemd.properties["ControlGroup"] = ("s", "/user.slice/user-1000.slice/user@1000.service")
    assert ask(systemd, root_of) == "/user.slice/user-1000.slice/user@1000.service"


def test_its_own_socket_needs_no_subscription(systemd: FakeSystemd) -> None:
    ask(systemd, root_of)
    assert {method for method, _ in systemd.calls} == {"Get"}


@pytest.fixture
def message_bus(tmp_path: Path) -> Iterator[FakeSystemd]:
    with fake_systemd(tmp_path / "bus") as fake:
        yield fake


def test_a_message_bus_forwards_only_the_ends_of_our_units_jobs(message_bus: FakeSystemd) -> None:
    assert start(message_bus)
    assert [method for method, _ in message_bus.calls if method != "Get"] == [
        "Hello", "GetNameOwner", "AddMatch", "StartTransientUnit", "Ping",
    ]  # fmt: skip
    ((rule,),) = message_bus.method("AddMatch")
    assert "member='JobRemoved'" in rule
    assert f"arg2='{UNIT}'" in rule


def test_a_unit_is_watched_once(message_bus: FakeSystemd) -> None:
    def work(connection: bus.Connection, unit: str) -> None:
        assert units.start(connection, unit, [], 4711) is not None
        units.stop(connection, unit, lambda: True)

    ask(message_bus, work)
    assert len(message_bus.method("AddMatch")) == 1


def test_another_process_on_the_bus_cannot_end_our_job(message_bus: FakeSystemd) -> None:
    """A bus lets everybody send signals to everybody, and names the sender."""

    def forged_first(arguments: Any) -> Any:
        body = (1, "/org/freedesktop/systemd1/job/1", arguments[0], "failed")
        message_bus._pending.append(message_bus.job_removed(body, ":1.99"))
        return message_bus.job(arguments)

    message_bus.answers["StartTransientUnit"] = forged_first
    assert start(message_bus)


@pytest.mark.parametrize(("method", "why"), [("Hello", "does not accept us"), ("GetNameOwner", "is not on this bus")])
def test_a_useless_bus_is_refused(message_bus: FakeSystemd, systemd: FakeSystemd, method: str, why: str) -> None:
    message_bus.answers[method] = refuse("org.freedesktop.DBus.Error.NameHasNoOwner")
    with pytest.raises(Error, match=why):
        bus.connect([message_bus.address])
    connection = bus.connect([message_bus.address, systemd.address])
    assert connection.address == systemd.address
    connection.close()


def test_a_name_in_a_match_rule() -> None:
    assert bus.quoted("a.scope") == "'a.scope'"
    assert bus.quoted("a',b='c") == r"'a'\'',b='\''c'"


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
    assert start(systemd, *properties)
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
    assert start(systemd)


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


def test_a_failed_unit_of_that_name_is_replaced(systemd: FakeSystemd) -> None:
    made: list[Any] = []

    def only_the_second_time(arguments: Any) -> Any:
        made.append(arguments)
        if len(made) == 1:
            raise Refusal(SERVICE + ".UnitExists")
        return systemd.job(arguments)

    systemd.answers["StartTransientUnit"] = only_the_second_time
    assert start(systemd)
    assert [method for method, _ in systemd.calls if method != "Get"] == [
        "StartTransientUnit", "ResetFailedUnit", "StartTransientUnit", "Ping",
    ]  # fmt: skip


def test_an_active_unit_of_that_name(systemd: FakeSystemd) -> None:
    systemd.answers["StartTransientUnit"] = refuse(SERVICE + ".UnitExists")
    systemd.answers["ResetFailedUnit"] = refuse(SERVICE + ".NoSuchUnit")
    assert not start(systemd)


def test_a_property_that_it_does_not_know(systemd: FakeSystemd) -> None:
    text = "Cannot set property Nonsense, or unknown property."
    systemd.answers["StartTransientUnit"] = refuse("org.freedesktop.DBus.Error.PropertyReadOnly", text)
    with pytest.raises(Error, match=text):
        start(systemd)


def test_properties_of_an_active_unit(systemd: FakeSystemd) -> None:
    ask(systemd, units.set_properties, [("TasksMax", "t", 5, 0), ("New", "b", True, 999)])
    assert systemd.method("SetUnitProperties") == [(UNIT, True, [("TasksMax", ("t", 5))])]
    assert systemd.calls[-1][0] == "Ping", "until it has written them"
    ask(systemd, units.set_properties, [("New", "b", True, 999)])
    assert len(systemd.method("SetUnitProperties")) == 1
    systemd.answers["SetUnitProperties"] = refuse("x.y", "TasksMax= is out of range")
    with pytest.raises(Error, match=r"cannot set properties of the unit ocipy-web.scope: .*TasksMax= is out of range"):
        ask(systemd, units.set_properties, [("TasksMax", "t", 0, 0)])


def test_a_process_is_attached(systemd: FakeSystemd) -> None:
    ask(systemd, units.attach, 5, "/a")
    assert systemd.method("AttachProcessesToUnit") == [(UNIT, "/a", [5])]


class TestStop:
    def test_whose_it_is(self, systemd: FakeSystemd) -> None:
        assert ask(systemd, units.whose, DESCRIPTION) == "ours"
        assert ask(systemd, units.whose, "ocipy container web (/somewhere/else)") == "other"
        systemd.answers["GetUnit"] = refuse(SERVICE + ".NoSuchUnit")
        assert ask(systemd, units.whose, DESCRIPTION) == "gone"
        systemd.answers["GetUnit"] = refuse("org.freedesktop.DBus.Error.AccessDenied", "no")
        with pytest.raises(Error, match="systemd refused GetUnit: no"):
            ask(systemd, units.whose, DESCRIPTION)

    def test_a_unit_that_disappears_between_two_questions(self, systemd: FakeSystemd) -> None:
        """For a missing unit systemd invents an object, whose description is the unit's name."""
        systemd.properties |= {"Description": ("s", UNIT), "LoadState": ("s", "not-found")}
        assert ask(systemd, units.whose, DESCRIPTION) == "gone"

    def test_it_is_stopped_and_forgotten(self, systemd: FakeSystemd) -> None:
        ask(systemd, units.stop, lambda: False)
        assert systemd.calls == [("StopUnit", (UNIT, "replace")), ("ResetFailedUnit", (UNIT,))]

    def test_a_unit_that_is_forgotten_when_it_ends(self, systemd: FakeSystemd) -> None:
        ask(systemd, units.stop, lambda: True)
        assert systemd.calls == [("StopUnit", (UNIT, "replace"))]

    def test_a_unit_that_disappears_before_it_is_stopped(self, systemd: FakeSystemd) -> None:
        systemd.answers["StopUnit"] = refuse(SERVICE + ".NoSuchUnit")
        ask(systemd, units.stop, lambda: False)

    def test_forgetting_a_unit_that_did_not_fail(self, systemd: FakeSystemd) -> None:
        systemd.answers["ResetFailedUnit"] = refuse(SERVICE + ".NoSuchUnit")
        ask(systemd, units.stop, lambda: False)

    def test_systemd_refuses_to_stop_it(self, systemd: FakeSystemd) -> None:
        systemd.answers["StopUnit"] = refuse("org.freedesktop.DBus.Error.AccessDenied", "no")
        with pytest.raises(Error, match="systemd refused StopUnit: no"):
            ask(systemd, units.stop, lambda: False)


@pytest.mark.parametrize("method", ["Get", "StartTransientUnit"])
def test_systemd_goes_away_during_a_call(systemd: FakeSystemd, method: str) -> None:
    systemd.answers[method] = hang_up
    with pytest.raises(Error, match="the connection to systemd broke"):
        start(systemd)


@pytest.mark.parametrize("greeting", [b"REJECTED\r\n", b"DATA\r\nERROR\r\n", b"x" * 2000, b"DATA\r\nOK"])
def test_systemd_refuses_the_connection(systemd: FakeSystemd, greeting: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "CONNECT_PATIENCE", 0.5)
    systemd.greeting = greeting
    with pytest.raises(Error, match=r"cannot connect to systemd: unix:path=.*private: ") as caught:
        bus.connect([systemd.address])
    assert "--cgroup-manager=cgroupfs" in caught.value.hint


def test_the_first_address_that_works(systemd: FakeSystemd, tmp_path: Path) -> None:
    addresses = [f"unix:path={tmp_path}/nothing", "nonsense", systemd.address]
    connection = bus.connect(addresses)
    assert connection.address == systemd.address
    connection.close()


def test_no_address_works(systemd: FakeSystemd, tmp_path: Path) -> None:
    with pytest.raises(Error, match="nothing: No such file or directory; nonsense: ") as caught:
        bus.connect([f"unix:path={tmp_path}/nothing", "nonsense"])
    assert "omit --systemd-cgroup" in caught.value.hint
    with pytest.raises(Error, match="no address is known") as caught:
        bus.connect([], user=True)
    assert "XDG_RUNTIME_DIR" in caught.value.hint


def test_an_address_with_escapes_and_one_of_several(tmp_path: Path) -> None:
    with fake_systemd(tmp_path / "a b/private") as fake:
        path = fake.address.removeprefix("unix:path=").replace(" ", "%20")
        bus.connect([f"tcp:host=localhost;unix:guid=1,path={path}"]).close()
    for wrong in ("unix:path=%", "unix:path=%zz", "unix:path=/%ff%00x", "unix:", "unix:abstract=x", "", ";;=,"):
        with pytest.raises(Error, match="cannot connect"):
            bus.connect([wrong])


def test_a_signal_ends_the_wait(systemd: FakeSystemd) -> None:
    def interrupted() -> bool:
        watched = interrupts.catch()
        connection = bus.connect([systemd.address], interrupts=watched)
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            bus.root_of(connection)
        except Error as error:
            return (error.line, error.status) == ("interrupted by SIGTERM", 143)
        return False

    assert in_child(interrupted) == 0


@pytest.mark.parametrize(
    "answer", [b"l" * 16, b"l\2\0\1" + b"\xff" * 12, b"l\2\0\1" + bytes(4) + b"\1\0\0\0\x08\0\0\0" + b"z" * 8]
)
def test_malformed_messages_from_systemd(systemd: FakeSystemd, answer: bytes) -> None:
    def spoil(arguments: Any) -> Any:
        assert systemd._stream is not None
        systemd._stream.sendall(answer)
        raise HangUp

    systemd.answers["Get"] = spoil
    with pytest.raises(Error, match=r"cannot parse|broke"):
        start(systemd)


def test_a_text_that_cannot_be_sent(systemd: FakeSystemd) -> None:
    with pytest.raises(Error, match="StartTransientUnit cannot be called: text for systemd cannot contain NUL"):
        start(systemd, ("Description", "s", "a\0b", 0))
    assert start(systemd, ("Description", "s", "a\udcffb", 0))
    assert systemd.method("StartTransientUnit")[0][2][0] == ("Description", ("s", "a?b"))
    systemd.properties["Description"] = ("s", "a?b")
    assert ask(systemd, units.whose, "a\udcffb") == "ours"


@pytest.mark.parametrize(
    ("unit", "path"),
    [("ocipy-web.scope", "ocipy_2dweb_2escope"), ("1a.scope", "_31a_2escope"), ("a\\x2fé", "a_5cx2f_c3_a9"), ("", "_")],
)
def test_the_path_of_a_unit(unit: str, path: str) -> None:
    assert units.path_of(unit) == f"/org/freedesktop/systemd1/unit/{path}"


@pytest.mark.parametrize("path", ["private", "bus"])
def test_a_connection_that_was_made_early(tmp_path: Path, path: str) -> None:
    """Its questions are asked before connect, and only once."""
    with fake_systemd(tmp_path / "early/systemd" / path) as systemd:
        greeted = bus.greet(systemd.address)
        assert greeted is not None
        deadline = time.monotonic() + 3
        while not systemd.method("Get") and time.monotonic() < deadline:
            greeted.ask_ahead()
        connection = bus.connect([systemd.address], greeted=greeted)
        assert connection is greeted
        assert bus.root_of(connection) == ""
        assert connection.version() == 252
        assert len(systemd.method("Get")) == 2
        assert len(systemd.method("Hello")) == (path == "bus")
        connection.close()


def test_it_is_used_for_its_own_address_only(systemd: FakeSystemd, tmp_path: Path) -> None:
    with fake_systemd(tmp_path / "other/private") as other:
        greeted = bus.greet(other.address)
        connection = bus.connect([systemd.address, other.address], greeted=greeted)
        assert connection.address == systemd.address
        assert bus.root_of(connection) == ""
        connection.close()
        assert other.calls == []


def test_without_a_socket_there_is_no_early_connection(tmp_path: Path) -> None:
    assert bus.greet(f"unix:path={tmp_path}/private") is None
    assert bus.greet("tcp:host=localhost") is None


def test_an_early_connection_that_broke_is_replaced(systemd: FakeSystemd) -> None:
    """By then systemd may have been executed again."""
    systemd.greeting = b"ERROR\r\n"
    greeted = bus.greet(systemd.address)
    assert greeted is not None
    greeted.ask_ahead()
    time.sleep(0.05)
    greeted.ask_ahead()
    systemd.greeting = GREETING
    began = time.monotonic()
    connection = bus.connect([systemd.address], greeted=greeted)
    assert connection is not greeted
    assert time.monotonic() - began < 1, "nothing to wait for"
    assert bus.root_of(connection) == ""
    connection.close()
