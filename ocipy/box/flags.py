"""The flags of `box run` and `box create`, by the names that docker's users and readers of the articles know."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from ocipy import Error
from ocipy.box.ports import check_ports, parse_ports
from ocipy.box.request import Limits, Request, Volume
from ocipy.box.sizes import parse_cpu, parse_cpus, parse_size
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
    add = parser.add_argument
    add("-m", "--memory", "--memory-limit", metavar="SIZE", help="most memory: 50M, 1g")
    add("--memory-swap", metavar="SIZE", help="memory and swap together, -1 for any; without it the box does not swap")
    add("--memory-reservation", metavar="SIZE", help="what it keeps when memory is short")
    add("--cpus", metavar="N", help="how many CPUs' time: 0.5")
    add("--cpu", metavar='"QUOTA PERIOD"', help="the same in microseconds, as cpu.max has it")
    add("--cpu-shares", type=int, metavar="N", help="weight among others when CPUs are short (1024)")
    add("--cpu-quota", type=int, metavar="N", help="microseconds of CPU in each period")
    add("--cpu-period", type=int, metavar="N", help="microseconds")
    add("--cpuset-cpus", default="", metavar="LIST", help="on these CPUs: 0-1,3")
    add("--pids-limit", type=int, metavar="N", help="most processes and threads; -1 for any")
    add("-e", "--env", action="append", default=[], metavar="NAME[=VALUE]", help="a variable; without a value ours")
    add("--env-file", action="append", default=[], metavar="FILE", help="variables, one a line")
    add("-w", "--workdir", default="", metavar="DIR", help="the working directory")
    add("-u", "--user", default="", metavar="USER[:GROUP]", help="names or numbers")
    add("-v", "--volume", action="append", default=[], metavar="SOURCE:DEST[:ro]", help="a directory of the host's")
    add("--mount", action="append", default=[], metavar="type=bind,source=…,target=…",
        help="the same of one that is there; or type=tmpfs,target=…")  # fmt: skip
    add("-p", "--publish", action="append", default=[], metavar="[ADDR:]HOST:BOX[/udp]",
        help="a port of the host's, or a range: 8000-8010:80-90")  # fmt: skip
    add("--dns", action="append", default=[], metavar="ADDRESS", help="a name server instead of the host's")
    add("-i", "--interactive", action="store_true", help="with standard input")
    add("-t", "--tty", action="store_true", help="with a terminal")
    add("--name", default="", metavar="NAME", help="its name; one is made up otherwise")
    add("--hostname", default="", metavar="NAME", help="(its id)")
    add("--read-only", action="store_true", help="the root cannot be written to")
    add("--tmpfs", action="append", default=[], metavar="DEST[:OPTIONS]", help="a directory in memory")
    add("--shm-size", default="64m", metavar="SIZE", help="of /dev/shm (64m)")
    add("--device", action="append", default=[], metavar="PATH[:DEST[:rwm]]", help="a device of the host's")
    add("--cap-add", action="append", default=[], metavar="NAME", help="a capability more, or ALL")
    add("--cap-drop", action="append", default=[], metavar="NAME", help="a capability less, or ALL")
    add("--security-opt", action="append", default=[], metavar="WORD",
        help="seccomp=FILE, seccomp=unconfined, no-new-privileges=false")  # fmt: skip
    add("--privileged", action="store_true", help="all capabilities and devices, nothing masked")
    add("--ulimit", action="append", default=[], metavar="NAME=SOFT[:HARD]", help="nofile=1024:2048")
    add("--sysctl", action="append", default=[], metavar="NAME=VALUE", help="of its namespaces: net.…, kernel.msg…")
    add("--entrypoint", metavar="PATH", help='instead of the image\'s; "" for none')
    add("--init", action="store_true", help="a small init as its first process, which reaps")
    add("--userns", default="", metavar="auto|host", help="auto: separate ids; host: the host's, the default for root")
    add("--network", "--net", default="", metavar="bridge|host|none|pasta", help="(bridge; pasta without root)")
    add("-l", "--label", action="append", default=[], metavar="NAME=VALUE", help="kept with it, shown by inspect")
    add("image", metavar="IMAGE", help="busybox, a directory, a tar, oci:DIR[:TAG], docker-archive:FILE, a registry's")
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND …", help="instead of the image's own")


def make_request(given: argparse.Namespace) -> Request:
    """The Request of parsed flags. Raises Error, with exit status 2 for a usage error."""
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
    try:
        json.dumps(made.to_json(), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        strange = ascii(error.object[error.start : error.end])
        raise Error(f"{strange} is not UTF-8, as all of config.json has to be (RFC 8259, 8.1)", status=2) from None
    return made


def _limits(given: argparse.Namespace) -> Limits:
    ways = [name for name in ("cpus", "cpu") if getattr(given, name) is not None]
    if given.cpu_quota is not None or given.cpu_period is not None:
        ways.append("cpu-quota")
    if len(ways) > 1:
        raise Error(f"--{ways[0]} and --{ways[1]} say the same twice", status=2)
    quota, period = given.cpu_quota, given.cpu_period
    if given.cpus is not None:
        quota, period = parse_cpus(given.cpus)
    elif given.cpu is not None:
        quota, period = parse_cpu(given.cpu)
    # docker's and podman's 0 means "no limit"; in config.json it would be a limit of 0.
    memory = _size(given.memory, "--memory") or None
    reservation = _size(given.memory_reservation, "--memory-reservation") or None
    if memory is not None and reservation is not None and reservation > memory:
        raise Error("--memory-reservation is more than --memory", status=2)
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
    """The variables of -e and --env-file; one without a value takes ours, if we have it. Raises Error."""
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
            raise Error(f"--env is NAME=VALUE, not {word!r}", status=2)
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
        raise Error(f"--device is PATH[:DESTINATION[:rwm]], not {word!r}", status=2)
    return source, destination, access


def parse_ulimit(word: str) -> tuple[str, int, int]:
    """--ulimit: (RLIMIT_…, soft, hard). Raises Error."""
    name, _, value = word.partition("=")
    soft, _, hard = value.partition(":")
    numbers = [
        UNLIMITED if one in ("unlimited", "-1") else int(one) if one.isdecimal() else -1 for one in (soft, hard or soft)
    ]
    if name not in ULIMITS or min(numbers) < 0:
        raise Error(f"--ulimit is NAME=SOFT[:HARD], not {word!r}", hint="names: " + " ".join(ULIMITS), status=2)
    if numbers[0] > numbers[1]:
        raise Error(f"--ulimit {word}: the soft limit is more than the hard one", status=2)
    return "RLIMIT_" + name.upper(), numbers[0], numbers[1]


def _security(word: str) -> str:
    name, _, value = word.replace(":", "=", 1).partition("=")
    if name == "no-new-privileges":
        if value not in ("", "true", "false"):
            raise Error(f"--security-opt {word}: no-new-privileges is true or false", status=2)
        return f"no-new-privileges={value or 'true'}"
    if name == "seccomp" and value:
        # The box may be started again from another directory.
        return f"seccomp={value if value == 'unconfined' else os.path.abspath(value)}"
    raise Error(f"--security-opt {word} is not known", hint="seccomp=FILE|unconfined, no-new-privileges=BOOL", status=2)


def _hostname(name: str) -> str:
    letters = name.replace(".", "").replace("-", "")
    if name and (
        not (letters.isascii() and letters.isalnum()) or name[0] in "-." or name[-1] == "-" or ".." in name
        or len(name) > LONGEST_HOSTNAME
    ):  # fmt: skip
        hint = f"letters, digits, - and . between them, {LONGEST_HOSTNAME} at most"
        raise Error(f"--hostname {name!r} is not a valid host name", hint=hint, status=2)
    return name


def _name_server(word: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        raise Error(f"--dns is the address of a name server, not {word!r}", status=2) from None


def _shm_size(text: str) -> int:
    size = parse_size(text, "--shm-size")
    if size == 0:
        raise Error("--shm-size 0 would be without a limit", hint="name a size", status=2)
    return size


def _pair(word: str, flag: str, *, required: bool = True) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not name or (required and not equals):
        raise Error(f"{flag} is NAME=VALUE, not {word!r}", status=2)
    return name, value


def _absolute(path: str, flag: str) -> str:
    if path and not path.startswith("/"):
        raise Error(f"{flag} is an absolute path in the box, not {path!r}", status=2)
    return path


def _one_of(value: str, words: Sequence[str], flag: str) -> str:
    if value not in words:
        raise Error(f"{flag} is one of {', '.join(word for word in words if word)}, not {value!r}", status=2)
    return value
