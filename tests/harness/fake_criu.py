"""An executable that speaks the protocol of `criu swrk` but does nothing: for tests without criu or root."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conftest import TOP

_PROGRAM = """#!{python} -I
import ctypes, json, os, signal, socket, sys
sys.path.insert(0, {top!r})
from ocipy.criu import messages as m

def first_process():
    # A sibling, in its own network namespace (clone(2)): CLONE_PARENT, CLONE_NEWNET.
    libc = ctypes.CDLL(None)
    number = {{"x86_64": 56, "aarch64": 220}}[os.uname().machine]
    pid = libc.syscall(number, 0x8000 | 0x40000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os.closerange(3, 1024)
    while pid == 0:
        libc.pause()
    return pid

here = {here!r}
behaviour = json.load(open(here + ".behaviour"))
if behaviour.get("exits") is not None:
    sys.exit(behaviour["exits"])
connection = socket.socket(fileno=int(sys.argv[2]))
while True:
    request = m.decode(m.REQUEST, connection.recv(1 << 16))
    if not request:
        sys.exit(1)
    with open(here + ".requests", "a") as file:
        file.write(json.dumps(request) + "\\n")
    kind = request["type"]
    if kind != m.VERSION or not request.get("keep_open"):
        break
    response = {{"type": kind, "success": True, "version": behaviour["version"]}}
    connection.send(m.encode(m.RESPONSE, response))
if kind == m.VERSION:
    response = {{"type": kind, "success": True, "version": behaviour["version"]}}
elif kind == m.FEATURE_CHECK:
    response = {{"type": kind, "success": True, "features": behaviour["features"]}}
else:
    options = request["opts"]
    directory = options.get("work_dir_fd", options["images_dir_fd"])
    place = behaviour["log_to"] or f"/proc/{{os.getppid()}}/fd/{{directory}}/" + options["log_file"]
    with open(place, "w") as log:
        log.write(behaviour["log"])
    pid = first_process() if "setup-namespaces" in behaviour["notifies"] else 0
    for script in behaviour["notifies"]:
        notify = {{"type": m.NOTIFY, "success": True, "notify": {{"script": script, "pid": pid}}}}
        connection.send(m.encode(m.RESPONSE, notify))
        answer = m.decode(m.REQUEST, connection.recv(1 << 16))
        if not answer:
            sys.exit(1)  # the runtime has closed the connection
        assert answer == {{"type": m.NOTIFY, "notify_success": True}}, answer
    if behaviour["hangs"]:
        open(here + ".hangs", "w").close()
        connection.recv(1)
        while behaviour["hangs"] == "forever":
            signal.pause()
        sys.exit(1)
    if behaviour["freezes"]:
        v1 = os.path.exists(options["freeze_cgroup"] + "/freezer.state")
        with open(options["freeze_cgroup"] + ("/freezer.state" if v1 else "/cgroup.freeze"), "w") as freezer:
            freezer.write("FROZEN" if v1 else "1")
    if behaviour["dies"]:
        os._exit(3)
    response = {{"type": kind, "success": not behaviour["fails"], "cr_errno": behaviour["fails"]}}
connection.send(m.encode(m.RESPONSE, response))
"""

# Types of requests, and the log of a request that fails.
DUMP, RESTORE, PRE_DUMP = 1, 2, 4
LOG = """\
(00.000093) Running on vm
(00.131740) Error (criu/sk-inet.c:191): inet: Connected TCP socket, consider using --tcp-established option.
(00.141530) Error (criu/cr-dump.c:1635): Dump files (pid: 281) failed with -1
"""


class FakeCriu:
    """The executable at `path`. The constructor sets its behaviour, and `behave` changes it."""

    def __init__(self, path: Path, **behaviour: Any) -> None:
        self.path = path
        self._behaviour: dict[str, Any] = {
            "version": {"major_number": 3, "minor_number": 17, "sublevel": 1},
            "features": {"mem_track": True, "lazy_pages": True},
            "log": "",
            "log_to": "",
            "notifies": [],
            "fails": 0,
            "dies": False,
            "hangs": False,
            "freezes": False,
        }
        self.behave(**behaviour)
        path.write_text(_PROGRAM.format(python=sys.executable, top=str(TOP), here=str(path)))
        path.chmod(0o755)

    def behave(self, **behaviour: Any) -> None:
        """Change what it does.

        exits: exit at once, with this status. version, features: what its answers contain. log: the content of its log;
        log_to: the log's path, if its configuration file names one. notifies: scripts to announce first. fails: fail,
        with this errno. dies: exit without an answer. hangs: fall silent until the connection is closed; "forever":
        even after that. freezes: leave the container frozen."""
        self._behaviour.update(behaviour)
        Path(f"{self.path}.behaviour").write_text(json.dumps(self._behaviour))

    @property
    def hanging(self) -> bool:
        """Whether it has reached the point where it hangs."""
        return Path(f"{self.path}.hangs").exists()

    def requests(self, kinds: Sequence[int] = ()) -> list[dict[str, Any]]:
        """The requests so far, decoded; a repeated field has only its last value."""
        file = Path(f"{self.path}.requests")
        lines = file.read_text().splitlines() if file.exists() else []
        asked: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [request for request in asked if not kinds or request["type"] in kinds]
