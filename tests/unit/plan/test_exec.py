"""plan/exec.py: the plan of another process, and the cgroups that --cgroup names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ocipy.errors import Error
from ocipy.plan import build as create
from ocipy.plan.exec import Target, build, sub_cgroups
from ocipy.plan.model import Host, Options, Plan, Step
from tests.unit.kinds import assert_complete

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OPTIONS = Options(container_id="c", bundle="/b", state_directory="/run/ocipy/c", has_console=True)
KINDS = ("cgroup", "ipc", "mount", "network", "pid", "uts")
CGROUPS = {
    "memory": "/sys/fs/cgroup/memory/c",
    "cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct/c",
    "": "/sys/fs/cgroup/unified/c",
}


def config(**process: Any) -> Any:
    return {
        "ociVersion": "1.3.0",
        "process": {"cwd": "/", "args": ["true"], **process},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": kind} for kind in KINDS]},
    }


def plan_of(document: Any = None, host: Host | None = None, **target: Any) -> Plan:
    target = {"kinds": KINDS, "cgroups": CGROUPS, **target}
    return build(document or config(), host or Host(), OPTIONS, Target(**target))


def actions(steps: Sequence[Step]) -> list[str]:
    return [step.action for step in steps]


def step(steps: Sequence[Step], action: str) -> Step:
    (found,) = (step for step in steps if step.action == action)
    return found


def test_the_whole_plan() -> None:
    plan = plan_of()
    assert actions(plan.host) == [
        "report_pipe", "reset_affinity", "exec_cgroup", "clone_joining", "tell", "adopt",
        "exec_cgroup_join", "give_procfs", "tell", "wait", "executed",
    ]  # fmt: skip
    assert actions(plan.init) == [
        "cgroup_enter", "undumpable", "reset_signals", "session", "keyring", "exec_root", "take_procfs", "wait",
        "stdio_null", "environment", "close_descriptors", "working_directory", "umask", "bounding",
        "keep_capabilities", "stdio_owner", "groups", "gid_uid", "working_directory_again", "capabilities", "command",
        "let_go", "close_descriptors", "tell_executing", "execute",
    ]  # fmt: skip


def test_the_namespaces_are_those_that_are_not_ours() -> None:
    assert vars(step(plan_of(kinds=("pid", "uts")).host, "clone_joining")) == {
        "kinds": ("pid", "uts"),
        "chroot": True,
        "drop_groups": False,
    }


@pytest.mark.parametrize(("annotation", "dropped"), [("0", True), ("1", False)])
def test_a_user_namespace_is_entered_without_the_callers_groups(annotation: str, dropped: bool) -> None:
    """Including one that the container has created itself: the config need not have any."""
    document = {**config(), "annotations": {"run.oci.keep_original_groups": annotation}}
    plan = plan_of(document, kinds=("pid", "user"))
    assert vars(step(plan.host, "clone_joining"))["drop_groups"] is dropped


def test_all_of_proc_is_handed_over_only_where_it_cannot_be_cloned() -> None:
    assert vars(step(plan_of().host, "give_procfs")) == {"whole": False}
    for host in (Host(capabilities=0), Host(clones_mounts=False)):
        assert vars(step(plan_of(host=host).host, "give_procfs")) == {"whole": True}


def test_a_barrier_has_two_sides() -> None:
    plan = plan_of(config(terminal=True))
    told = [vars(step)["barrier"] for step in plan.host + plan.init if step.action == "tell"]
    awaited = [vars(step)["barrier"] for step in plan.host + plan.init if step.action == "wait"]
    # The joining process waits for "joined" and let_go says "waiting" (init/exec_join.py).
    assert sorted([*told, "waiting"]) == sorted([*awaited, "joined"])


def test_descriptors_are_closed_before_a_path_is_walked() -> None:
    """CVE-2024-21626."""
    names = actions(plan_of().init)
    assert names.index("close_descriptors") < names.index("working_directory")
    assert names.index("undumpable") < names.index("exec_root")


def test_without_a_cgroup() -> None:
    plan = plan_of(cgroups={})
    assert "exec_cgroup" not in actions(plan.host)
    assert "cgroup_enter" not in actions(plan.init)


def test_chosen_cgroups_are_blamed_on_the_flag() -> None:
    assert step(plan_of(chosen=True).host, "exec_cgroup").pointer == "--cgroup"
    assert step(plan_of().host, "exec_cgroup").pointer == "/linux/cgroupsPath"


@pytest.mark.parametrize("entry", [None, {"type": "mount", "path": "/proc/1/ns/mnt"}])
def test_a_root_that_chroot_holds(entry: Any) -> None:
    """Of a container without a separate mount namespace: setns would lead to the other's root."""
    document = config()
    document["linux"]["namespaces"] = [{"type": "pid"}, *([entry] if entry else [])]
    plan = plan_of(document, kinds=("pid", "mount") if entry else ("pid",))
    assert vars(step(plan.host, "clone_joining"))["chroot"] is True
    assert "open_root" in actions(plan.host)
    own = plan_of()
    assert vars(step(own.host, "clone_joining"))["chroot"] is False
    assert "open_root" not in actions(own.host)


