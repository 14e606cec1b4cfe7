"""--pid-file and --pidfd-socket: they tell others about the new process."""

from __future__ import annotations

from ocipy.plan.model import HostStep, phrase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.plan.model import Planner


class SendPidfd(HostStep):
    """Send the listener a pidfd. name: runc's word for this kind of process."""

    path: str
    name: str

    def describe(self) -> str:
        return phrase("to", self.path)


class PidFile(HostStep):
    """Write the pid, without a newline."""

    path: str

    def describe(self) -> str:
        return self.path


def plan_report(planner: Planner, pidfd_name: str) -> None:
    """Report the process to --pidfd-socket and --pid-file. The pid file comes last: to engines it means success.

    pidfd_name: tells the receiver what kind of process the pidfd refers to.
    """
    options = planner.options
    if options.pidfd_socket:
        planner.on_host(SendPidfd("--pidfd-socket", path=options.pidfd_socket, name=pidfd_name))
    if options.pid_file:
        planner.on_host(PidFile("--pid-file", path=options.pid_file))
