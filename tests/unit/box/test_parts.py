"""The parts of a box: users, profiles, leases, rules, names. Without the kernel."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocipy import Error
from ocipy.box import bundle, changes, inside, inspect, monitor, names, network, orphans, seccomp, users
from ocipy.box.config import User
from ocipy.box.network import Peer, leases, name_servers, nft, pasta
from ocipy.box.network.leases import Lease, Leases
from ocipy.box.request import Port

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n#c:x:1:1:::\nbroken\n\xff:x:5:5::/odd:\n"
GROUP = b"root:x:0:\nstaff:x:50:web,other\nwww:x:44:\n"


@pytest.mark.parametrize(
    ("word", "user"),
    [
        ("", User(0, 0, (), "/root")),
        ("web", User(33, 44, (50,), "/srv")),
        ("33", User(33, 44, (50,), "/srv")),
        ("web:staff", User(33, 50, (), "/srv")),
        ("1000", User(1000, 0, (), "")),
        ("1000:7", User(1000, 7, (), "")),
    ],
)
def test_users_of_the_image(word: str, user: User) -> None:
    assert users.resolve(word, PASSWD, GROUP) == user


@pytest.mark.parametrize("word", ["nobody", "web:nogroup", "4294967295", "c"])
def test_unknown_users(word: str) -> None:
    with pytest.raises(Error):
        users.resolve(word, PASSWD, GROUP)


@pytest.mark.parametrize("number", [b"9" * 5000, b"4294967295", b"-1", b""])
@pytest.mark.parametrize("word", ["u", "u:g", "0:g", "uid", "gid"])
def test_ids_that_the_kernel_does_not_accept(word: str, number: bytes) -> None:
    """Python refuses to convert a number of 5000 digits, with a ValueError."""
    text = number.decode() or "x"
    with pytest.raises(Error):
        users.resolve(
            {"uid": text, "gid": f"0:{text}"}.get(word, word), b"u:x:1:%b::/:\n" % number, b"g:x:%b:\n" % number
        )
    odd = b"a:x:%b:1::/a:\n" % number
    assert users.resolve("7", odd + b"u:x:7:1::/u:\n", b"g:x:%b:u\ng:x:8:u\n" % number) == User(7, 1, (8,), "/u")


PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "includes": {}, "excludes": {}},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {"names": ["cacheflush"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm"]}},
    ],
}


def test_a_profile_for_these_capabilities_on_this_machine() -> None:
    made = seccomp.translate(PROFILE, (), "x86_64")
    assert made["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert [(rule["names"], rule["action"]) for rule in made["syscalls"]] == [
        (["read"], "SCMP_ACT_ALLOW"),
        (["mount"], "SCMP_ACT_ERRNO"),
        (["arch_prctl"], "SCMP_ACT_ALLOW"),
    ]
    allowed = seccomp.translate(PROFILE, ("CAP_SYS_ADMIN",), "x86_64")
    assert [rule["action"] for rule in allowed["syscalls"] if rule["names"] == ["mount"]] == ["SCMP_ACT_ALLOW"]


def test_a_missing_profile_is_reported(tmp_path: Path) -> None:
    with pytest.raises(Error, match="cannot read the seccomp profile"):
        seccomp.load(str(tmp_path / "none"))
    (tmp_path / "list").write_text("[]")
    with pytest.raises(Error, match="JSON object"):
        seccomp.load(str(tmp_path / "list"))


@pytest.mark.parametrize(
    "text",
    [
        "{}", '{"defaultAction": "x", "syscalls": [5]}', '{"defaultAction": "x", "syscalls": {"a": 1}}',
        '{"defaultAction": "x", "syscalls": [{"action": "y"}]}', '{"defaultAction": "x", "architectures": 7}',
        '{"defaultAction": "x", "archMap": [7]}',
        '{"defaultAction": "x", "syscalls": [{"names": ["read"], "action": "y", "includes": 5}]}',
    ],
)  # fmt: skip
def test_a_profile_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "profile").write_text(text)
    with pytest.raises(Error, match="has neither the form") as caught:
        seccomp.of_file(str(tmp_path / "profile"), ())
    assert caught.value.pointer == str(tmp_path / "profile")


def test_a_profile_that_cannot_be_parsed(tmp_path: Path) -> None:
    for data in (b"\xff", b"{", b"[" * 200_000):
        (tmp_path / "profile").write_bytes(data)
        with pytest.raises(Error, match="cannot read the seccomp profile"):
            seccomp.of_file(str(tmp_path / "profile"), ())


def test_leases_are_taken_one_by_one_and_returned() -> None:
    made = Leases("10.77.0.0/24")
    assert made.gateway == ("10.77.0.1", "fd6f:6369:7079:77::1")
    first = made.take("a", [])
    assert (first.v4, first.hardware_address) == ("10.77.0.2", "02:42:0a:4d:00:02")
    assert made.take("b", [Port(80, 80)]).v4 == "10.77.0.3"
    del made.boxes["a"]
    assert made.take("c", []).v4 == "10.77.0.2"
    with pytest.raises(Error, match="already published for box b") as caught:
        made.take("d", [Port(80, 8080)])
    assert "ocipy box stop b" in caught.value.hint
    made.take("e", [Port(80, 80, "udp"), Port(81, 80)])


def test_all_addresses_are_taken() -> None:
    made = Leases("10.77.0.0/24")
    for number in range(253):
        made.take(str(number), [])
    with pytest.raises(Error, match="are in use"):
        made.take("one more", [])


def test_an_unused_subnet_is_chosen() -> None:
    assert leases.free_subnet([]) == "10.77.0.0/24"
    assert leases.free_subnet(["10.77.0.0/16", "192.168.0.0/24"]) == "10.78.0.0/24"
    assert leases.free_subnet(["fd6f:6369:7079:77::/64", "fe80::/64"]) == "10.78.0.0/24"
    with pytest.raises(Error):
        leases.free_subnet(["10.0.0.0/8"])


def test_leases_survive_their_file_and_go_with_the_last(tmp_path: Path) -> None:
    path = tmp_path / "leases.json"
    with leases.locked(path) as made:
        made.subnet = "10.77.0.0/24"
        made.take("a", [Port(1, 2, "udp", "127.0.0.1")])
    with leases.locked(path) as made:
        assert made.boxes["a"].ports == (Port(1, 2, "udp", "127.0.0.1"),)
        made.boxes.clear()
        made.subnet = ""
    assert not path.exists()


def test_the_rules_replace_one_table() -> None:
    made = Leases("10.77.0.0/24", {"a": Lease("10.77.0.2", "fd6f:6369:7079::2", (Port(8080, 80),))})
    commands = nft.ruleset(made, "ocipy0")["nftables"]
    tables = {one["table"]["name"] for command in commands for one in command.values() if "table" in one}
    assert tables == {"ocipy_box"}
    rules = [command["add"]["rule"] for command in commands if "rule" in command.get("add", {})]
    assert {rule["chain"] for rule in rules} == {"loopback", "prerouting", "output", "forward", "postrouting"}
    targets = [part["dnat"] for rule in rules for part in rule["expr"] if "dnat" in part]
    assert {(one["addr"], one["port"]) for one in targets} == {("10.77.0.2", 80), ("fd6f:6369:7079::2", 80)}


def test_a_port_at_every_address_of_one_family_is_published_at_all_of_them() -> None:
    made = Leases("10.77.0.0/24", {"a": Lease("10.77.0.2", "fd6f:6369:7079:77::2", (Port(1, 2, "tcp", "0.0.0.0"),))})
    rules = [one["add"]["rule"] for one in nft.ruleset(made, "ocipy0")["nftables"] if "rule" in one.get("add", {})]
    (published,) = [rule["expr"] for rule in rules if rule["chain"] == "prerouting"]
    assert {"fib": {"result": "type", "flags": ["daddr"]}} in [part["match"]["left"] for part in published[:-1]]
    assert published[-1]["dnat"]["addr"] == "10.77.0.2"


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 192.0.2.53\nnameserver\t2001:db8::53\n", ("192.0.2.53", "2001:db8::53")),
        ("nameserver 127.0.0.53\nnameserver fe80::1%eth0\n# nameserver 9.9.9.9\nnameserver\n", ()),
        ("nameserver 127.0.0.1\nnameserver 192.0.2.53\n", ("192.0.2.53",)),
    ],
)
def test_name_servers_that_a_box_can_reach(text: str, servers: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text(text)
    assert name_servers.name_servers((tmp_path / "resolv.conf", tmp_path / "none")) == servers


def test_pasta_publishes_nothing_by_itself() -> None:
    assert pasta.words_of_ports([]) == ["-t", "none", "-u", "none"]
    assert pasta.words_of_ports([Port(8080, 80), Port(53, 53, "udp")]) == ["-t", "8080:80", "-u", "53:53"]
    both = [Port(1, 2), Port(3, 4, "tcp", "127.0.0.1"), Port(5, 6)]
    assert pasta.words_of_ports(both) == ["-t", "1:2,5:6", "-t", "127.0.0.1/3:4", "-u", "none"]


def test_hosts_and_resolv_conf() -> None:
    text = network.hosts("web", ("10.77.0.2/24",), [Peer(("db", "abc"), ("10.77.0.3/24",))])
    assert "10.77.0.2 web\n" in text and "10.77.0.3 db abc\n" in text and "127.0.0.1 localhost\n" in text
    assert network.resolv_conf(("1.2.3.4",), "search a\nnameserver 9.9.9.9\n") == "nameserver 1.2.3.4\nsearch a\n"
    assert network.resolv_conf((), "nameserver 9.9.9.9\n") == "nameserver 9.9.9.9\n"
    assert network.without_name_servers("nameserver 127.0.0.1\nsearch a\n") == "search a\n"


def test_allotted_ids(tmp_path: Path) -> None:
    path = tmp_path / "subuid"
    path.write_text("me:100000:65536\nother:1:1\n1000:300000:5\nbroken\n")
    assert bundle.allotted(str(path), "me", 1000) == ((1, 100000, 65536), (65537, 300000, 5))
    assert bundle.allotted(str(tmp_path / "none"), "me", 1000) == ()


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "é" * 200, "../x"])
def test_invalid_names(name: str) -> None:
    with pytest.raises(Error):
        names.check_name(name)


def test_names_are_made_up() -> None:
    names.check_name(names.new_name(set()))
    assert len(names.new_id()) == 12


def test_no_symlink_leads_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "secret"
    (root / "etc").mkdir(parents=True)
    outside.write_text("secret")
    (root / "secret").write_text("inside")
    (root / "etc/absolute").symlink_to(outside)
    (root / "etc/up").symlink_to("../../../../secret")
    (root / "etc/dir").symlink_to("/etc")
    (root / "etc/loop").symlink_to("loop")
    (root / "etc/file").write_text("of the root")
    assert inside.read_inside(str(root), "/etc/absolute") == b""
    assert inside.read_inside(str(root), "/etc/up") == b"inside"
    assert inside.read_inside(str(root), "/etc/dir/file") == b"of the root"
    assert inside.read_inside(str(root), "/etc/loop") == b""
    assert inside.read_inside(str(root), "/../../secret") == b"inside"


def test_a_link_of_procfs_leads_nowhere(tmp_path: Path) -> None:
    # In the reader's /proc/self/fd, which a box may show, it would be the reader's own file.
    with open(tmp_path / "secret", "w") as file, pytest.raises(OSError, match="symbolic links"):
        inside.open_inside("/proc", f"self/fd/{file.fileno()}", os.O_PATH)


def test_a_fifo_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "passwd")
    assert inside.read_inside(str(tmp_path), "/passwd") == b""


def test_what_has_changed(tmp_path: Path) -> None:
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for path in (lower / "etc", upper / "etc", upper / "new"):
        path.mkdir(parents=True)
    (lower / "etc/kept").write_text("a")
    (upper / "etc/kept").write_text("b")
    (upper / "etc/hosts").write_text("")
    (upper / "new/file").write_text("")
    found = [("C", "/etc"), ("C", "/etc/kept"), ("A", "/new"), ("A", "/new/file")]
    assert list(changes.changes(upper, lower)) == found


def test_directories_above_a_change(tmp_path: Path) -> None:
    """As in docker and podman: the image's are changed, each once; those without a change are not listed."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for path in ("a/b/c", "a/d", "etc", "quiet/deep", "mode"):
        (lower / path).mkdir(parents=True)
        (upper / path).mkdir(parents=True)
    (upper / "mode").chmod(0o700)
    for name in ("a/b/c/one", "a/b/c/two", "a/b/e/new", "a/d/three", "etc/hosts", "mode/four"):
        (upper / name).parent.mkdir(exist_ok=True)
        (upper / name).write_text("")
    (lower / "a/d/three").write_text("before")
    assert [f"{kind} {path}" for kind, path in changes.changes(upper, lower)] == [
        "C /a", "C /a/b", "C /a/b/c", "A /a/b/c/one", "A /a/b/c/two", "A /a/b/e", "A /a/b/e/new", "C /a/d",
        "C /a/d/three", "C /mode", "A /mode/four",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "is_ours"),
    [
        ("ocipy create --bundle=/d/boxes/1a/bundle 1a", True),
        ("conmon --cid 1a --bundle /d/boxes/1a/bundle --log-level error", True),
        ("ocipy box _ended 1a", True),
        ("ocipy box _ended 1ab", False),
        ("conmon --cid 2b --bundle /d/boxes/2b/bundle --exit-command-arg _ended", False),
        ("ocipy box rm 1a", False),
    ],
)
def test_who_works_on_a_bundle(words: str, is_ours: bool) -> None:
    assert orphans.is_called_for(words.encode().split(b" "), "/d/boxes/1a/bundle") == is_ours


