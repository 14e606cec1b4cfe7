"""`ocipy plan [BUNDLE]`: what create would do with a bundle on this host, step by step. It touches nothing. Cold."""

from __future__ import annotations

import posix

from ocipy import log
from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.main import write_stdout
from ocipy.cli.options import config_path
from ocipy.errors import Error
from ocipy.host.probe import describe_host
from ocipy.operations import bundle
from ocipy.plan.build import build
from ocipy.plan.describe import as_json, as_text, selected
from ocipy.plan.model import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Plan

SUMMARY = "print what would be done with a bundle, step by step"
USAGE = "[FLAGS] [BUNDLE]"
FLAGS: tuple[Flag, ...] = (
    Flag("config", "text", "another file than the bundle's config.json", aliases=("f",), metavar="FILE"),
    Flag("format", "text", "how to print it", metavar="text|json", default="text"),
    Flag("html", "switch", "print it as a page: two lanes, arrows, each step with its field"),
    Flag("only", "text", "only the steps for this field and below it", metavar="POINTER"),
    Flag("no-pivot", "switch", "as create --no-pivot does it"),
    Flag("no-new-keyring", "switch", "as create --no-new-keyring does it"),
)
# The id stands in names that are made of it; the bundle has none.
ID = "ID"


def run(arguments: Arguments) -> int:
    """Print the plan. A config that create would refuse is refused in the same words."""
    output_format = arguments.text("format")
    if output_format not in ("text", "json"):
        raise Error(f"--format is text or json, not {output_format!r}")
    only = arguments.text("only")
    if only and not only.startswith("/"):
        raise Error(f"--only takes a JSON pointer such as /linux/resources, not {only!r}")
    given = arguments.expect("the bundle", optional=1)
    plan, config = plan_bundle(
        given[0] if given else ".",
        config_path(arguments.text("config")),
        root=arguments.root,
        rootless=arguments.rootless,
        no_pivot=arguments.switch("no-pivot"),
        no_new_keyring=arguments.switch("no-new-keyring"),
        cgroup_manager=arguments.cgroup_manager,
    )
    if only and not selected(plan, only):
        log.warning(f"{only}: no step is there for this field")
    if arguments.switch("html"):
        from ocipy.picture.page import html
        from ocipy.picture.rows import of_plan

        write_stdout(html(of_plan(plan, f"ocipy plan {given[0] if given else '.'}", config)))
        return 0
    write_stdout(as_json(plan, only) if output_format == "json" else as_text(plan, only))
    return 0


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
    """The plan of create for a bundle on this host, and its config. Raises Error for what create would refuse."""
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
    )
    plan = build(config, describe_host(rootless), options)
    if problem is not None:
        plan.warn(problem.pointer, problem.what)
    return plan, config


def _read(given: str, config_name: str) -> tuple[str, Config, Error | None]:
    """The bundle's path, its config, and what is wrong with its root file system: an engine that has stopped a
    container leaves a bundle without one, and its plan is worth reading all the same."""
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
