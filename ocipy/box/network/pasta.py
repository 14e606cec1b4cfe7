"""pasta(1): a network for boxes without root, from the host's sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from ocipy import Error
from ocipy.box.network.connection import Connection
from ocipy.box.request import Port

LEAST_PORT = 1024


class Pasta(Connection):
    """Called as a hook, when the namespaces are there (createRuntime): pasta joins them, and ends with them."""

    def __init__(self, ports: Sequence[Port]) -> None:
        if any(port.address for port in ports):
            raise Error("--publish takes no address with pasta", status=2)
        self.hook = ("_pasta", *words_of_ports(ports))


def words_of_ports(ports: Sequence[Port]) -> list[str]:
    """Ports as pasta takes them; "none" where nothing is published, for its own default publishes all that listens."""
    made = []
    for flag, protocol in (("-t", "tcp"), ("-u", "udp")):
        words = [f"{port.host}:{port.box}" for port in ports if port.protocol == protocol]
        made += [flag, ",".join(words) or "none"]
    return made


def main(words: Sequence[str]) -> int:
    """The hook: the state comes on standard input (runtime.md, State)."""
    pid = int(json.load(sys.stdin)["pid"])
    namespaces = f"/proc/{pid}/ns"
    command = ["pasta", "--config-net", "--quiet", "-T", "none", "-U", "none", *words]
    command += ["--userns", f"{namespaces}/user", "--netns", f"{namespaces}/net"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Error("there is no pasta", hint="install passt; --network none or host does without") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        raise Error(f"pasta has failed: {said}", errno=0)
    return os.EX_OK
