"""linux.seccomp: the system call filter.

The host lane compiles the profile to BPF (host/seccomp.py), the init lane loads it. Without no_new_privs seccomp(2)
requires CAP_SYS_ADMIN, so the filter is loaded before the ids and capabilities change. With it, the filter is loaded
as late as possible, so that a profile need not permit much more than the payload's own system calls.
"""

from __future__ import annotations

from ocipy.linux.constants import (
    SECCOMP_FILTER_FLAG_LOG,
    SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
)
from ocipy.plan.model import HostStep, InitStep, counted, if_set, phrase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocipy.config.types import Config, Seccomp
    from ocipy.plan.model import Planner

FLAGS = {
    # TSYNC would include other threads, but init has only one.
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}
POINTER = "/linux/seccomp"
INSTRUCTION = 8  # bytes: struct sock_filter, linux/filter.h


class SeccompFilter(HostStep):
    """Compile the profile to BPF."""

    profile: Seccomp

    def describe(self) -> str:
        profile = self.profile
        others = " ".join(name.removeprefix("SCMP_ARCH_").lower() for name in profile.get("architectures") or ())
        rules = len(profile.get("syscalls") or ())
        return phrase(
            f"{profile['defaultAction']} by default, {counted(rules, 'rule')}", if_set(others, "for " + others)
        )


class SeccompReceive(InitStep):
    """Read the program from the host's descriptor."""

    words = "the compiled filter"


class SeccompListener(HostStep):
    """Take the listener from init and send it to the agent (seccomp_unotify(2))."""

    path: str
    metadata: str

    def describe(self) -> str:
        return phrase("to the agent at", self.path)


class SeccompLoad(InitStep):
    """Load the program. flags: SECCOMP_FILTER_FLAG_…. optional: omit SPEC_ALLOW if the kernel does not know it."""

    flags: int
    optional: bool

    def describe(self) -> str:
        words = []
        for name, flag in FLAGS.items():
            if flag and self.flags & flag:
                unless = self.optional and flag == SECCOMP_FILTER_FLAG_SPEC_ALLOW
                words.append(name.removeprefix("SECCOMP_FILTER_FLAG_").lower() + if_set(unless, " if possible"))
        if self.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER:
            words.append("a listener")
        return "the filter" + if_set(words, " with " + ", ".join(words))


def plan_seccomp_compile(planner: Planner) -> None:
    """Have the profile compiled to BPF, early on the host."""
    profile = _profile(planner.config)
    if profile is None:
        planner.warn(POINTER + "/defaultAction", "is empty, so there is no filter")
        return
    planner.on_host(SeccompFilter(POINTER, profile=profile))
    # Read from the descriptor at once: it is closed long before the filter is loaded.
    planner.in_init(SeccompReceive(POINTER))


def plan_seccomp_early(planner: Planner) -> None:
    """Without no_new_privs: load the filter before the bounding set and the ids change."""
    config = planner.config
    profile = _profile(config)
    if profile is not None and not _no_new_privileges(config):
        _load(planner, profile)


def plan_seccomp_listener(planner: Planner) -> None:
    """With no_new_privs and a listener: load the filter last, before init tells create that it waits.

    create sends the listener to the agent, so it must still be running.
    """
    config = planner.config
    profile = _profile(config)
    if profile is not None and _no_new_privileges(config) and uses_notify(profile):
        _load(planner, profile)


def plan_seccomp_late(planner: Planner) -> None:
    """With no_new_privs: load the filter as the last step before the exec."""
    config = planner.config
    profile = _profile(config)
    if profile is not None and _is_late(config, profile):
        _load(planner, profile)


def late_filter(config: Config) -> tuple[int, bool] | None:
    """Return the arguments of plan_seccomp_late's seccomp_load: flags, optional. None if it loads nothing."""
    profile = _profile(config)
    return _flags(profile) if profile is not None and _is_late(config, profile) else None


def _is_late(config: Config, profile: Seccomp) -> bool:
    return _no_new_privileges(config) and not uses_notify(profile)


def uses_notify(profile: Seccomp) -> bool:
    """Whether a rule hands system calls to an agent (seccomp_unotify(2))."""
    return any(rule["action"] == "SCMP_ACT_NOTIFY" for rule in profile.get("syscalls") or ())


def _profile(config: Config) -> Seccomp | None:
    """Return None also if there is no default action: Go programs write such a section to mean no filter."""
    profile = (config.get("linux") or {}).get("seccomp")
    return profile if profile and profile["defaultAction"] else None


def _no_new_privileges(config: Config) -> bool:
    process = config.get("process")
    return bool(process and process.get("noNewPrivileges"))


def _load(planner: Planner, profile: Seccomp) -> None:
    planner.filter_loaded = True
    flags, optional = _flags(profile)
    if uses_notify(profile):
        flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER
        planner.on_host(
            SeccompListener(
                POINTER + "/listenerPath",
                path=profile["listenerPath"],
                metadata=profile.get("listenerMetadata") or "",
            )
        )
    planner.in_init(SeccompLoad(POINTER, flags=flags, optional=optional))


def _flags(profile: Seccomp) -> tuple[int, bool]:
    """Return the flags, and whether SPEC_ALLOW is among them without being requested."""
    names = profile.get("flags")
    # Null differs from an empty list: without flags, speculative store bypass stays permitted, if the kernel knows the
    # flag. The mitigation is expensive and is the payload's decision (prctl(2), PR_SPEC_STORE_BYPASS).
    flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW if names is None else 0
    for name in names or ():
        flags |= FLAGS[name]
    return flags, names is None
