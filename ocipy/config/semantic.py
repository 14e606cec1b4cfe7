"""Rules for config.json beyond the schema: those across fields, and values that Linux does not know.

Hot and pure: nothing depends on the host. Each rule cites the specification (config.md unless said otherwise), a man
page, or what the kernel refuses. The rules of mounts are in semantic_mounts.py, those of the `linux` section in
semantic_linux.py and semantic_resources.py; advice.py has what only deserves a warning.
"""

from __future__ import annotations

from ocipy.config import ids, semantic_linux, semantic_mounts, semantic_resources
from ocipy.errors import escape
from ocipy.linux.constants import NO_ID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.config.types import Config, Hook, IOPriority, Process, Scheduler

    Findings = list[tuple[str, str]]

RLIMITS = (
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
)
"""getrlimit(2)."""

HOOK_KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

NGROUPS_MAX = 65536
"""setgroups(2)."""

TTY_SIZE_MAX = 0xFFFF
"""struct winsize, TIOCSWINSZ(2const)."""


def errors(config: Config, *, may_hold_nul: bool = True) -> Findings:
    """Every broken rule as (JSON pointer, text), in the order of the document's sections; empty if all hold.

    config has passed check.check. may_hold_nul: False if the document's text is known to contain no NUL.
    """
    found: Findings = []
    _version(config["ociVersion"], found)
    _root(config, found)
    process = config.get("process")
    if process is not None:
        process_errors(process, found)
    spaces = semantic_linux.namespaces(config)
    if "user" in spaces:
        found += ids.unmapped(config)
    _names_of_host(config, spaces, found)
    semantic_mounts.errors(config, spaces, found)
    _hooks(config, found)
    if "" in (config.get("annotations") or ()):
        found.append(("/annotations/", "the key of an annotation must not be empty"))
    linux = config.get("linux")
    if linux is not None:
        semantic_linux.errors(linux, spaces, found)
        resources = linux.get("resources")
        if resources is not None:
            semantic_resources.errors(resources, found)
    if may_hold_nul:
        nul_errors(config, "", found)
    return found


def _version(version: str, found: Findings) -> None:
    """Semantic versioning 2.0.0: versions with the same major number are compatible. 0.x deserves a warning: members
    that differ from 1.x are unknown, or break the schema."""
    core = version.split("+", 1)[0].split("-", 1)[0].split(".")
    digits = "".join(core)
    if len(core) != 3 or not all(core) or not digits.isascii() or not digits.isdigit():
        found.append(("/ociVersion", f"must be a semantic version such as 1.3.0, not {version!r}"))
    elif core[0] not in ("0", "1"):
        found.append(("/ociVersion", f"version {version} is not supported, only 0.x and 1.x are"))


def _root(config: Config, found: Findings) -> None:
    root = config.get("root")
    if root is None:
        found.append(("/root", "is required on Linux"))
    elif not root["path"]:
        found.append(("/root/path", "must not be empty"))


def process_errors(process: Process, found: Findings, base: str = "/process") -> None:
    """The rules of a process object: of config.json, or of `exec --process` with base ""."""
    if not process.get("args"):
        found.append((base + "/args", "args must not be empty"))
    if process["cwd"][:1] != "/":
        found.append((base + "/cwd", "Cwd must be an absolute path"))
    environment(process.get("env"), base + "/env", found)
    _console_size(process, base, found)
    _user(process, base, found)
    _rlimits(process, base, found)
    score = process.get("oomScoreAdj")
    if score is not None and not -1000 <= score <= 1000:
        found.append((base + "/oomScoreAdj", f"must be from -1000 to 1000, not {score}"))
    scheduler = process.get("scheduler")
    if scheduler is not None:
        _scheduler(scheduler, base + "/scheduler", found)
    priority = process.get("ioPriority")
    if priority is not None:
        _io_priority(priority, base + "/ioPriority", found)
    affinity = process.get("execCPUAffinity")
    if affinity is not None:
        semantic_resources.list_of_numbers(affinity.get("initial"), base + "/execCPUAffinity/initial", found)
        semantic_resources.list_of_numbers(affinity.get("final"), base + "/execCPUAffinity/final", found)


def environment(entries: list[str] | None, pointer: str, found: Findings) -> None:
    """environ(7)."""
    for index, entry in enumerate(entries or ()):
        if entry.find("=") < 1:
            found.append((f"{pointer}/{index}", f"must be NAME=VALUE, not {entry!r}"))


def _console_size(process: Process, base: str, found: Findings) -> None:
    """MUST be ignored if terminal is false or unset (config.md); so the schema accepts anything here."""
    size: Any = process.get("consoleSize")
    if size is None or not process.get("terminal"):
        return
    base += "/consoleSize"
    if type(size) is not dict:
        found.append((base, "must be an object"))
        return
    for member in ("height", "width"):
        number = size.get(member)
        if number is None:
            found.append((base, f"the member {member} is required"))
        elif type(number) is not int or not 0 <= number <= TTY_SIZE_MAX:
            found.append((f"{base}/{member}", f"must be an integer from 0 to {TTY_SIZE_MAX}"))


