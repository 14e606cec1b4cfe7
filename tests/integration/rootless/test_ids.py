"""The ids of a user's container, and the refused ones: one id, ranges through the helpers, groups."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Bundle, Container, proc_status
from tests.harness.user import FIRST_GID, FIRST_UID, RANGE, UserRuntime

MakeContainer = Callable[..., Container]
NewId = Callable[[], str]

pytestmark = [pytest.mark.unprivileged, pytest.mark.needs_program("newuidmap")]


def entry(inside: int, outside: int, size: int = 1) -> dict[str, int]:
    return {"containerID": inside, "hostID": outside, "size": size}


def lines(text: str) -> list[list[int]]:
    """The lines of numbers of an id map."""
    return [[int(number) for number in line.split()] for line in text.splitlines()]


@pytest.mark.smoke
def test_ranges(container: MakeContainer, runtime: UserRuntime, ranges: Bundle) -> None:
    ranges.process["user"] = {"uid": 1000, "gid": 2000}
    script = "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; exec sleep 1000"
    one = container(ranges, sh=script).start()
    one.wait_output(f"{RANGE - 1}\n         0 ")
    expected = [
        [1000], [2000],
        [0, runtime.uid, 1], [1, FIRST_UID, RANGE - 1],
        [0, runtime.gid, 1], [1, FIRST_GID, RANGE - 1],
    ]  # fmt: skip
    assert lines(one.stdout)[:5] == expected[:5]
    status = proc_status(one.pid)
    assert set(status["Uid"].split()) == {str(FIRST_UID + 999)}
    assert set(status["Gid"].split()) == {str(FIRST_GID + 1999)}
    assert lines(one.proc("uid_map").read_text()) == expected[2:4]
    assert lines(one.proc("gid_map").read_text()) == expected[4:]
    assert one.proc("setgroups").read_text() == "allow\n"
    # The payload has an id other than the user's, and the user still controls it.
    one.kill("KILL").wait_dead()


@pytest.mark.differs_from_runc("runc sets no groups for a user")
def test_additional_groups_of_a_range(container: MakeContainer, ranges: Bundle) -> None:
    ranges.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5, 10]}
    one = container(ranges)
    assert sorted(proc_status(one.pid)["Groups"].split()) == [str(FIRST_GID + 4), str(FIRST_GID + 9)]


def test_additional_groups_without_setgroups(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """One gid is mapped without a helper, which the kernel permits only if setgroups is denied."""
    bundle.process["user"] = {"uid": 0, "gid": 0, "additionalGids": [1]}
    words = ["/process/user/additionalGids"] if runtime.is_ocipy else ["additional groups"]
    runtime.create(bundle.args("true"), new_id()).fails(*words)
    del bundle.process["user"]["additionalGids"]
    assert runtime.run(bundle.sh("cat /proc/self/setgroups; id -G"), new_id()).ok().lines == ["deny", "0"]


@pytest.mark.differs_from_runc("runc keeps the caller's groups in a rootless container")
def test_groups_of_the_user_stay_outside(runtime: UserRuntime, ranges: Bundle, container: MakeContainer) -> None:
    """Where setgroups is allowed, the user's groups give the container no access."""
    runtime.user = [word if word != "--clear-groups" else "--groups=4,24" for word in runtime.user]
    assert proc_status(container(ranges).pid)["Groups"] == ""


@pytest.mark.parametrize("kind", ["uidMappings", "gidMappings"])
@pytest.mark.parametrize(
    "mappings",
    [[entry(0, 0)], [entry(0, 4243)], [entry(0, FIRST_UID - 1, 10)], [entry(0, FIRST_UID, RANGE + 100001)]],
    ids=["root", "another-user", "below", "beyond"],
)
@pytest.mark.usefixtures("subordinate_ids")
def test_ids_that_are_not_assigned(
    runtime: UserRuntime, bundle: Bundle, new_id: NewId, kind: str, mappings: list[dict[str, int]]
) -> None:
    bundle.linux[kind] = mappings
    result = runtime.create(bundle.args("true"), new_id()).fails()
    if runtime.is_ocipy:
        helper = "newuidmap" if kind == "uidMappings" else "newgidmap"
        result.fails(f"/linux/{kind}", helper, "not allowed", "assigned")
        # There is one error, without the helper's message before it: an engine shows the first line as the cause.
        assert result.stderr.startswith("ocipy: create ")
    assert runtime.ids() == []


