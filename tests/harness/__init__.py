"""The base of the integration tests: bundles, the runtime under test, containers, and how they look from outside."""

from __future__ import annotations

from tests.harness.bundle import Bundle, BusyboxRootfs, default_config
from tests.harness.cgroups import cgroup_dirs
from tests.harness.container import Container
from tests.harness.host import Host, scaled, wait_until
from tests.harness.look import (
    Mount,
    arguments_of,
    cgroup_dir,
    cgroup_value,
    cgroups_of,
    descendants,
    namespace,
    namespaces,
    open_files,
    parse_mountinfo,
    parse_status,
    proc_mounts,
    proc_status,
    process_state,
)
from tests.harness.runtime import CallTimeout, Result, Runtime

__all__ = [
    "Bundle",
    "BusyboxRootfs",
    "CallTimeout",
    "Container",
    "Host",
    "Mount",
    "Result",
    "Runtime",
    "arguments_of",
    "cgroup_dir",
    "cgroup_dirs",
    "cgroup_value",
    "cgroups_of",
    "default_config",
    "descendants",
    "namespace",
    "namespaces",
    "open_files",
    "parse_mountinfo",
    "parse_status",
    "proc_mounts",
    "proc_status",
    "process_state",
    "scaled",
    "wait_until",
]