def test_root_of_a_user_namespace() -> None:
    document = config(user={"uid": 5, "gid": 6})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    document["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    document["linux"]["namespaces"].append({"type": "user"})
    plan = plan_of(document, kinds=(*KINDS, "user"))
    assert vars(step(plan.init, "become_root")) == {"uid": 5, "gid": 6, "drop_groups": True}
    # Called from inside it there is no change of user.
    assert "become_root" not in actions(plan_of(document).init)
    document["process"]["user"]["uid"] = 65536
    with pytest.raises(Error, match="not mapped"):
        plan_of(document)


@pytest.mark.parametrize(
    ("affinity", "steps"),
    [
        ({}, [("reset_affinity", {})]),
        ({"initial": "", "final": ""}, [("reset_affinity", {})]),
        ({"initial": "0-1"}, [("initial_affinity", {"cpus": (0, 1)})]),
        ({"final": "3,1"}, [("reset_affinity", {}), ("final_affinity", {"cpus": (1, 3)})]),
        ({"initial": "0", "final": "1"}, [("initial_affinity", {"cpus": (0,)}), ("final_affinity", {"cpus": (1,)})]),
    ],
)
def test_affinity(affinity: Any, steps: Any) -> None:
    plan = plan_of(config(execCPUAffinity=affinity))
    assert [(step.action, vars(step)) for step in plan.host if "affinity" in step.action] == steps
    names = actions(plan.host)
    assert names.index(steps[0][0]) < names.index("clone_joining")
    if affinity.get("final"):
        assert names.index("adopt") < names.index("final_affinity")


def test_a_terminal_that_is_not_the_console() -> None:
    plan = plan_of(config(terminal=True))
    assert vars(step(plan.init, "console")) == {"rows": 0, "columns": 0, "uid": 0, "bind": False, "controlling": True}
    assert "send_console" in actions(plan.host)
    nobody = Options(container_id="c", bundle="/b")
    with pytest.raises(Error, match="cannot allocate tty"):
        build(config(terminal=True), Host(), nobody, Target(kinds=KINDS, cgroups={}))


def test_settings_of_the_process_object() -> None:
    rlimits = [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}]
    scheduler = {"policy": "SCHED_OTHER", "nice": 3}
    plan = plan_of(
        config(
            apparmorProfile="profile", rlimits=rlimits, oomScoreAdj=7, scheduler=scheduler, noNewPrivileges=True,
            ioPriority={"class": "IOPRIO_CLASS_IDLE"},
        ),
        Host(apparmor=True),
    )  # fmt: skip
    assert "oom_score_adj" in actions(plan.host)
    inside = plan_of(config(rlimits=rlimits), kinds=("pid", "user"))
    assert "rlimit_from_host" in actions(inside.host), "in any user namespace init may not raise them"
    assert {"rlimit", "apparmor", "scheduler", "io_priority", "no_new_privileges"} <= set(actions(plan.init))
    names = actions(plan.host)
    # Of the process that joins, while it is dumpable: later a user may not write its file (proc(5)).
    assert names.index("clone_joining") < names.index("oom_score_adj") < names.index("tell")


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_the_filter_is_where_create_has_it(no_new_privileges: bool) -> None:
    document = config(noNewPrivileges=no_new_privileges)
    document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
    names = actions(plan_of(document).init)
    assert names[0] == "seccomp_receive"
    before = names[names.index("seccomp_load") - 1], names[names.index("seccomp_load") + 1]
    assert before == (("tell_executing", "execute") if no_new_privileges else ("umask", "bounding"))


