"""The shape of config.json for Linux, as TypedDicts: only for type checkers, never imported at run time.

They are in config/description/. A null member counts as absent, as in Go's runtimes, so read members with `.get()`,
and only the required ones with `[]`. Integers are int, whatever their width; the checker has tested their range.
"""

from __future__ import annotations

from ocipy.config.description.document import Config, Hook, Hooks, Mount, Root
from ocipy.config.description.linux import (
    Device,
    IntelRdt,
    Linux,
    MemoryPolicy,
    Namespace,
    NetDevice,
    Personality,
    TimeOffset,
)
from ocipy.config.description.process import (
    Capabilities,
    ConsoleSize,
    ExecCPUAffinity,
    IOPriority,
    Process,
    Rlimit,
    Scheduler,
    User,
)
from ocipy.config.description.resources import (
    CPU,
    BlockIO,
    DeviceRule,
    HugepageLimit,
    Memory,
    Network,
    Pids,
    Rdma,
    Resources,
    ThrottleDevice,
    WeightDevice,
)
from ocipy.config.description.seccomp import Seccomp, Syscall, SyscallArgument
from ocipy.config.description.shared import IDMapping

__all__ = [
    "CPU",
    "BlockIO",
    "Capabilities",
    "Config",
    "ConsoleSize",
    "Device",
    "DeviceRule",
    "ExecCPUAffinity",
    "Hook",
    "Hooks",
    "HugepageLimit",
    "IDMapping",
    "IOPriority",
    "IntelRdt",
    "Linux",
    "Memory",
    "MemoryPolicy",
    "Mount",
    "Namespace",
    "NetDevice",
    "Network",
    "Personality",
    "Pids",
    "Process",
    "Rdma",
    "Resources",
    "Rlimit",
    "Root",
    "Scheduler",
    "Seccomp",
    "Syscall",
    "SyscallArgument",
    "ThrottleDevice",
    "TimeOffset",
    "User",
    "WeightDevice",
]