@pytest.mark.differs_from_runc("runc wants the caller's gid, or 0 mapped by the helper for both")
def test_one_group_that_is_assigned(runtime: UserRuntime, ranges: Bundle, new_id: NewId) -> None:
    """The user's own uid needs no helper, but the gid does, so setgroups stays allowed."""
    ranges.linux["uidMappings"] = [entry(0, runtime.uid)]
    ranges.linux["gidMappings"] = [entry(0, FIRST_GID + 7)]
    result = runtime.run(ranges.sh("cat /proc/self/gid_map /proc/self/setgroups"), new_id()).ok()
    assert (lines(result.lines[0]), result.lines[1]) == ([[0, FIRST_GID + 7, 1]], "allow")


@pytest.mark.ocipy_only("runc wants 0 to be mapped")
def test_the_users_own_id_without_root(runtime: UserRuntime, bundle: Bundle, new_id: NewId) -> None:
    """There is no root in this container."""
    for kind, own in (("uidMappings", runtime.uid), ("gidMappings", runtime.gid)):
        bundle.linux[kind] = [entry(own, own)]
    bundle.process["user"] = {"uid": runtime.uid, "gid": runtime.gid}
    bundle.sh("id -u; id -g; grep CapEff /proc/self/status; touch /dev/shm/x && stat -c %u /dev/shm/x")
    assert runtime.run(bundle, new_id()).ok().lines == [
        str(runtime.uid), str(runtime.gid), "CapEff:\t0000000000000000", str(runtime.uid),
    ]  # fmt: skip


@pytest.mark.ocipy_only("the words are ocipy's")
@pytest.mark.parametrize("member", ["uid", "gid"])
def test_id_that_is_not_mapped(runtime: UserRuntime, bundle: Bundle, new_id: NewId, member: str) -> None:
    bundle.process["user"] = {"uid": 0, "gid": 0, member: 1}
    runtime.create(bundle.args("true"), new_id()).fails(f"/process/user/{member}", "not mapped")


def test_files_of_the_range(runtime: UserRuntime, ranges: Bundle, new_id: NewId) -> None:
    """Outside, the files of another container user belong to the subordinate id."""
    ranges.config["root"]["readonly"] = False
    ranges.process["capabilities"] = {kind: ["CAP_CHOWN"] for kind in ("bounding", "effective", "permitted")}
    ranges.sh("echo x > /home/file; chown 1000:2000 /home/file; stat -c '%u %g' /home/file")
    assert runtime.run(ranges, new_id()).ok().stdout == "1000 2000\n"
    status = (ranges.rootfs / "home/file").stat()
    assert (status.st_uid, status.st_gid) == (FIRST_UID + 999, FIRST_GID + 1999)


@pytest.mark.ocipy_only("runc looks for the helper by PATH")
@pytest.mark.usefixtures("planted")
def test_the_helper_is_not_looked_up_in_path(
    runtime: UserRuntime, ranges: Bundle, new_id: NewId, planted: dict[str, Any]
) -> None:
    """A planted program must not get control of the runtime's process."""
    runtime.run(ranges.args("true"), new_id(), env={"PATH": f"{planted['directory']}:/usr/bin:/bin"}).ok()
    assert not planted["trace"].exists()


@pytest.fixture
def planted(work: Path) -> Iterator[dict[str, Any]]:
    """A directory with a fake newuidmap that leaves a trace."""
    directory, trace = work / "planted", work / "trace"
    directory.mkdir(mode=0o755)
    for name in ("newuidmap", "newgidmap"):
        program = directory / name
        program.write_text(f'#!/bin/sh\ntouch {trace}\nexec {shutil.which(name)} "$@"\n')
        program.chmod(0o755)
    yield {"directory": directory, "trace": trace}


@pytest.mark.skipif(os.geteuid() != 0, reason="hides the helper from the host")
def test_helper_that_is_missing(runtime: UserRuntime, ranges: Bundle, new_id: NewId) -> None:
    helper = shutil.which("newuidmap")
    assert helper
    subprocess.run(["mount", "--bind", "/dev/null", helper], check=True)
    try:
        runtime.create(ranges.args("true"), new_id()).fails(*(["newuidmap", "uidmap"] if runtime.is_ocipy else []))
    finally:
        subprocess.run(["umount", helper], check=True)
    assert runtime.ids() == []
