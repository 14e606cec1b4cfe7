"""process.terminal and process.consoleSize: a pseudoterminal of the container's own devpts."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.plan.fields import process_of, user_of
from ocipy.plan.namespaces import enters_last

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options, Plan

POINTER = "/process/terminal"


def wants_terminal(config: Config) -> bool:
    """Whether the process gets a pseudoterminal."""
    return bool(process_of(config).get("terminal"))


def plan_check(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Before anything is made: somebody must take the terminal's other end."""
    if wants_terminal(config) and not options.has_console:
        raise Error(
            "cannot allocate tty if ocipy will detach without setting console socket",
            pointer=POINTER,
            hint="give --console-socket, or omit exec's --tty, or set process.terminal to false",
        )


def plan_console(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """After the pivot: the terminal belongs to the container's devpts, and has the same name inside."""
    _plan_console(plan, config, bind=True, controlling=not enters_last(config, host))


def plan_exec_console(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """As plan_console, for a further process: /dev/console belongs to the first one."""
    _plan_console(plan, config, bind=False, controlling=True)


def _plan_console(plan: Plan, config: Config, *, bind: bool, controlling: bool) -> None:
    if not wants_terminal(config):
        # consoleSize MUST be ignored then (config.md).
        return
    rows, columns = 0, 0
    size = process_of(config).get("consoleSize")
    if size is not None:
        rows, columns = size["height"], size["width"]
    uid = user_of(config).get("uid") or 0
    plan.in_init("console", POINTER, rows=rows, columns=columns, uid=uid, bind=bind, controlling=controlling)


def plan_send_console(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Send the master to --console-socket; without one the foreground of run keeps it."""
    if wants_terminal(config):
        plan.on_host("send_console", POINTER)