def test_conmons_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"2026 stdout F one\n2026 stderr P par\n2026 stderr F t\n2026 stdout F \xff\n2026 stdout F unfin")
    lines = [(line.stream, line.text) for _, line in monitor.log_lines(path)]
    assert lines == [("stdout", b"one\n"), ("stderr", b"par"), ("stderr", b"t\n"), ("stdout", b"\xff\n")]
    assert list(monitor.log_lines(tmp_path / "none")) == []


def test_the_mounts_of_a_process_with_odd_names() -> None:
    text = rb"""1 0 0:5 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/a
2 1 0:6 / /a\040b\134\012\377 ro - tmpfs tmp\011fs rw
broken
"""
    assert inspect.mounts_in(text) == [
        {"destination": "/", "type": "overlay", "source": "overlay", "options": "rw,relatime"},
        {"destination": "/a b\\\n�", "type": "tmpfs", "source": "tmp\tfs", "options": "ro"},
    ]
    document = {"mounts": inspect.mounts_in(text)[:1], "ports": [], "volumes": []}
    assert inspect.as_text(document) == "mounts:\n  / overlay overlay rw,relatime"


def test_the_text_about_a_box() -> None:
    document = {
        "state": {"exitStatus": 0, "oomKilled": False, "oomKills": 0, "finished": None},
        "request": {"limits": {"memory": 50 << 20, "memory_swap": -1}, "labels": [["who", "me"], ["bare", ""]]},
        "volumes": [{"source": "/srv", "destination": "/data", "options": ["ro"], "must_exist": False}],
        "usage": {"memory": 434176, "memoryLimit": None},
        "processes": [1, 2],
    }
    assert inspect.as_text(document).split("\n") == [
        "state:", "  exitStatus: 0", "  oomKills: 0",
        "request:", "  limits:", "    memory: 50.0 MiB", "    memory_swap: -1", "  labels: who=me bare",
        "volumes:", "  /srv /data ro", "usage:", "  memory: 424.0 KiB", "processes: 1 2",
    ]  # fmt: skip
