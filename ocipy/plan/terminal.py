"""process.terminal and process.consoleSize: a pseudoterminal of the container's own devpts."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.plan.fields import process_of, user_of
from ocipy.plan.model import HostStep, InitStep, if_set, phrase
from ocipy.plan.namespaces import enters_last

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config
    from ocipy.plan.model import Planner

POINTER = "/process/terminal"


class Console(InitStep):
    """Make the terminal and send its master to the host.

    rows, columns: 0 if not given. uid: its owner. bind: on /dev/console. controlling: of init's session.
    """

    rows: int
    columns: int
    uid: int
    bind: bool
    controlling: bool

    def describe(self) -> str:
        return phrase(
            "a terminal", if_set(self.rows, f"of {self.columns}x{self.rows}"), if_set(self.bind, "on /dev/console")
        )


class SendConsole(HostStep):
    """Send the master to --console-socket."""

    words = "the terminal's master to --console-socket"


def wants_terminal(config: Config) -> bool:
    """Whether the process gets a pseudoterminal."""
    return bool(process_of(config).get("terminal"))


def plan_check(planner: Planner) -> None:
    """Before anything is made: somebody must take the terminal's other end."""
    if wants_terminal(planner.config) and not planner.options.has_console:
        raise Error(
            "cannot allocate tty if ocipy will detach without setting console socket",
            pointer=POINTER,
            hint="give --console-socket, or omit exec's --tty, or set process.terminal to false",
        )


def plan_console(planner: Planner) -> None:
    """After the pivot: the terminal belongs to the container's devpts, and has the same name inside."""
    _plan_console(planner, bind=True, controlling=not enters_last(planner))


def plan_exec_console(planner: Planner) -> None:
    """Like plan_console, in a running container: /dev/console belongs to the first one."""
    _plan_console(planner, bind=False, controlling=True)


def _plan_console(planner: Planner, *, bind: bool, controlling: bool) -> None:
    config = planner.config
    if not wants_terminal(config):
        # consoleSize MUST be ignored then (config.md).
        return
    rows, columns = 0, 0
    size = process_of(config).get("consoleSize")
    if size is not None:
        rows, columns = size["height"], size["width"]
    uid = user_of(config).get("uid") or 0
    planner.in_init(Console(POINTER, rows=rows, columns=columns, uid=uid, bind=bind, controlling=controlling))


def plan_send_console(planner: Planner) -> None:
    """Send the master to --console-socket; without one the foreground of run keeps it."""
    if wants_terminal(planner.config):
        planner.on_host(SendConsole(POINTER))
