"""plan: what create would do with a bundle on this host. Changes nothing. Cold."""

from __future__ import annotations

import posix

from ocipy.errors import Error
from ocipy.host.machine import describe_host
from ocipy.operations import bundle
from ocipy.plan.build import build
from ocipy.plan.model import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Plan

# A placeholder for the container's id in names, since a bundle has no id.
ID = "ID"


def plan_bundle(
    given: str,
    config_name: str,
    *,
    root: str,
    rootless: bool | None,
    no_pivot: bool,
    no_new_keyring: bool,
    cgroup_manager: str,
) -> tuple[Plan, Config]:
    """The plan of create for a bundle on this host, and its config. Raises Error if create would refuse it."""
    path, config, problem = _read(given, config_name)
    options = Options(
        container_id=ID,
        bundle=path,
        state_directory=f"{root}/{ID}",
        no_pivot=no_pivot,
        no_new_keyring=no_new_keyring,
        has_console=True,
        systemd_cgroup=cgroup_manager == "systemd",
        no_cgroup=cgroup_manager == "disabled",
        notify_socket=bool(posix.environ.get(b"NOTIFY_SOCKET")),
    )
    plan = build(config, describe_host(rootless), options)
    if problem is not None:
        plan.warnings.append((problem.pointer, problem.what))
    return plan, config


def _read(given: str, config_name: str) -> tuple[str, Config, Error | None]:
    """The bundle's path, its config, and the problem with its root filesystem, if any: an engine that has stopped a
    container leaves a bundle without one, but its plan is still worth reading."""
    directory = bundle.open_directory(given)
    try:
        path = posix.readlink(f"/proc/self/fd/{directory}")
        config = bundle.read_config(config_name, directory, path)
        try:
            bundle.check_rootfs(config, directory, path)
        except Error as error:
            return path, config, error
    finally:
        posix.close(directory)
    return path, config, None
