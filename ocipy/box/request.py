"""The request for a box: the command line of `box run` as typed data, kept with the box for later starts."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from ocipy import Error


class Volume(NamedTuple):
    """-v SOURCE:DESTINATION[:OPTIONS]. source: an absolute path. must_exist: a missing source is an error."""

    source: str
    destination: str
    options: tuple[str, ...] = ()
    must_exist: bool = False


class Port(NamedTuple):
    """-p [ADDRESS:]HOST:BOX[/PROTOCOL]. address: "" for all host addresses."""

    host: int
    box: int
    protocol: str = "tcp"
    address: str = ""


class Limits(NamedTuple):
    """None: no limit. Sizes in bytes, quota and period in microseconds. memory_swap: the sum of memory and swap."""

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpuset_cpus: str = ""
    pids: int | None = None


class Request(NamedTuple):
    """Everything that `box run` and `box create` accept, except flags that no longer matter once the box runs."""

    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    hostname: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    cwd: str = ""
    user: str = ""
    terminal: bool = False
    interactive: bool = False
    read_only: bool = False
    init: bool = False
    privileged: bool = False
    limits: Limits = Limits()
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[tuple[str, str], ...] = ()
    devices: tuple[tuple[str, str, str], ...] = ()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    shm_size: int = 64 << 20
    userns: str = ""
    network: str = ""
    ports: tuple[Port, ...] = ()
    name_servers: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document that from_json takes."""
        return self._asdict() | {
            "limits": self.limits._asdict(),
            "volumes": [one._asdict() for one in self.volumes],
            "ports": [one._asdict() for one in self.ports],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """The reverse of to_json; ignores members that this version does not know. Raises Error."""
        try:
            known = {name: _frozen(document[name]) for name in cls._fields if name in document}
            known["limits"] = Limits(**document["limits"])
            known["volumes"] = tuple(Volume(**_frozen_values(one)) for one in document["volumes"])
            known["ports"] = tuple(Port(**one) for one in document["ports"])
            return cls(**known)
        except (KeyError, TypeError, AttributeError):
            raise Error("the record of the box cannot be read", hint="remove the box: ocipy box rm -f") from None


class ExecRequest(NamedTuple):
    """What `box exec` accepts: another process in a running box. environment, cwd, user: what differs from the box's
    first process.

    terminal: it gets one. interactive: it reads our standard input. detach: it runs in the background, without our
    streams.
    """

    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    cwd: str = ""
    user: str = ""
    terminal: bool = False
    interactive: bool = False
    detach: bool = False


def _frozen(value: object) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list | tuple) else value


def _frozen_values(document: dict[str, Any]) -> dict[str, Any]:
    return {name: _frozen(value) for name, value in document.items()}
