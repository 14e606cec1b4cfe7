"""`ocipy plan [BUNDLE]`: print the steps that create would take for a bundle on this host. Changes nothing. Cold."""

from __future__ import annotations

from ocipy import log
from ocipy.cli.arguments import Arguments, Flag
from ocipy.cli.options import config_path
from ocipy.cli.output import write_stdout
from ocipy.errors import Error
from ocipy.launcher.python import complete_start
from ocipy.operations.plan import plan_bundle
from ocipy.plan.describe import as_json, as_text, selected

SUMMARY = "print the steps that create would take for a bundle"
USAGE = "[FLAGS] [BUNDLE]"
FLAGS: tuple[Flag, ...] = (
    Flag("config", "text", "use this file instead of the bundle's config.json", aliases=("f",), metavar="FILE"),
    Flag("format", "text", "how to print it", metavar="text|json", default="text"),
    Flag("html", "switch", "print a web page: two lanes, arrows, each step with its field"),
    Flag("only", "text", "only the steps for this field and its members", metavar="POINTER"),
    Flag("no-pivot", "switch", "plan for create --no-pivot"),
    Flag("no-new-keyring", "switch", "plan for create --no-new-keyring"),
)


def run(arguments: Arguments) -> int:
    """Print the plan. Refuses a config that create would refuse, in the same words."""
    output_format = arguments.text("format")
    only = arguments.text("only")
    if only and not only.startswith("/"):
        raise Error(f"--only must be a JSON pointer such as /linux/resources, not {only!r}")
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
        log.warning(f"{only}: no step belongs to this field")
    if arguments.switch("html"):
        complete_start()
        from ocipy.picture.page import html
        from ocipy.picture.rows import of_plan

        write_stdout(html(of_plan(plan, f"ocipy plan {given[0] if given else '.'}", config)))
        return 0
    write_stdout(as_json(plan, only) if output_format == "json" else as_text(plan, only))
    return 0
