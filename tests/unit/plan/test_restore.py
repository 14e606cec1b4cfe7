"""The plan of a restore: its steps from create's, and their order."""

from __future__ import annotations

from typing import Any

import pytest

from ocipy.config.semantic import HOOK_KINDS
from ocipy.config.template import template
from ocipy.errors import Error
from ocipy.plan import build, restore
from ocipy.plan.checkpoint import CriuFlags
from ocipy.plan.describe import as_text
from ocipy.plan.masks import Mask
from ocipy.plan.model import Host, Options, Plan
from ocipy.plan.mounts import Bind, CopySymlink, Mount
from ocipy.plan.restore import RestoreCriu, RestoreMountPoints, RestoreNamespaces, RestoreProcesses
from ocipy.plan.restore_request import RestoreRequest
from ocipy.plan.rootfs import RootReadonly
from tests.unit.kinds import assert_complete
from tests.unit.plan.test_every_field import HOSTS

OPTIONS = Options(container_id="c", bundle="/b", state_directory="/run/ocipy/c", has_console=True)


FLAGS = CriuFlags(image_path="/images", work_path="/work")


def built(config: Any, host: Host, options: Options = OPTIONS) -> tuple[Plan, Plan]:
    """The plan of restore, and that of create."""
    return restore.build(config, host, options, FLAGS, "/bin/criu", ["pipe:[9]"]), build.build(config, host, options)


def config_of_everything() -> Any:
    config: Any = template()
    config["hooks"] = {kind: [{"path": "/bin/h"}] for kind in HOOK_KINDS}
    config["linux"]["netDevices"] = {"eth0": {}}
    config["linux"]["resources"]["pids"] = {"limit": 9}
    config["linux"]["namespaces"][0]["path"] = "/proc/7/ns/pid"
    return config


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_the_steps_kept_from_create(name: str) -> None:
    plan, made = built(config_of_everything(), HOSTS[name])
    actions = [step.action for step in plan.host]
    order = [
        "private_procfs", "restoring", "save_config", "keep_hook", "open_namespace", "restore_criu",
        "restore_mount_points", "cgroup_create", "cgroup_cpuset", "restore_join", "cgroup_devices", "cgroup_write",
        "restore_namespaces", "restore_loopback", "net_devices", "hook", "restore_processes", "send_console",
        "restored",
    ]  # fmt: skip
    if name == "v2":
        order.remove("cgroup_cpuset")
    assert list(dict.fromkeys(actions)) == order
    assert plan.init == []
    planned = [step.pointer for step in plan.host if "hook" in step.action]
    assert planned == ["/hooks/poststart/0", "/hooks/poststop/0", "/hooks/prestart/0", "/hooks/createRuntime/0"]
    assert made.host[-1].action == "created"


def test_every_limit_of_create_is_one_of_restore() -> None:
    config = config_of_everything()
    plan, made = built(config, HOSTS["v1"])
    kinds = ("cgroup_create", "cgroup_cpuset", "cgroup_devices", "cgroup_write")
    limits = [step for step in made.host if step.action in kinds]
    assert [step for step in plan.host if step.action.startswith("cgroup_")] == limits


def test_systemd_makes_the_unit_of_criu() -> None:
    config = config_of_everything()
    config["linux"]["cgroupsPath"] = "a.slice:b:c"
    options = Options(container_id="c", bundle="/b", has_console=True, systemd_cgroup=True)
    plan, _ = built(config, HOSTS["v1"], options)
    actions = [step.action for step in plan.host if step.action.startswith(("systemd_", "restore_"))]
    assert actions == [
        "restore_criu", "restore_mount_points", "systemd_unit", "systemd_scope", "systemd_join", "systemd_properties",
        "systemd_properties",  # the limit on processes, which a create with a joined pid namespace sets later
        "restore_namespaces", "restore_loopback", "restore_processes",
    ]  # fmt: skip


def test_a_config_that_create_refuses_is_refused() -> None:
    config: Any = template()
    config["linux"]["mountLabel"] = "label"  # without SELinux
    with pytest.raises(Error) as caught:
        built(config, Host())
    assert caught.value.pointer == "/linux/mountLabel"
    with pytest.raises(Error):
        build.build(config, Host(), OPTIONS)


def test_warnings_are_those_of_create() -> None:
    config: Any = template()
    config["mounts"].append({"destination": "x", "type": "bind", "source": "/srv", "options": ["bind"]})
    plan, made = built(config, Host())
    assert plan.warnings == made.warnings != []


def request(config: Any) -> RestoreRequest:
    (step,) = (step for step in built(config, Host())[0].host if isinstance(step, RestoreNamespaces))
    return step.request


def test_a_loss_by_an_older_criu_is_reported() -> None:
    config: Any = template()
    config["process"]["noNewPrivileges"] = True
    (warning,) = restore.lost_by(31701, request(config))
    assert warning == ("/process/noNewPrivileges", "criu 3.17.1 does not restore no_new_privs; 3.19 does")
    assert restore.lost_by(31900, request(config)) == []
    config["process"]["noNewPrivileges"] = False
    assert restore.lost_by(31701, request(config)) == []


def test_the_steps_say_what_criu_needs() -> None:
    config = config_of_everything()
    config["mounts"] = [
        {"destination": "/t", "type": "tmpfs"},
        {"destination": "/b", "type": "bind", "source": "/srv", "options": ["ro", "rslave"]},
        {"destination": "/s", "type": "bind", "source": "/link", "options": ["copy-symlink"]},
    ]
    config["root"]["readonly"] = True
    config["linux"]["maskedPaths"] = ["/proc/kcore"]
    plan, made = built(config, HOSTS["v2"])
    steps = {type(step): step for step in plan.host}
    criu, points, processes = (steps[kind] for kind in (RestoreCriu, RestoreMountPoints, RestoreProcesses))
    assert vars(criu) == {"program": "/bin/criu", "image_path": "/images", "work_path": "/work", "kinds": ("pid",)}
    assert isinstance(points, RestoreMountPoints)
    assert [(type(step), step.destination) for step in points.mounts] == [
        (Mount, "/t"),
        (Bind, "/b"),
        (CopySymlink, "/s"),
    ]
    assert not any(step.attr_set or step.propagation for step in points.mounts if isinstance(step, Bind))
    assert isinstance(processes, RestoreProcesses)
    assert list(processes.mounts) == [step for step in made.init if type(step) in (Bind, RootReadonly, Mask)]
    assert [step.action for step in processes.mounts] == ["bind", "root_readonly", "mask"]


def test_the_steps_can_be_printed_and_have_their_arguments() -> None:
    plan, _ = built(config_of_everything(), HOSTS["v2"])
    assert "restore_criu" in as_text(plan)
    for step in plan.host:
        assert_complete(step)
