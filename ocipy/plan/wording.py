"""The steps of a plan in words: what each action's arguments mean, for both lanes. Cold.

An action without arguments describes itself; its text gives the purpose. tests/unit/plan/test_describe.py checks that
no action of the lanes is missing here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ocipy.cgroups.writes import shown
from ocipy.errors import in_bytes
from ocipy.linux import constants
from ocipy.linux.capabilities import NAMES as CAPABILITIES
from ocipy.plan.scheduling import DOMAINS, IO_CLASSES, MODE_FLAGS, MODES, POLICIES
from ocipy.plan.seccomp import FLAGS as SECCOMP_FLAGS
from ocipy.plan.wording_mounts import (
    bind,
    cgroup_mount,
    if_set,
    join,
    mount,
    propagation_words,
    remount,
)

Arguments = Mapping[str, Any]

UNLIMITED = 2**64 - 1
# getrlimit(2)
IN_BYTES = ("AS", "CORE", "DATA", "FSIZE", "MEMLOCK", "MSGQUEUE", "RSS", "STACK")
UNITS = {"CPU": " s", "RTTIME": " µs"}


def describe(action: str, arguments: Arguments) -> str:
    """Describe a step without its action's name and pointer."""
    wording = WORDINGS.get(action, plain)
    return wording if isinstance(wording, str) else wording(arguments)


def plain(arguments: Arguments) -> str:
    """Return name=value of the arguments that are set: for steps without a wording."""
    return " ".join(f"{name}={value}" for name, value in arguments.items() if value not in ("", None, False, ()))


def capability_set(mask: int) -> str:
    """Show few capabilities by name, many by number."""
    names = [name for number, name in enumerate(CAPABILITIES) if mask >> number & 1]
    if len(names) == len(CAPABILITIES):
        return "all"
    if len(names) > 5:
        return str(len(names))
    return ",".join(name.removeprefix("CAP_").lower() for name in names) or "none"


def systemd_properties(a: Arguments) -> str:
    """Properties of a unit."""
    return " ".join(f"{name}={_property(value)}" for name, _, value, _ in a["properties"]) or "none to set"


