"""NOTIFY_SOCKET as a part of the config that is planned."""

from __future__ import annotations

import copy
from typing import Any

from ocipy.plan.build import build
from ocipy.plan.model import Host, Options
from ocipy.plan.notify import with_notify_socket


def test_the_mount_comes_last_and_the_variable_wins() -> None:
    config: Any = {
        "mounts": [{"destination": "/proc", "type": "proc"}],
        "process": {"cwd": "/", "args": ["true"], "env": ["NOTIFY_SOCKET=/elsewhere"]},
    }
    before = copy.deepcopy(config)
    planned: Any = with_notify_socket(config, "/run/ocipy/web")
    assert config == before
    assert planned["mounts"][:1] == config["mounts"]
    assert planned["mounts"][1]["source"] == "/run/ocipy/web/notify"
    assert planned["mounts"][1]["destination"] == "/run/notify"
    assert planned["process"]["env"][-1] == "NOTIFY_SOCKET=/run/notify/notify.sock"


def test_a_config_without_mounts_or_environment() -> None:
    config: Any = {"mounts": None, "process": {"cwd": "/", "args": ["true"], "env": None}}
    planned: Any = with_notify_socket(config, "/s")
    assert len(planned["mounts"]) == len(planned["process"]["env"]) == 1


def test_without_a_process_there_is_nobody_to_be_ready() -> None:
    config: Any = {"root": {"path": "/"}}
    assert with_notify_socket(config, "/s") is config


def test_the_directory_is_made_before_anything_is_mounted_from_it() -> None:
    config: Any = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["true"]}}
    options = Options(container_id="c", bundle="/b", state_directory="/s", notify_socket=True)
    plan = build(config, Host(), options)
    assert plan.host[0].action == "notify_directory"
    assert [vars(step)["source"] for step in plan.host + plan.init if step.action == "bind"] == ["/s/notify"]


def test_the_service_manager_is_told_last() -> None:
    config: Any = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["true"]}}
    options = Options(container_id="c", bundle="/b", pid_file="/p", pidfd_socket="/s")
    assert [step.action for step in build(config, Host(), options).host[-3:]] == ["created", "send_pidfd", "pid_file"]
