"""The flags of `box run` and `box create`, under the names that docker's users and readers of the articles know."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence

from ocipy import Error
from ocipy.box.names import check_utf8
from ocipy.box.ports import check_ports, parse_ports
from ocipy.box.request import Limits, Request, Volume
from ocipy.box.sizes import integer, is_number, parse_cpu, parse_cpus, parse_size
from ocipy.box.volumes import check_places, parse_mount, parse_tmpfs, parse_volume
from ocipy.errors import reported_as

# getrlimit(2), by docker's names.
ULIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
)  # fmt: skip
UNLIMITED = (1 << 64) - 1
# sethostname(2), and the names that resolvers accept (RFC 1123, 2.1).
LONGEST_HOSTNAME = 64


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that make a Request, then the image and the command; every word after the image is the command's."""
    _add_limits(parser)
    _add_process(parser)
    _add_files(parser)
    _add_network(parser)
    _add_rights(parser)
    add = parser.add_argument
    add("--name", default="", metavar="NAME", help="name of the box (made up by default)")
    add("-l", "--label", action="append", default=[], metavar="NAME=VALUE", help="label of the box, shown by inspect")
    text = "busybox, a directory, a tar archive, oci:DIR[:TAG], docker-archive:FILE, or a name in a registry"
    add("image", metavar="IMAGE", help=text)
    text = "command to run instead of the image's"
    command = add("command", nargs=argparse.REMAINDER, metavar="COMMAND …", help=text)
    command.required = False  # argparse would name it among the missing arguments


def _add_limits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-m", "--memory", "--memory-limit", metavar="SIZE", help="memory limit: 50M, 1g")
    text = "limit on the sum of memory and swap, -1 for none; by default the box does not swap"
    add("--memory-swap", metavar="SIZE", help=text)
    text = "memory that the kernel leaves to the box when the host runs short"
    add("--memory-reservation", metavar="SIZE", help=text)
    add("--cpus", metavar="N", help="number of CPUs: 0.5")
    add("--cpu", metavar='"QUOTA PERIOD"', help="the same as a quota and a period, in microseconds")
    add("--cpu-shares", type=integer, metavar="N", help="weight relative to other boxes when the CPUs are busy (1024)")
    add("--cpu-quota", type=integer, metavar="N", help="CPU time in each period, in microseconds")
    add("--cpu-period", type=integer, metavar="N", help="length of a period, in microseconds")
    add("--cpuset-cpus", default="", metavar="LIST", help="CPUs that it may use: 0-1,3")
    add("--pids-limit", type=integer, metavar="N", help="maximum number of processes and threads, -1 for no limit")
    add("--ulimit", action="append", default=[], metavar="NAME=SOFT[:HARD]", help="resource limit: nofile=1024:2048")


def _add_process(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "set a variable; without a value, pass on the caller's"
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help=text)
    add("--env-file", action="append", default=[], metavar="FILE", help="read variables from a file, one per line")
    add("-w", "--workdir", default="", metavar="DIR", help="working directory")
    add("-u", "--user", default="", metavar="USER[:GROUP]", help="user and group, by name or number")
    add("-i", "--interactive", action="store_true", help="keep standard input open")
    add("-t", "--tty", action="store_true", help="allocate a terminal")
    add("--entrypoint", metavar="PATH", help='program to run instead of the image\'s; "" for none')
    add("--init", action="store_true", help="run a small init as its first process, which reaps orphans")


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "bind mount a directory or file of the host"
    add("-v", "--volume", action="append", default=[], metavar="SOURCE:DEST[:ro]", help=text)
    text = "the same, but the source must exist; or type=tmpfs,target=…"
    add("--mount", action="append", default=[], metavar="type=bind,source=…,target=…", help=text)
    add("--tmpfs", action="append", default=[], metavar="DEST[:OPTIONS]", help="mount a directory in memory")
    add("--shm-size", default="64m", metavar="SIZE", help="size of /dev/shm (64m)")
    add("--device", action="append", default=[], metavar="PATH[:DEST[:rwm]]", help="give the box a device of the host")
    add("--read-only", action="store_true", help="make the root filesystem read-only")


