"""process.user, from config to steps."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.plan import identity
from ocipy.plan.model import Host, Options, Planner
from tests.unit.documents import refused_at

OPTIONS = Options(container_id="c", bundle="/b")
MAP = [{"containerID": 0, "hostID": 100000, "size": 1000}]
ONE = [{"containerID": 0, "hostID": 1000, "size": 1}]
ROOTLESS = Host(uid=1000, gid=1000, rootless=True)


def config(user: dict[str, Any], **linux: Any) -> Any:
    return {"process": {"cwd": "/", "args": ["sh"], "user": user}, "linux": linux}


def in_user_namespace(user: dict[str, Any], uids: Any = MAP, gids: Any = MAP) -> Any:
    return config(user, namespaces=[{"type": "user"}], uidMappings=uids, gidMappings=gids)


def steps(document: Any, host: Host | None = None) -> dict[str, dict[str, Any]]:
    planner = Planner(document, host or Host(), OPTIONS)
    plan = planner.plan
    identity.plan_become_root(planner)
    identity.plan_identity(planner)
    return {step.action: vars(step) for step in plan.init}


def test_privileges_only_go_down() -> None:
    assert list(steps(in_user_namespace({"uid": 1, "gid": 2, "additionalGids": [3]}))) == [
        "become_root", "bounding", "keep_capabilities", "stdio_owner", "groups", "gid_uid",
    ]  # fmt: skip


def test_ids() -> None:
    found = steps(config({"uid": 1, "gid": 2, "additionalGids": [3, 4]}))
    assert "become_root" not in found
    assert found["gid_uid"] == {"uid": 1, "gid": 2}
    assert found["groups"] == {"gids": (3, 4), "gid": 2}
    assert found["stdio_owner"] == {"uid": 1}


def test_absent_user_is_root_without_groups() -> None:
    found = steps({"process": {"cwd": "/", "args": ["sh"]}})
    assert found["gid_uid"] == {"uid": 0, "gid": 0}
    assert found["groups"]["gids"] == ()


@pytest.mark.parametrize(
    ("user", "pointer"),
    [
        ({"uid": 1000, "gid": 0}, "/process/user/uid"),
        ({"uid": 0, "gid": 1000}, "/process/user/gid"),
        ({"uid": 0, "gid": 0, "additionalGids": [1, 5000]}, "/process/user/additionalGids/1"),
    ],
)
def test_an_id_that_is_not_mapped(user: dict[str, Any], pointer: str) -> None:
    assert refused_at(in_user_namespace(user)) == [pointer]


@pytest.mark.parametrize("member", ["uid", "gid"])
def test_the_number_that_means_no_change_to_the_kernel(member: str) -> None:
    assert refused_at(config({"uid": 0, "gid": 0, member: 2**32 - 1})) == [f"/process/user/{member}"]


def test_more_groups_than_a_process_can_have() -> None:
    assert refused_at(config({"uid": 0, "gid": 0, "additionalGids": [1] * 65537})) == ["/process/user/additionalGids"]


def test_groups_where_setgroups_is_given_up() -> None:
    found = steps(in_user_namespace({"uid": 0, "gid": 0}, ONE, ONE), ROOTLESS)
    assert "groups" not in found
    assert found["become_root"]["drop_groups"] is False
    # podman names the caller's group there; it is in effect anyway
    assert "groups" not in steps(in_user_namespace({"uid": 0, "gid": 0, "additionalGids": [0]}, ONE, ONE), ROOTLESS)
    two = [*ONE, {"containerID": 5, "hostID": 5000, "size": 1}]
    assert "groups" in steps(in_user_namespace({"uid": 0, "gid": 0, "additionalGids": [5]}, two, two), ROOTLESS)


def test_groups_that_cannot_be_set() -> None:
    five = [{"containerID": 5, "hostID": 1000, "size": 1}]
    with pytest.raises(Error) as caught:
        steps(in_user_namespace({"uid": 5, "gid": 5, "additionalGids": [6]}, five, five), ROOTLESS)
    assert caught.value.pointer.startswith("/process/user/additionalGids")


@pytest.mark.parametrize("value", ["1", "true", "yes", "", "00"])
@pytest.mark.parametrize("gids", [[], [5], [7, 100_000]])
def test_podmans_keep_groups_leaves_setgroups_out(value: str, gids: list[int]) -> None:
    """Also with additionalGids, which podman sends as well, and which need not be mapped, since nobody sets them."""
    document = in_user_namespace({"uid": 0, "gid": 0, "additionalGids": gids})
    document["annotations"] = {"run.oci.keep_original_groups": value}
    found = steps(document)
    assert "groups" not in found
    assert found["become_root"]["drop_groups"] is False
    assert "groups" not in steps(document, ROOTLESS)


def test_without_podmans_keep_groups() -> None:
    document = in_user_namespace({"uid": 0, "gid": 0, "additionalGids": [5]})
    document["annotations"] = {"run.oci.keep_original_groups": "0"}
    assert steps(document)["groups"]["gids"] == (5,)