def test_receivers_learn_of_the_process_before_it_continues() -> None:
    options = Options(container_id="c", bundle="/b", pid_file="/p", pidfd_socket="/s")
    plan = build(config(), Host(), options, Target(kinds=KINDS, cgroups={}))
    names = [vars(step).get("barrier", step.action) for step in plan.host]
    where = names.index("send_pidfd")
    assert names[where : where + 3] == ["send_pidfd", "pid_file", "limited"]


def test_no_new_keyring_is_kept() -> None:
    options = Options(container_id="c", bundle="/b", no_new_keyring=True)
    plan = build(config(), Host(), options, Target(kinds=KINDS, cgroups={}))
    assert "keyring" not in actions(plan.init)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_the_init_lane_continues_like_that_of_create(path: Path) -> None:
    """Starting with the environment, the init lane of an engine's config equals create's, step for step."""
    document = json.loads(path.read_text())
    options = Options(container_id="c", bundle="/b", state_directory="/run/ocipy/c", has_console=True)
    host = Host(apparmor=True, cgroup_controllers=("cpu", "io", "memory", "pids"))
    ours = build(document, host, options, Target(kinds=KINDS, cgroups=CGROUPS)).init
    theirs = create.build(document, host, options).init

    def tail(steps: Sequence[Step]) -> Sequence[Step]:
        start = next(number for number, step in enumerate(steps) if step.action == "environment")
        return [step for step in steps[start:] if step.action not in ("wait_for_start", "let_go")]

    assert tail(ours) == [step for step in tail(theirs) if step.action != "hook"]


@pytest.mark.parametrize("document", [config(), config(terminal=True, execCPUAffinity={"initial": "0", "final": "0"})])
def test_the_words_fit_the_arguments(document: Any) -> None:
    plan = plan_of(document)
    for one in [*plan.host, *plan.init]:
        assert_complete(one)


# --cgroup


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ([], {}),
        (["x"], {"memory": "/x", "cpu,cpuacct": "/x", "": "/x"}),
        (["/x//y/./z/"], {"memory": "/x/y/z", "cpu,cpuacct": "/x/y/z", "": "/x/y/z"}),
        (["memory:x"], {"memory": "/x"}),
        (["cpuacct:x"], {"cpu,cpuacct": "/x"}),
        (["cpu,cpuacct:x"], {"cpu,cpuacct": "/x"}),
        (["memory,cpu:x"], {"memory": "/x", "cpu,cpuacct": "/x"}),
        (["memory:x", "cpu:y"], {"memory": "/x", "cpu,cpuacct": "/y"}),
        (["memory:"], {}),
        (["/"], {}),
        (["memory:a:b"], {"memory": "/a:b"}),
        (["..x/x.."], {"memory": "/..x/x..", "cpu,cpuacct": "/..x/x..", "": "/..x/x.."}),
    ],
)
def test_sub_cgroups(given: list[str], changed: dict[str, str]) -> None:
    expected = {name: path + changed.get(name, "") for name, path in CGROUPS.items()}
    assert sub_cgroups(CGROUPS, given) == expected


@pytest.mark.parametrize(
    "given",
    [
        [".."], ["x/../.."], ["memory:../x"], ["/.."], ["x", "y"], ["memory:x", "y"], ["memory:x", "memory:y"],
        ["cpu:x", "cpuacct:y"], [":x"], [",:x"], ["freezer:x"], ["memory,:x"],
    ],
)  # fmt: skip
def test_invalid_sub_cgroups(given: list[str]) -> None:
    with pytest.raises(Error) as caught:
        sub_cgroups(CGROUPS, given)
    assert caught.value.pointer == "--cgroup"


def test_sub_cgroup_of_v2() -> None:
    paths = {"": "/sys/fs/cgroup/c"}
    assert sub_cgroups(paths, ["x"]) == {"": "/sys/fs/cgroup/c/x"}
    with pytest.raises(Error, match="controller"):
        sub_cgroups(paths, ["memory:x"])
