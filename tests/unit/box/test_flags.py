"""From the command line of `box run` to a Request."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from ocipy import Error
from ocipy.box import cli, flags, ports, sizes, volumes
from ocipy.box.request import Port, Request, Volume


def request(*words: str) -> Request:
    parser = argparse.ArgumentParser()
    flags.add_run_flags(parser)
    return flags.make_request(parser.parse_args(words))


def commands() -> list[str]:
    """The names of all commands."""
    (action,) = (one for one in cli.parser()._actions if isinstance(one, argparse._SubParsersAction))
    return sorted(action.choices)


@pytest.mark.parametrize("command", commands())
def test_an_unknown_flag_hints_at_the_help_of_its_command(command: str) -> None:
    """Also in the parser of this command alone, which the command line uses."""
    for asked in ("", command):
        with pytest.raises(Error, match="unknown flag: --unheard-of") as caught:
            cli.parser(asked).parse_args([command, "--unheard-of=1", "one", "two"])
        assert caught.value.hint == f"ocipy box {command} --help lists the flags"
        assert caught.value.status == 2


def test_a_misspelt_flag_and_an_argument_too_many() -> None:
    with pytest.raises(Error) as caught:
        cli.parser("run").parse_args(["run", "--memroy", "50M", "busybox"])
    assert caught.value.hint == "did you mean --memory? ocipy box run --help lists the flags"
    with pytest.raises(Error, match="unexpected argument 'b'") as caught:
        cli.parser("diff").parse_args(["diff", "a", "b"])
    assert caught.value.hint == "see: ocipy box diff --help"
    with pytest.raises(Error, match="unknown flag: --unheard-of") as caught:
        cli.parser("ps").parse_args(["--unheard-of", "ps"])
    assert caught.value.hint == "ocipy box --help lists the flags"


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (["build"], "no such command: build", "ocipy box --help lists the commands"),
        (["restar"], "no such command: restar", "did you mean ocipy box restart? ocipy box --help lists the commands"),
        (["run"], "IMAGE is missing", "see: ocipy box run --help"),
        (["exec"], "BOX is missing", "see: ocipy box exec --help"),
        (["cp", "a"], "TARGET is missing", "see: ocipy box cp --help"),
        ([], "COMMAND is missing", "see: ocipy box --help"),
    ],
)
def test_wrong_or_missing_words(words: list[str], what: str, hint: str) -> None:
    with pytest.raises(Error) as caught:
        cli.parser(words[0] if words else "").parse_args(words)
    assert (caught.value.line, caught.value.hint, caught.value.status) == (what, hint, 2)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50M", 50 << 20),
        ("50m", 50 << 20),
        ("1.5g", 3 << 29),
        ("64kb", 64 << 10),
        ("64KiB", 64 << 10),
        ("4096", 4096),
        ("7b", 7),
        ("0", 0),
    ],
)
def test_sizes_as_docker_writes_them(text: str, size: int) -> None:
    assert sizes.parse_size(text, "--memory") == size


@pytest.mark.parametrize("text", [
    "", "M", "-1", "1x", "1/2", "five", "1e999x", "0x10", "1 0", "1_0", "\u0661", "nan", "inf",
    "0.5", "1e-99", "+", "1.2.3",
])  # fmt: skip
def test_invalid_sizes(text: str) -> None:
    with pytest.raises(Error, match="--memory takes a size") as caught:
        sizes.parse_size(text, "--memory")
    assert caught.value.status == 2


@pytest.mark.parametrize("text", ["9223372036854775808", "8192p", "1e30", "1e999999999", "9" * 999])
def test_sizes_that_the_kernel_cannot_count(text: str) -> None:
    """It would take them modulo 2 to the 64th, and make a tmpfs of another size, for example."""
    with pytest.raises(Error, match="more than the kernel can count"):
        sizes.parse_size(text, "--shm-size")
    assert sizes.parse_size("8191p", "--shm-size") == 8191 << 50


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e3", "1_0", "\u0661", "9" * 20, "9" * 5000, "."])
def test_invalid_times(text: str) -> None:
    with pytest.raises(ValueError):
        sizes.seconds(text)
    assert (sizes.seconds("0"), sizes.seconds("2.5")) == (0, 2.5)


@pytest.mark.parametrize("text", ["", "-", "--1", "+1", "1.0", "1_0", "\u0661", " 1", "9" * 5000])
def test_invalid_integers(text: str) -> None:
    with pytest.raises(ValueError):
        sizes.integer(text)
    assert (sizes.integer("-1"), sizes.integer("20")) == (-1, 20)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (50 << 20, "50.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 60, "1024.0 PiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert sizes.shown_size(size) == text


def test_the_articles_and_dockers_words_for_limits() -> None:
    assert request("--memory", "50M", "busybox").limits.memory == 50 << 20
    assert request("--memory-limit", "100m", "busybox").limits.memory == 100 << 20
    assert request("-m", "1g", "busybox").limits.memory == 1 << 30
    limits = request("--cpu", "50000 100000", "busybox").limits
    assert (limits.cpu_quota, limits.cpu_period) == (50000, 100000)
    limits = request("--cpus", "0.5", "busybox").limits
    assert (limits.cpu_quota, limits.cpu_period) == (50000, 100000)
    assert request("--cpu", "max", "busybox").limits.cpu_quota == -1
    assert request("--cpu-shares", "512", "--pids-limit", "20", "busybox").limits.cpu_shares == 512


@pytest.mark.parametrize(
    "words",
    [
        ("--cpus", "1", "--cpu", "1000 1000"),
        ("--cpus", "1", "--cpu-quota", "1000"),
        ("--cpus", "0"),
        ("--cpus", "1/3"),
        ("--cpu", "a b"),
        ("--cpu", "1 2 3"),
        ("--cpu", "1000 0"),
        ("--volume", "/only"),
        ("--volume", "name:/data"),
        ("--mount", "type=volume,target=/x"),
        ("--volume", "/a:relative"),
        ("--publish", "80"),
        ("--publish", "0:80"),
        ("--publish", "80:65536"),
        ("--publish", "80:80/sctp"),
        ("--device", "null"),
        ("--device", "/dev/null:/dev/x:q"),
        ("--ulimit", "files=1"),
        ("--ulimit", "nofile=many"),
        ("--security-opt", "selinux=off"),
        ("--sysctl", "net.ipv4.ip_forward"),
        ("--workdir", "here"),
        ("--network", "macvlan"),
        ("--userns", "keep-id"),
        ("--env", "=x"),
    ],
)
def test_typing_errors_are_refused_with_status_2(words: tuple[str, ...]) -> None:
    with pytest.raises(Error) as caught:
        request(*words, "busybox")
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("word", "port"),
    [
        ("8080:80", Port(8080, 80)),
        ("8080:80/udp", Port(8080, 80, "udp")),
        ("127.0.0.1:8080:80", Port(8080, 80, "tcp", "127.0.0.1")),
        ("[::1]:8080:80", Port(8080, 80, "tcp", "::1")),
    ],
)
def test_published_ports(word: str, port: Port) -> None:
    assert ports.parse_ports(word) == (port,)


def test_a_range_of_ports_publishes_each_port() -> None:
    assert ports.parse_ports("8000-8001:80-81/udp") == (Port(8000, 80, "udp"), Port(8001, 81, "udp"))


@pytest.mark.parametrize(
    ("one", "two", "clash"),
    [
        ("80:1", "80:2", True),
        ("80:1", "80:2/udp", False),
        ("80:1", "127.0.0.1:80:2", True),
        ("0.0.0.0:80:1", "127.0.0.1:80:2", True),
        ("0.0.0.0:80:1", "[::1]:80:2", False),
        ("127.0.0.1:80:1", "127.0.0.2:80:2", False),
        ("[0:0::1]:80:1", "[::1]:80:2", True),
        ("70-90:70-90", "80:1", True),
    ],
)
def test_one_port_leads_to_one_place(one: str, two: str, clash: bool) -> None:
    if clash:
        with pytest.raises(Error, match="published twice"):
            request("-p", one, "-p", two, "busybox")
    else:
        assert len(request("-p", one, "-p", two, "busybox").ports) == 2


def test_volumes_and_devices() -> None:
    assert volumes.parse_volume("/a:/b:ro,z") == Volume("/a", "/b", ("ro", "z"))
    assert flags.parse_device("/dev/fuse") == ("/dev/fuse", "/dev/fuse", "rwm")
    assert flags.parse_device("/dev/fuse:r") == ("/dev/fuse", "/dev/fuse", "r")
    assert flags.parse_device("/dev/fuse:/dev/foo:rw") == ("/dev/fuse", "/dev/foo", "rw")
    assert flags.parse_ulimit("nofile=10:20") == ("RLIMIT_NOFILE", 10, 20)
    assert flags.parse_ulimit("core=unlimited") == ("RLIMIT_CORE", (1 << 64) - 1, (1 << 64) - 1)


def test_what_follows_the_image_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "mine")
    made = request("-it", "-e", "A=1", "-e", "OURS", "-e", "NOT_SET_ANYWHERE", "busybox", "sh", "-c", "echo --memory")
    assert made.command == ("sh", "-c", "echo --memory")
    assert made.environment == (("A", "1"), ("OURS", "mine"))
    assert made.terminal and made.interactive
    assert request("--entrypoint", "", "busybox").entrypoint == ()
    assert request("busybox").entrypoint is None


def test_a_request_is_the_same_after_it_was_kept() -> None:
    words = ["-v", "/a:/b:ro", "-p", "1:2", "--tmpfs", "/tmp:size=1m", "--ulimit", "core=0", "-l", "a=b", "-m", "5m"]
    made = request(*words, "--device", "/dev/fuse", "--sysctl", "net.x=1", "busybox", "sh", "-c", "x")
    import json

    kept: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    assert Request.from_json(kept) == made
    with pytest.raises(Error, match="cannot be read"):
        Request.from_json({"image": "x"})