def _property(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(_property(part) for part in value) + "]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "infinity" if value == UNLIMITED else str(value)


def device(a: Arguments) -> str:
    """A device node."""
    number = "" if a["kind"] == "p" else f"{a['major']}:{a['minor']}"
    made = ""
    if a.get("bind"):
        made = "made on the host, bound" if a["name"] else "the host's, bound"
    mode = f"{a['mode']:04o} {a['uid']}:{a['gid']}" if "mode" in a else "expected to exist"
    return join(a["path"], a["kind"], number, made or mode)


def id_map(a: Arguments) -> str:
    """uid_map and gid_map: inside+size ← outside."""
    ranges = ", ".join(f"{inside}+{size} ← {outside}" for inside, outside, size in a["mappings"])
    return join(ranges, if_set(a["by_helper"], "by the setuid helper"), if_set(a.get("deny_setgroups"), "no setgroups"))


def clone_stage(a: Arguments) -> str:
    """The process before init."""
    return join(
        if_set(a["joined"], "joins " + " ".join(kind for kind, _ in a["joined"]) + ";"),
        if_set(a["user"], "new user;"),
        if_set(a["unshared"], "new " + " ".join(a["unshared"])),
        if_set(a["forks"], "and forks"),
    ).strip("; ")


def device_rules(a: Arguments) -> str:
    """Return the first rules, and how many more there are."""

    def rule(allow: bool, kind: str, major: int, minor: int, access: int) -> str:
        number = ":".join("*" if part < 0 else str(part) for part in (major, minor))
        letters = "".join(letter for bit, letter in ((2, "r"), (4, "w"), (1, "m")) if access & bit)
        return ("allow " if allow else "deny ") + (letters if kind == "a" else f"{kind} {number} {letters}")

    first = [rule(*each) for each in a["rules"][:2]]
    more = len(a["rules"]) - len(first)
    return ", ".join(first) + (f", and {more} more" if more > 0 else "")


def hook(a: Arguments) -> str:
    """A hook."""
    arguments = " ".join((a["args"] or ())[1:])
    timeout = if_set(a["timeout"], f"for at most {a['timeout']} s")
    return join(a["kind"], a["path"], arguments, timeout, if_set(a.get("filter"), "under the filter"))


def limit(value: int, name: str = "") -> str:
    """Format a resource limit of that name with its unit (getrlimit(2))."""
    if value == UNLIMITED:
        return "unlimited"
    return in_bytes(value) if name in IN_BYTES else f"{value}{UNITS.get(name, '')}"


def rlimit(a: Arguments) -> str:
    """Return name, soft and hard limit."""
    name = a["name"].removeprefix("RLIMIT_")
    return f"{name.lower()} {limit(a['soft'], name)}:{limit(a['hard'], name)}"


def by_value(table: Mapping[str, int], value: int) -> str:
    """Return the name of a number."""
    return next((name for name, number in table.items() if number == value), str(value))


def memory_policy(a: Arguments) -> str:
    """set_mempolicy(2)."""
    flags = [name for name, flag in MODE_FLAGS.items() if a["mode"] & flag]
    mode = a["mode"]
    for name in flags:
        mode &= ~MODE_FLAGS[name]
    return join(by_value(MODES, mode), *flags, if_set(a["nodes"], "nodes " + ",".join(map(str, a["nodes"]))))


def scheduler(a: Arguments) -> str:
    """sched_setattr(2)."""
    times = "runtime {runtime} deadline {deadline} period {period} ns".format(**a) if a["runtime"] else ""
    priority = if_set(a["priority"], f"priority {a['priority']}")
    return join(by_value(POLICIES, a["policy"]), if_set(a["nice"], f"nice {a['nice']}"), priority, times)


def seccomp_filter(a: Arguments) -> str:
    """Summarize the profile."""
    profile = a["profile"]
    others = " ".join(name.removeprefix("SCMP_ARCH_").lower() for name in profile.get("architectures") or ())
    rules = len(profile.get("syscalls") or ())
    return join(f"{profile['defaultAction']} by default, {rules} rules", if_set(others, "for " + others))


def seccomp_load(a: Arguments) -> str:
    """Return the flags for loading the filter."""
    names = [name for name, flag in SECCOMP_FLAGS.items() if flag and a["flags"] & flag]
    listener = a["flags"] & constants.SECCOMP_FILTER_FLAG_NEW_LISTENER
    words = [name.removeprefix("SECCOMP_FILTER_FLAG_").lower() for name in names]
    optional = if_set(a["optional"], "(if the kernel supports it)")
    return join("the filter", *words, optional, if_set(listener, "with listener"))


def bounding(a: Arguments) -> str:
    """Summarize the bounding set in numbers."""
    known = (1 << (a["last"] + 1)) - 1
    kept = (a["kept"] & known).bit_count()
    return f"{kept} kept, {a['last'] + 1 - kept} dropped"


def capabilities(a: Arguments) -> str:
    """Return the four sets."""
    sets = ("effective", "permitted", "inheritable", "ambient")
    return " ".join(f"{name} {capability_set(a[name])}" for name in sets)


def hook_later(a: Arguments) -> str:
    """Return a hook and the command that runs it."""
    return hook(a) + (", by start" if a["kind"] == "poststart" else ", by delete")


def value_of(name: str, before: str = "", after: str = "") -> Callable[[Arguments], str]:
    """Return a wording for steps with one relevant argument."""
    return lambda a: join(before, str(a[name]), after)


WORDINGS: dict[str, str | Callable[[Arguments], str]] = {
    "adopt": "the process that the stage forked",
    "adopt_init": "the process that init forked and continues as",
    "apparmor": value_of("profile", "at the exec:"),
    "attach_rootfs": "the tree that the host opened",
    "become_root": lambda a: join("ids 0 of the user namespace", if_set(a["drop_groups"], "and no groups")),
    "bind": bind,
    "bind_rootfs": value_of("path", after="on itself, on the host"),
    "bounding": bounding,
    "capabilities": capabilities,
    "cgroup_check_memory": lambda a: f"limit {in_bytes(a['limit'])} is above the current usage",
    "cgroup_cpuset": "CPUs and memory nodes of the parent cgroup",
    "cgroup_create": lambda a: join(a["path"] or "below the runtime's own", if_set(a["tolerant"], "if permitted")),
    "cgroup_devices": device_rules,
    "cgroup_enter": lambda a: join(if_set(a["but"], "all but " + a["but"]), "before anything of the container's runs"),
    "cgroup_join": lambda a: join("the unified hierarchy", if_set(a["tolerant"], "if permitted")),
    "cgroup_open": "cgroup.procs of each v1 hierarchy, for init",
    "cgroup_own": value_of("uid", "given to user"),
    "cgroup_write": lambda a: f"{a['file']} ← {shown(a['file'], a['value'])}",
    "chroot": "into the root file system",
    "clone": lambda a: join(*a["kinds"], if_set(a["into_cgroup"], "into its cgroup")) or "no new namespace",
    "clone_joining": lambda a: join(
        join("joins", *a["kinds"]) if a["kinds"] else "nothing to join",
        if_set(a["chroot"], "and enters its root by chroot"),
    ),
    "clone_stage": clone_stage,
    "close_descriptors": lambda a: "all but the payload's" + if_set(a["keep"], " and what start needs"),
    "command": value_of("name", "look up"),
    "console": lambda a: join(
        "a terminal", if_set(a["bind"], "on /dev/console"), if_set(a["rows"], f"{a['columns']}x{a['rows']}")
    ),
    "copy_symlink": lambda a: f"{a['source']} → {a['destination']}, the symlink itself",
    "created": "the container is created",
    "device": device,
    "device_filesystem": lambda a: (
        f"for {a['nodes']} nodes" + if_set(a["joined"], ", with the ids of the joined user namespace")
    ),
    "device_mounts": "of each node",
    "device_node": device,
    "device_links": "/dev/fd stdin stdout stderr core ptmx",
    "domainname": value_of("name"),
    "enter_pid_namespace": "by a fork, whose child continues",
    "environment": lambda a: f"{len(a['variables'])} variables",
    "execute": lambda a: " ".join(a["arguments"]),
    "no_process": lambda a: "no process: start will fail",
    "exec_cgroup": lambda a: join(*(path for _, path in a["paths"]), if_set(a["chosen"], "as chosen")),
    "exec_cgroup_join": "the unified hierarchy, if the clone could not",
    "exec_root": "our root since the join",
    "executed": "the exec has succeeded",
    "existing_device": device,
    "final_affinity": lambda a: "CPUs " + ",".join(map(str, a["cpus"])),
    "fifo": "where init will wait for start",
    "gid_map": id_map,
    "gid_uid": lambda a: f"gid {a['gid']}, uid {a['uid']}",
    "groups": lambda a: " ".join(map(str, a["gids"])) or "none",
    "give_procfs": lambda a: join("its own directory of it", if_set(a["whole"], "or all of it")),
    "heed_signals": "HUP INT QUIT TERM kill it, until the exec",
    "hook": hook,
    "hook_output": lambda a: f"{a['name']} of the hooks → {a['path']}",
    "host_sysctl": lambda a: f"{a['path'].replace('/', '.')} = {a['value']}, from outside",
    "hostname": value_of("name"),
    "idmap_join": value_of("path", "ids as in"),
    "idmap_source": lambda a: "a user namespace with uids " + id_map({"mappings": a["uids"], "by_helper": False}),
    "initial_affinity": lambda a: "CPUs " + ",".join(map(str, a["cpus"])),
    "io_priority": lambda a: f"{by_value(IO_CLASSES, a['kind'])} {a['level']}",
    "keep_capabilities": "through the change of ids",
    "keep_hook": hook_later,
    "keyring": value_of("name", "join"),
    "let_go": "the runtime continues, and reads the pipe from here on",
    "loopback": "lo up",
    "make_cwd": value_of("path", after="if it is missing"),
    "mask": value_of("path", after="← nothing"),
    "memory_policy": memory_policy,
    "mount": mount,
    "mount_cgroup1": cgroup_mount,
    "mount_cgroup2": cgroup_mount,
    "mount_classic": mount,
    "mount_procfs": mount,
    "move_root": "without pivot_root",
    "net_devices": lambda a: ", ".join(here if here == there else f"{here} → {there}" for here, there in a["devices"]),
    "no_new_privileges": "irrevocably",
    "notify_directory": "for the socket that is NOTIFY_SOCKET in the container",
    "not_our_namespace": value_of("kind", "the joined", "namespace is not the runtime's own"),
    "oom_score_adj": value_of("score"),
    "open_mount_source": lambda a: join(
        f"{a['source']} for {a['destination']}", if_set(a["recursive"], "recursive"), if_set(a["idmap"], "id-mapped")
    ),
    "open_namespace": lambda a: f"{a['kind']} {a['path']}",
    "open_root": "of the container's process",
    "open_rootfs": value_of("path"),
    "personality": lambda a: by_value(DOMAINS, a["domain"]),
    "pid_file": value_of("path"),
    "pivot_root": "and the host's tree is detached",
    "private_procfs": lambda a: join("for our own reads and writes", if_set(a["sysctl"], "and one with /proc/sys")),
    "propagation": lambda a: "/ " + propagation_words(a["flags"]),
    "readonly_path": value_of("path"),
    "remount": remount,
    "remount_readonly": "mounts that had to stay writable until here",
    "report_pipe": "tells the runtime how the exec went",
    "reset_affinity": "to all CPUs of the cgroup",
    "reset_signals": "nothing ignored, nothing blocked",
    "restore_criu": "criu, in a mount namespace with the root filesystem where criu expects it",
    "restore_join": "criu, from which the processes inherit it",
    "restore_loopback": "lo up",
    "restore_mount_points": "those that the root filesystem lacks",
    "restore_namespaces": "by criu, with a first process that has not started",
    "restore_processes": "by criu, as they were",
    "restored": "the container runs",
    "rdt_group": lambda a: f"class of service {a['name']}" + if_set(a["make"], ", made if missing"),
    "rdt_join": "the class of service and the monitoring group",
    "rdt_keep": "keep the class of service",
    "rdt_monitoring": value_of("name"),
    "rdt_schema": lambda a: f"schemata ← {a['line']}" + if_set(a["compared"], " if the class is new or already has it"),
    "restoring": "delete finds it from here on",
    "raise_rlimit": lambda a: f"{a['name'].removeprefix('RLIMIT_').lower()} hard limit at least {limit(a['hard'])}",
    "rlimit_at_exec": lambda a: f"{rlimit(a)} at the exec",
    "rlimit": rlimit,
    "root_readonly": "/",
    "rootfs": value_of("path", after="on itself"),
    "save_state": "so that delete finds it whatever happens",
    "scheduler": scheduler,
    "seccomp_filter": seccomp_filter,
    "seccomp_listener": value_of("path", "to the agent at"),
    "seccomp_load": seccomp_load,
    "seccomp_receive": "the program",
    "selinux": value_of("label", "at the exec:"),
    "send_console": "the terminal's master to --console-socket",
    "send_pidfd": value_of("path", "to"),
    "session": "a new one",
    "stdio_null": lambda a: join("/dev/null of the container", if_set(not a["required"], "if it has one")),
    "stdio_owner": value_of("uid", "pipes and files to user"),
    "sysctl": lambda a: f"{a['path'].replace('/', '.')} = {a['value']}",
    "sysctl_done": "the procfs with /proc/sys is closed",
    "take_null": "to cover masked files",
    "systemd_join": "the v1 hierarchies that systemd does not use",
    "systemd_properties": systemd_properties,
    "systemd_scope": systemd_properties,
    "systemd_unit": lambda a: join(f"{a['slice_path']}/{a['unit']}", if_set(a["user"], "of the user's systemd")),
    "take_procfs": "from the host",
    "tell": value_of("barrier"),
    "tell_executing": "to start",
    "time_offsets": lambda a: ", ".join(f"{clock} {seconds:+}.{nano:09} s" for clock, seconds, nano in a["offsets"]),
    "uid_map": id_map,
    "umask": lambda a: f"{a['mask']:04o}",
    "undumpable": "processes in our namespaces cannot look into this one",
    "unshare_cgroup": "a cgroup namespace, rooted at its cgroup",
    "unshare_ipc": "an IPC namespace, whose message queues are root's",
    "use_rootfs": value_of("path"),
    "wait": value_of("barrier"),
    "wait_for_start": "at the FIFO",
    "working_directory": value_of("path"),
    "working_directory_again": value_of("path", after="as the final user, if root could not"),
}
