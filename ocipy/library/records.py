"""The results of the library's calls: immutable plain data."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ocipy.config.finding import Finding as Finding
from ocipy.errors import Error

if TYPE_CHECKING:
    from ocipy.plan import model


class TimeoutExpired(Error, subprocess.TimeoutExpired):
    """The caller's timeout has expired. The call's documentation says whether the process was killed.

    Both subprocess.TimeoutExpired and Error: cmd is the command, timeout is in seconds; stdout and stderr are the
    output captured until then, None if it was not captured.
    """

    def __init__(
        self, command: Sequence[str], timeout: float, stdout: bytes | None = None, stderr: bytes | None = None
    ) -> None:
        Error.__init__(self, f"{' '.join(command)} has not ended within {timeout:g} seconds")
        self.cmd = list(command)
        self.timeout = timeout
        self.output = stdout
        self.stderr = stderr


class State(NamedTuple):
    """A container at one moment (runtime.md, State).

    status: "creating", "created", "running", "paused" or "stopped". pid: that of the container's process on the host, 0
    if it is stopped. bundle, rootfs: absolute paths. created: with a zone. owner: the user's name in the result of
    Runtime.containers, "" elsewhere.
    """

    oci_version: str
    id: str
    status: str
    pid: int
    bundle: str
    rootfs: str
    created: datetime
    annotations: Mapping[str, str]
    owner: str

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> State:
        """From the document that `ocipy state` prints."""
        return cls(
            oci_version=document["ociVersion"],
            id=document["id"],
            status=document["status"],
            pid=document["pid"],
            bundle=document["bundle"],
            rootfs=document["rootfs"],
            created=datetime.fromisoformat(document["created"]),
            annotations=document.get("annotations") or {},
            owner=document["owner"],
        )


class Step(NamedTuple):
    """One step of a plan. number: its place in its lane, from 1. pointer: the JSON pointer of the field that asked for
    it, "" if it is always done. description: the arguments in words."""

    number: int
    action: str
    pointer: str
    description: str
    arguments: Mapping[str, Any]


class Plan(NamedTuple):
    """What create would do: the steps of the process on the host, and of the process that becomes the container.

    warnings: pairs of a JSON pointer and a text. str() has the form that `ocipy plan` prints.
    """

    host: tuple[Step, ...]
    init: tuple[Step, ...]
    warnings: tuple[tuple[str, str], ...]
    text: str

    def __str__(self) -> str:
        return self.text

    @classmethod
    def from_model(cls, plan: model.Plan) -> Plan:
        """From the runtime's internal plan."""
        from ocipy.plan.describe import as_text

        lanes = [
            tuple(
                Step(number, step.action, step.pointer, step.describe(), dict(vars(step)))
                for number, step in enumerate(steps, 1)
            )
            for steps in (plan.host, plan.init)
        ]
        return cls(lanes[0], lanes[1], tuple(plan.warnings), as_text(plan))