def _add_network(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--network", "--net", default="", metavar="bridge|host|none|pasta", help="network (bridge; without root pasta)")
    text = "publish a port, or a range: 8000-8010:80-90"
    add("-p", "--publish", action="append", default=[], metavar="[ADDR:]HOST:BOX[/udp]", help=text)
    add("--dns", action="append", default=[], metavar="ADDRESS", help="name server to use instead of the host's")
    add("--hostname", default="", metavar="NAME", help="host name of the box (its id)")


def _add_rights(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--cap-add", action="append", default=[], metavar="NAME", help="add a capability, or ALL")
    add("--cap-drop", action="append", default=[], metavar="NAME", help="drop a capability, or ALL")
    text = "seccomp=FILE, seccomp=unconfined, no-new-privileges=false"
    add("--security-opt", action="append", default=[], metavar="WORD", help=text)
    add("--privileged", action="store_true", help="all capabilities and devices, no masked paths")
    text = "kernel parameter of its namespaces: net.…, kernel.msg…"
    add("--sysctl", action="append", default=[], metavar="NAME=VALUE", help=text)
    text = "auto: separate ids; host: the host's ids (host; without root always auto)"
    add("--userns", default="", metavar="auto|host", help=text)


def make_request(given: argparse.Namespace) -> Request:
    """The Request that parsed flags make. Raises Error, with exit status 2 for a usage error."""
    mounts = [*map(parse_volume, given.volume), *map(parse_mount, given.mount)]
    volumes = tuple(one for one in mounts if isinstance(one, Volume))
    tmpfs = (*map(parse_tmpfs, given.tmpfs), *(one for one in mounts if not isinstance(one, Volume)))
    ports = tuple(port for word in given.publish for port in parse_ports(word))
    check_places(volumes, tmpfs)
    check_ports(ports)
    made = Request(
        image=given.image,
        command=tuple(given.command),
        entrypoint=None if given.entrypoint is None else ((given.entrypoint,) if given.entrypoint else ()),
        hostname=_hostname(given.hostname),
        environment=make_environment(given.env, given.env_file),
        cwd=_absolute(given.workdir, "--workdir"),
        user=given.user,
        terminal=given.tty,
        interactive=given.interactive,
        read_only=given.read_only,
        init=given.init,
        privileged=given.privileged,
        limits=_limits(given),
        volumes=volumes,
        tmpfs=tmpfs,
        devices=tuple(parse_device(word) for word in given.device),
        cap_add=tuple(given.cap_add),
        cap_drop=tuple(given.cap_drop),
        security=tuple(_security(word) for word in given.security_opt),
        # The last value of a name wins, as everywhere in docker.
        ulimits=tuple({one[0]: one for one in map(parse_ulimit, given.ulimit)}.values()),
        sysctls=tuple(_pair(word, "--sysctl") for word in given.sysctl),
        shm_size=_shm_size(given.shm_size),
        userns=_one_of(given.userns, ("", "auto", "host"), "--userns"),
        network=_one_of(given.network, ("", "bridge", "host", "none", "pasta"), "--network"),
        ports=ports,
        name_servers=tuple(_name_server(word) for word in given.dns),
        labels=tuple(_pair(word, "--label", required=False) for word in given.label),
    )
    for word in _words_in(made.to_json()):
        check_utf8(word, status=2)
    return made


def _words_in(value: object) -> Iterator[str]:
    """All strings in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _words_in(one)


def _limits(given: argparse.Namespace) -> Limits:
    ways = [name for name, value in (("cpus", given.cpus), ("cpu", given.cpu)) if value is not None]
    if given.cpu_quota is not None or given.cpu_period is not None:
        ways.append("cpu-quota")
    if len(ways) > 1:
        raise Error(f"--{ways[0]} and --{ways[1]} set the same limit: use one of them", status=2)
    quota, period = given.cpu_quota, given.cpu_period
    if given.cpus is not None:
        quota, period = parse_cpus(given.cpus)
    elif given.cpu is not None:
        quota, period = parse_cpu(given.cpu)
    # docker's and podman's 0 means "no limit"; in config.json it would be a limit of 0.
    memory = _size(given.memory, "--memory") or None
    reservation = _size(given.memory_reservation, "--memory-reservation") or None
    if memory is not None and reservation is not None and reservation > memory:
        raise Error("--memory-reservation must not exceed --memory", status=2)
    return Limits(
        memory=memory,
        memory_swap=-1 if given.memory_swap == "-1" else _size(given.memory_swap, "--memory-swap") or None,
        memory_reservation=reservation,
        cpu_shares=given.cpu_shares or None,
        cpu_quota=quota,
        cpu_period=period,
        cpuset_cpus=given.cpuset_cpus,
        pids=-1 if given.pids_limit == 0 else given.pids_limit,
    )


def _size(text: str | None, flag: str) -> int | None:
    return None if text is None else parse_size(text, flag)


def make_environment(words: Sequence[str], files: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """The variables of -e and --env-file; one without a value gets the caller's, if any. Raises Error."""
    made = []
    for path in files:
        with reported_as("cannot read --env-file", pointer=path):
            with open(path, "rb") as file:
                lines = file.read().decode("utf-8", "surrogateescape").split("\n")
        made += [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    pairs = []
    for word in (*made, *words):
        name, equals, value = word.partition("=")
        if not name:
            raise Error(f"--env takes NAME=VALUE, not {word!r}", status=2)
        if equals:
            pairs.append((name, value))
        elif name in os.environ:
            pairs.append((name, os.environ[name]))
    return tuple(pairs)


def parse_device(word: str) -> tuple[str, str, str]:
    """--device: (path on the host, path in the box, access). Raises Error."""
    source, *rest = word.split(":")
    destination, access = source, "rwm"
    if len(rest) == 1 and not rest[0].startswith("/"):
        access = rest[0]
    elif rest:
        destination, access = rest[0], rest[1] if len(rest) > 1 else "rwm"
    if len(rest) > 2:
        access = ""
    if not source.startswith("/") or not destination.startswith("/") or not access or set(access) - set("rwm"):
        raise Error(f"--device takes PATH[:DESTINATION[:rwm]], not {word!r}", status=2)
    return source, destination, access


def parse_ulimit(word: str) -> tuple[str, int, int]:
    """--ulimit: (RLIMIT_…, soft, hard). Raises Error."""
    name, _, value = word.partition("=")
    soft, _, hard = value.partition(":")
    lower, upper = _ulimit(soft), _ulimit(hard or soft)
    if name not in ULIMITS or lower is None or upper is None:
        raise Error(f"--ulimit takes NAME=SOFT[:HARD], not {word!r}", hint="names: " + " ".join(ULIMITS), status=2)
    if lower > upper:
        raise Error(f"--ulimit {word}: the soft limit exceeds the hard limit", status=2)
    return "RLIMIT_" + name.upper(), lower, upper


def _ulimit(text: str) -> int | None:
    """A limit in docker's form; None if it is not a limit."""
    if text in ("unlimited", "-1"):
        return UNLIMITED
    return int(text) if is_number(text) else None


def _security(word: str) -> str:
    name, _, value = word.replace(":", "=", 1).partition("=")
    if name == "no-new-privileges":
        if value not in ("", "true", "false"):
            raise Error(f"--security-opt {word}: no-new-privileges must be true or false", status=2)
        return f"no-new-privileges={value or 'true'}"
    if name == "seccomp" and value:
        # The box may be started again from another directory.
        return f"seccomp={value if value == 'unconfined' else os.path.abspath(value)}"
    raise Error(
        f"--security-opt {word}: unknown option",
        hint="use seccomp=FILE, seccomp=unconfined or no-new-privileges=BOOL",
        status=2,
    )


def _hostname(name: str) -> str:
    letters = name.replace(".", "").replace("-", "")
    if name and (
        not (letters.isascii() and letters.isalnum()) or name[0] in "-." or name[-1] == "-" or ".." in name
        or len(name) > LONGEST_HOSTNAME
    ):  # fmt: skip
        hint = f"use letters and digits, with - or . between them, at most {LONGEST_HOSTNAME} characters"
        raise Error(f"--hostname {name!r} is not a valid host name", hint=hint, status=2)
    return name


def _name_server(word: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        raise Error(f"--dns takes the address of a name server, not {word!r}", status=2) from None


def _shm_size(text: str) -> int:
    size = parse_size(text, "--shm-size")
    if size == 0:
        raise Error("--shm-size 0 would mean no limit", hint="give a size", status=2)
    return size


def _pair(word: str, flag: str, *, required: bool = True) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not name or (required and not equals):
        raise Error(f"{flag} takes NAME=VALUE, not {word!r}", status=2)
    return name, value


def _absolute(path: str, flag: str) -> str:
    if path and not path.startswith("/"):
        raise Error(f"{flag} takes an absolute path in the box, not {path!r}", status=2)
    return path


def _one_of(value: str, words: Sequence[str], flag: str) -> str:
    if value not in words:
        raise Error(f"{flag} must be one of {', '.join(word for word in words if word)}, not {value!r}", status=2)
    return value
