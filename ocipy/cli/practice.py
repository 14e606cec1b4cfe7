"""Practice before a snapshot is recorded: calls the pure part of the hot commands.

CPython specializes a function's instructions after some calls (PEP 659). A process that runs one command rarely makes
that many, so the snapshot contains functions that have been called often enough. Nothing here touches the system. Only
the specialized instructions are kept, and what usual configs let the plan remember (remembered.py).
"""

from __future__ import annotations

from ocipy.cgroups.device_program import assemble
from ocipy.cgroups.devices import ALL, ANY, APPLIED, CHANGES, DEFAULT_NODES, DEFAULT_RULES, DENY_ALL, fold
from ocipy.cli.arguments import GLOBALS, HELP, Arguments, parse
from ocipy.cli.practice_init import practise_init
from ocipy.cli.table import HOT, load_command
from ocipy.config import mount_options
from ocipy.config.check import check
from ocipy.config.semantic import errors
from ocipy.config.template import rootless_template, template
from ocipy.linux import _kernel
from ocipy.operations import bundle
from ocipy.plan import build, capabilities, exec, masks
from ocipy.plan.exec_process import Changes, process_to_execute
from ocipy.plan.model import Host, Options
from ocipy.remembered import Remembered
from ocipy.systemd import dbus
from ocipy.systemd.bus import MANAGER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.cgroups.devices import Rule
    from ocipy.config.types import Config
    from ocipy.plan.model import Plan

ROUNDS = 40
"""CPython 3.11 specializes a function after 8 calls and 3.12 after 17; some instructions take several attempts."""

V1_CONTROLLERS = ("cpuset", "cpu,cpuacct", "memory", "devices", "freezer", "pids", "name=systemd")
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")

MOUNT_OPTIONS = (
    "nosuid noexec nodev",
    "nosuid noexec nodev ro",
    "nosuid noexec nodev relatime ro",
    "nosuid noexec nodev mode=1777 size=67108864",
    "ro nosuid noexec nodev",
    "rprivate nosuid noexec nodev relatime ro",
    "bind rprivate",
    "bind rprivate nosuid noexec nodev",
    "rbind rprivate",
    "rbind rprivate ro",
    "rbind rprivate rw",
    "rbind ro",
    "rbind ro rprivate",
    "rbind rw",
    "rw rbind rprivate",
    "ro rbind rprivate",
)
"""Lists that podman, Docker, containerd and CRI-O often write, apart from those that `ocipy spec` writes too."""

# The same for these. Docker and Kubernetes mask the same paths; each list has had additions.
_DOCKER = "/proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats /proc/sched_debug /proc/scsi"
_POWERCAP = "/sys/firmware /sys/devices/virtual/powercap"
MASKED_PATHS = (
    f"/proc/asound /proc/acpi {_DOCKER} /sys/firmware",
    f"/proc/asound /proc/acpi {_DOCKER} {_POWERCAP}",
    f"/proc/asound /proc/acpi /proc/interrupts {_DOCKER} {_POWERCAP}",
    "/proc/acpi /proc/asound /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list /proc/timer_stats "
    f"/proc/sched_debug {_POWERCAP} /proc/scsi",  # containerd
    f"/proc/acpi {_DOCKER} /sys/firmware /sys/fs/selinux /sys/dev/block",  # podman
)
READONLY_PATHS = ("/proc/asound /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger",)
_PODMAN = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT"
CAPABILITIES = (
    _PODMAN,
    f"{_PODMAN} MKNOD NET_RAW AUDIT_WRITE",
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE",
)
DEVICE_RULES: tuple[tuple[Rule, ...], ...] = (
    (),
    (  # Docker: null, zero, random, urandom, tty and console; and no fuse
        *((True, "c", major, minor, ALL) for major, minor in ((1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1))),
        (False, "c", 10, 229, ALL),
    ),
    (  # containerd: the default nodes, console, the ptys and ptmx
        *((True, "c", major, minor, ALL) for major, minor in DEFAULT_NODES.values()),
        (True, "c", 5, 1, ALL),
        (True, "c", 136, ANY, ALL),
        (True, "c", 5, 2, ALL),
    ),
)


