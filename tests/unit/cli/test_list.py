"""The names of owners, and the table."""

from __future__ import annotations

import os
import pwd

import pytest

from ocipy.cli.commands import list as command
from ocipy.operations.list import name_in, owner

PASSWD = b"root:x:0:0:root:/root:/bin/sh\n\n#x\nweb:x:33:33::/:\nother:x:33:33::/:\n\xff:x:7:7::/:\n+::::::\n"


@pytest.mark.parametrize(("uid", "name"), [(0, "root"), (33, "web"), (7, "\udcff"), (3, ""), (330, "")])
def test_a_name_in_passwd(uid: int, name: str) -> None:
    assert name_in(PASSWD, uid) == name


def test_an_owner_is_looked_up_once() -> None:
    known = {5: "five"}
    assert owner(5, known) == "five"
    assert owner(os.getuid(), known) == known[os.getuid()] == pwd.getpwuid(os.getuid()).pw_name
    nobody = next(uid for uid in range(3_000_000_000, 3_000_000_100) if not _is_known(uid))
    assert owner(nobody, known) == f"#{nobody}"


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def test_the_columns_line_up() -> None:
    entry = {"id": "a" * 20, "pid": 1, "status": "running", "bundle": "/b", "created": "now", "owner": "root"}
    heading, line = command.table([entry]).splitlines()
    assert heading.index("PID") == line.index("1 ") == 23
    assert heading.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
