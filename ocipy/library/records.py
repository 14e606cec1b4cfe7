"""What the library's calls give: plain data that does not change."""

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
    """A timeout of the caller's has expired. What it was for was killed, where the call says so.

    As that of subprocess, and an Error as well: cmd is the command, timeout in seconds; stdout and stderr are what was
    captured until then, None where nothing was.
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

    status: "creating", "created", "running", "paused" or "stopped". pid: of the container's process as the host sees
    it, 0 once it is stopped. bundle, rootfs: absolute paths. created: with its zone. owner: the user's name in what
    Runtime.containers gives, "" elsewhere.
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
        """From what `ocipy state` prints."""
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
    """One step of a plan. number: from 1 on in its lane. pointer: the JSON pointer of the field that asked for it, ""
    if it is always done. description: the arguments in words."""

    number: int
    action: str
    pointer: str
    description: str
    arguments: Mapping[str, Any]


class Plan(NamedTuple):
    """What create would do: the steps of the process on the host, those of the process that becomes the container.

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
        """From the plan that the runtime itself works with."""
        from ocipy.plan.describe import as_text
        from ocipy.plan.wording import describe

        lanes = [
            tuple(
                Step(number, step.action, step.pointer, describe(step.action, step.args), dict(step.args))
                for number, step in enumerate(steps, 1)
            )
            for steps in (plan.host, plan.init)
        ]
        return cls(lanes[0], lanes[1], tuple(plan.warnings), as_text(plan))