def practise() -> None:
    """Compute what the hot commands compute before their first step: for root and for a user, on cgroup v1 and v2."""
    for number in range(ROUNDS):
        Remembered.learns = number == ROUNDS - 1  # computing the answers must have been practised too
        for command in HOT:
            parse(["--root", "/run/ocipy", command], GLOBALS, Arguments(), stop_at_positional=True)
            parse(["practice"], (*load_command(command).FLAGS, HELP), Arguments())
        _plan(template(), Host(cgroup_mode="v1", cgroup_controllers=V1_CONTROLLERS), "cgroupfs")
        _plan(template(), Host(cgroup_mode="v2", cgroup_controllers=V2_CONTROLLERS), "systemd")
        _plan(rootless_template(1000, 1000), Host(uid=1000, gid=1000, rootless=True, cgroup_mode="v2"), "disabled")
        for words in MOUNT_OPTIONS:
            mount_options.parse(words.split(" "))
        for words in MASKED_PATHS:
            masks.MASKS[tuple(words.split(" ")), ""]
        for words in READONLY_PATHS:
            masks.READONLY[tuple(words.split(" "))]
        for words in CAPABILITIES:
            capabilities.BITS[tuple("CAP_" + name for name in words.split(" "))]
        for rules in DEVICE_RULES:
            limit_devices((*rules, *DEFAULT_RULES))
            limit_devices((DENY_ALL, *rules, *DEFAULT_RULES))  # as engines write it, and `ocipy spec`
        _make_unit()
    Remembered.learns = False
    try:
        practise_init_lanes()
    except Exception:  # a new step may need an answer that practice_init.py lacks: then commands are only slower
        pass


def practise_init_lanes() -> None:
    """Take the steps of the init lanes of create and exec. Raises what a step raises."""
    document = template()
    document["process"]["terminal"] = False
    plans = _plan(document, Host(cgroup_mode="v2", cgroup_controllers=V2_CONTROLLERS), "cgroupfs")
    practise_init([plan.init for plan in plans], ROUNDS)


def _plan(document: dict[str, Any], host: Host, cgroup_manager: str) -> tuple[Plan, Plan]:
    """Return the plans of create and exec."""
    text = _kernel.json_dumps(document)
    options = Options(
        container_id="practice",
        bundle="/practice",
        state_directory="/practice/practice",
        has_console=True,
        systemd_cgroup=cgroup_manager == "systemd",
        no_cgroup=cgroup_manager == "disabled",
    )
    config: Config = bundle.parse(text, "config.json")
    check(config, [])
    errors(config, may_hold_nul=False)
    plan = build.build(config, host, options)
    target = exec.Target(kinds=("pid", "mount"), cgroups={})
    process = process_to_execute(config, None, Changes(args=("true",)))
    return plan, exec.build({**config, "process": process}, host, options, target)


def limit_devices(rules: tuple[Rule, ...]) -> None:
    """Compute what a step CgroupDevices does, on cgroup v2 and v1."""
    assemble(rules)
    inherited = "a *:* rwm\n"
    writes = CHANGES[inherited, rules]
    shown = inherited if fold(rules).allow else "".join(line + "\n" for _, line in writes[1:])
    assert APPLIED[shown, rules]


def _make_unit() -> None:
    properties = [
        ("Description", ("s", "practice")),
        ("DefaultDependencies", ("b", False)),
        ("MemoryMax", ("t", 1 << 30)),
        ("DeviceAllow", ("a(ss)", [("/dev/null", "rwm")])),
        ("PIDs", ("au", [1])),
    ]
    text = dbus.call(
        1, MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", ("practice.scope", "replace", properties, [])
    )
    message = dbus.read(text)
    assert message.body[0] == "practice.scope"