def _user(process: Process, base: str, found: Findings) -> None:
    user = process.get("user")
    if user is None:
        return
    if user.get("uid") == NO_ID:
        found.append((base + "/user/uid", "4294967295 is not a user id"))
    if user.get("gid") == NO_ID:
        found.append((base + "/user/gid", "4294967295 is not a group id"))
    if len(user.get("additionalGids") or ()) > NGROUPS_MAX:
        found.append((base + "/user/additionalGids", f"must contain at most {NGROUPS_MAX} groups"))
    for index, gid in enumerate(user.get("additionalGids") or ()):
        if gid == NO_ID:
            found.append((f"{base}/user/additionalGids/{index}", "4294967295 is not a group id"))
    umask = user.get("umask")
    if umask is not None and umask > 0o777:
        found.append((base + "/user/umask", f"must be from 0 to 511 (octal 777), not {umask}"))


def _rlimits(process: Process, base: str, found: Findings) -> None:
    """config.md, POSIX process: unknown names and duplicates are errors. setrlimit(2): soft must not exceed hard."""
    seen = []
    for index, limit in enumerate(process.get("rlimits") or ()):
        name = limit["type"]
        pointer = f"{base}/rlimits/{index}"
        if name not in RLIMITS:
            found.append((pointer + "/type", f"wrong rlimit value: {name}; getrlimit(2) lists the known names"))
        elif name in seen:
            found.append((pointer + "/type", name + " is given twice"))
        if limit["soft"] > limit["hard"]:
            found.append((pointer + "/soft", f"{limit['soft']} is more than the hard limit, {limit['hard']}"))
        seen.append(name)


def _scheduler(scheduler: Scheduler, base: str, found: Findings) -> None:
    """sched_setattr(2), sched(7): which policy takes which parameter. 0 means absent."""
    policy = scheduler["policy"]
    if policy == "SCHED_ISO":
        found.append((base + "/policy", "Linux does not implement SCHED_ISO"))
    nice = scheduler.get("nice") or 0
    if nice and policy not in ("SCHED_OTHER", "SCHED_BATCH"):
        found.append((base + "/nice", "is only for SCHED_OTHER and SCHED_BATCH"))
    elif not -20 <= nice <= 19:
        found.append((base + "/nice", f"must be from -20 to 19, not {nice}"))
    priority = scheduler.get("priority") or 0
    if policy in ("SCHED_FIFO", "SCHED_RR"):
        if not 1 <= priority <= 99:
            found.append((base + "/priority", f"must be from 1 to 99 with {policy}, not {priority}"))
    elif priority:
        found.append((base + "/priority", "is only for SCHED_FIFO and SCHED_RR"))
    runtime, deadline, period = (scheduler.get("runtime"), scheduler.get("deadline"), scheduler.get("period"))
    if policy != "SCHED_DEADLINE":
        for name, value in (("runtime", runtime), ("deadline", deadline), ("period", period)):
            if value:
                found.append((f"{base}/{name}", "is only for SCHED_DEADLINE"))
    elif not 0 < (runtime or 0) <= (deadline or 0) <= (period or deadline or 0):
        found.append((base, "SCHED_DEADLINE needs 0 < runtime <= deadline <= period"))


def _io_priority(priority: IOPriority, base: str, found: Findings) -> None:
    """ioprio_set(2)."""
    level = priority.get("priority") or 0
    if not 0 <= level <= 7:
        found.append((base + "/priority", f"must be from 0 to 7, not {level}"))


def _names_of_host(config: Config, spaces: dict[str, str], found: Findings) -> None:
    """uts_namespaces(7): without a new or joined one, the host would be renamed."""
    for member, name in (("/hostname", config.get("hostname")), ("/domainname", config.get("domainname"))):
        if not name:
            continue
        if "uts" not in spaces:
            found.append((member, "needs a uts namespace in linux.namespaces; without one, the host would be renamed"))
        if len(name.encode("utf-8", "surrogatepass")) > 64:
            found.append((member, "is longer than 64 bytes"))
    name = config.get("domainname")
    if not name:
        return
    for key, value in ((config.get("linux") or {}).get("sysctl") or {}).items():
        if value != name and semantic_linux.sysctl_path(key) == semantic_linux.DOMAINNAME:
            found.append(("/linux/sysctl" + escape(key), f"conflicts with the field domainname, which is {name!r}"))


def _hooks(config: Config, found: Findings) -> None:
    hooks = config.get("hooks")
    if hooks is None:
        return
    for kind in HOOK_KINDS:
        listed: list[Hook] | None = hooks.get(kind)  # type: ignore[assignment]
        for index, hook in enumerate(listed or ()):
            _hook(hook, f"/hooks/{kind}/{index}", found)


def _hook(hook: Hook, pointer: str, found: Findings) -> None:
    if hook["path"][:1] != "/":
        found.append((pointer + "/path", f"must be an absolute path, not {hook['path']!r}"))
    args = hook.get("args")
    if args and not args[0]:
        found.append((pointer + "/args/0", "the name of the program must not be empty"))
    environment(hook.get("env"), pointer + "/env", found)


def nul_errors(value: Any, pointer: str, found: Findings) -> None:
    """System calls read a string only up to its first NUL byte: the truncated string would mean something else."""
    if type(value) is str:
        if "\0" in value:
            found.append((pointer, "contains a NUL byte"))
    elif type(value) is dict:
        for name, member in value.items():
            if "\0" in name:
                found.append((pointer + escape(name), "has a NUL byte in its name"))
            nul_errors(member, pointer + escape(name), found)
    elif type(value) is list:
        for index, item in enumerate(value):
            nul_errors(item, pointer + "/" + str(index), found)
