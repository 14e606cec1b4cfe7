"""linux.seccomp: the filter of system calls.

Making BPF of the profile (host/seccomp.py) is a step of the host lane, loading it one of
the init lane: where no_new_privs is not set, seccomp(2) asks for CAP_SYS_ADMIN, so the filter comes before the ids
and capabilities go; where it is, the filter comes as late as can be, so that a profile has to permit little
besides what the payload does itself.
"""

from __future__ import annotations

from ocipy.linux.constants import (
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Seccomp
    from ocipy.plan.model import Host, Options, Plan

# Actions, operators and architectures are those of seccomp.h (libseccomp), as config-linux.md lists them.
ACTIONS = (
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
)
OPERATORS = (
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
)
ARCHITECTURES = (
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
)
FLAGS = {
    # The threads that TSYNC would bring along are not there: init has one.
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}
WITH_ERRNO = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}  # and the largest number: seccomp(2)
POINTER = "/linux/seccomp"


def plan_seccomp_compile(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Have the profile made into BPF, early on the host."""
    profile = _profile(config)
    if profile is None:
        plan.warn(POINTER + "/defaultAction", "is empty, so there is no filter")
        return
    plan.on_host("seccomp_filter", POINTER, profile=profile)
    # Out of the descriptor at once: it is closed long before the filter is loaded.
    plan.in_init("seccomp_receive", POINTER)


def plan_seccomp_early(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """Without no_new_privs: the filter, before the bounding set and the ids go."""
    profile = _profile(config)
    if profile is not None and not _no_new_privileges(config):
        _load(plan, profile)


def plan_seccomp_listener(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """With no_new_privs and a listener: the filter, as the last thing before init tells create that it waits.

    create sends the listener to the agent, so it must still be there.
    """
    profile = _profile(config)
    if profile is not None and _no_new_privileges(config) and uses_notify(profile):
        _load(plan, profile)


def plan_seccomp_late(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """With no_new_privs: the filter, as the last thing before the exec."""
    profile = _profile(config)
    if profile is not None and _is_late(config, profile):
        _load(plan, profile)


def late_filter(config: Config) -> tuple[int, bool] | None:
    """What seccomp_load of plan_seccomp_late gets: flags, optional. None if that loads nothing."""
    profile = _profile(config)
    return _flags(profile) if profile is not None and _is_late(config, profile) else None


def _is_late(config: Config, profile: Seccomp) -> bool:
    return _no_new_privileges(config) and not uses_notify(profile)


def uses_notify(profile: Seccomp) -> bool:
    """A rule hands system calls to an agent (seccomp_unotify(2))."""
    return any(rule["action"] == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or ())


def _profile(config: Config) -> Seccomp | None:
    """None also where there is no default action: Go's programs write such a section where they mean none."""
    profile = (config.get("linux") or {}).get("seccomp")
    return profile if profile and profile["defaultAction"] else None


def _no_new_privileges(config: Config) -> bool:
    process = config.get("process")
    return bool(process and process.get("noNewPrivileges"))


def _load(plan: Plan, profile: Seccomp) -> None:
    flags, optional = _flags(profile)
    if uses_notify(profile):
        flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER
        plan.on_host(
            "seccomp_listener",
            POINTER + "/listenerPath",
            path=profile["listenerPath"],
            metadata=profile.get("listenerMetadata") or "",
        )
    plan.in_init("seccomp_load", POINTER, flags=flags, optional=optional)


def _flags(profile: Seccomp) -> tuple[int, bool]:
    """The flags, and whether SPEC_ALLOW is among them without having been asked for."""
    names = profile.get("flags")
    # Null is not the empty list: without a word on flags, speculative store bypass stays permitted, where the kernel
    # knows the flag; the mitigation costs much and is of the payload's concern (prctl(2), PR_SPEC_STORE_BYPASS).
    flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW if names is None else 0
    for name in names or ():
        flags |= FLAGS[name]
    return flags, names is None
