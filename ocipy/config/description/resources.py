"""The linux.resources section of config.json: cgroup limits (config-linux.md, Control groups).

`update --resources` also takes it by itself.
"""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.markers import Deprecated, In, Since
from ocipy.config.description.values import Int64, PageSize, Uint16, Uint32, Uint64


class DeviceRule(TypedDict, total=False):
    """A rule of the device controller; the last matching rule decides."""

    allow: Required[bool]
    """Whether access is allowed or denied."""
    type: str
    """The kind of device: c (character) or b (block); any if it is a or absent."""
    major: Int64
    """The major number; any if absent or -1."""
    minor: Int64
    """The minor number; any if absent or -1."""
    access: str
    """The access: r (read), w (write), m (mknod), or several of them; all if absent."""


class Memory(TypedDict, total=False):
    """Memory limits in bytes; -1 means unlimited, 0 or absent means not set."""

    limit: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The memory limit."""
    reservation: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The soft limit: what the container may keep when memory is short."""
    swap: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The limit on the sum of memory and swap."""
    kernel: Annotated[Int64, Deprecated()]
    """The limit on kernel memory; newer kernels have no such limit."""
    kernelTCP: Annotated[Int64, Deprecated()]
    """The limit on memory for TCP buffers; cgroup v1 only."""
    swappiness: Uint64
    """How readily memory is swapped out, 0 to 100; cgroup v1 only."""
    disableOOMKiller: bool
    """Make processes wait at the limit instead of killing one; cgroup v1 only."""
    useHierarchy: Annotated[bool, Since("1.0.2"), In("cgroups/v1_files")]
    """Count the memory of child cgroups too; cgroup v2 always does."""
    checkBeforeUpdate: Annotated[bool, Since("1.1"), In("cgroups/v2_files cgroups/cgroup")]
    """Refuse a limit below the current usage; cgroup v1 always does."""


class CPU(TypedDict, total=False):
    """Shares and limits of CPU time, and the allowed CPUs; 0 or absent means not set."""

    shares: Annotated[Uint64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The weight among cgroups that want CPU time; 1024 is the kernel's default."""
    quota: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """Microseconds of CPU time in each period; no limit unless positive."""
    burst: Annotated[Uint64, Since("1.1")]
    """Microseconds of unused quota that may be saved up; at most the quota."""
    period: Annotated[Uint64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The length of a period in microseconds; 100000 is the kernel's default."""
    realtimeRuntime: Int64
    """Microseconds in each realtimePeriod for real-time processes; cgroup v1 only."""
    realtimePeriod: Uint64
    """The length of a real-time period in microseconds; cgroup v1 only."""
    cpus: Annotated[str, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """CPUs that processes may run on, such as 0-3,7."""
    mems: Annotated[str, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """NUMA nodes that memory may come from, such as 0-1."""
    idle: Annotated[Int64, Since("1.1"), In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """If 1, run only when no other process wants the CPU, as with SCHED_IDLE; if 0, run as usual."""


class WeightDevice(TypedDict, total=False):
    """The weight at one block device; it needs weight or leafWeight."""

    major: Required[Int64]
    """The device's major number."""
    minor: Required[Int64]
    """The device's minor number."""
    weight: Uint16
    """The weight at this device, 10 to 1000."""
    leafWeight: Uint16
    """The weight of the cgroup's own processes relative to child cgroups; only the CFQ scheduler supported it."""


class ThrottleDevice(TypedDict):
    """A rate limit at one block device."""

    major: Int64
    """The device's major number."""
    minor: Int64
    """The device's minor number."""
    rate: Uint64
    """Bytes or operations per second."""


class BlockIO(TypedDict, total=False):
    """Weights and limits of block I/O."""

    weight: Annotated[Uint16, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The weight at all block devices, 10 to 1000; 0 or absent means not set."""
    leafWeight: Uint16
    """The weight of the cgroup's own processes relative to child cgroups; only the CFQ scheduler supported it."""
    weightDevice: list[WeightDevice]
    """Weights at individual devices."""
    throttleReadBpsDevice: list[ThrottleDevice]
    """Limits on bytes read per second."""
    throttleWriteBpsDevice: list[ThrottleDevice]
    """Limits on bytes written per second."""
    throttleReadIOPSDevice: list[ThrottleDevice]
    """Limits on read operations per second."""
    throttleWriteIOPSDevice: list[ThrottleDevice]
    """Limits on write operations per second."""


class HugepageLimit(TypedDict):
    """A limit on huge pages of one size."""

    pageSize: PageSize
    """The size of the pages as the kernel names it, such as 2MB."""
    limit: Uint64
    """The limit in bytes."""


class InterfacePriority(TypedDict):
    """The priority of packets sent through one network device."""

    name: Annotated[str, In("cgroups/v1_files")]
    """The network device's name on the host."""
    priority: Annotated[Uint32, In("cgroups/v1_files")]
    """The priority of packets sent through it."""


class Network(TypedDict, total=False):
    """How the container's packets are marked; cgroup v1 only."""

    classID: Uint32
    """The class id that packets are marked with, for tc(8): net_cls."""
    priorities: list[InterfacePriority]
    """Packet priorities by network device: net_prio."""


class Pids(TypedDict, total=False):
    """The limit on processes."""

    limit: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The maximum number of processes and threads; -1 means no limit, 0 allows none."""


class Rdma(TypedDict, total=False):
    """Limits on one RDMA device; at least one is required."""

    hcaHandles: Uint32
    """The maximum number of HCA handles."""
    hcaObjects: Uint32
    """The maximum number of HCA objects."""


class Resources(TypedDict, total=False):
    """Limits of the container's cgroup."""

    devices: Annotated[
        list[DeviceRule],
        In(
            "plan/cgroup plan/device_rules host/cgroup systemd/properties cgroups/devices cgroups/device_filter"
            " cgroups/device_program",
            below="plan/device_rules cgroups/devices cgroups/device_program",
        ),
    ]
    """Rules for devices in addition to the default ones, applied in this order."""
    memory: Annotated[
        Memory,
        In(
            "cgroups/resources cgroups/v1_files cgroups/v2_files systemd/properties",
            below="cgroups/v1_files cgroups/v2_files",
        ),
    ]
    """Memory limits."""
    cpu: Annotated[
        CPU,
        In(
            "cgroups/resources cgroups/v1_files cgroups/v2_files systemd/properties",
            below="cgroups/v1_files cgroups/v2_files",
        ),
    ]
    """Shares and limits of CPU time."""
    blockIO: Annotated[
        BlockIO,
        In(
            "cgroups/resources cgroups/v1_files cgroups/v2_files systemd/properties",
            below="cgroups/v1_files cgroups/v2_files",
        ),
    ]
    """Weights and limits of block I/O."""
    hugepageLimits: Annotated[list[HugepageLimit], In("cgroups/resources", below="cgroups/v1_files cgroups/v2_files")]
    """Limits on huge pages, by size."""
    network: Annotated[
        Network, In("cgroups/resources cgroups/v1_files cgroups/v2_files", below="cgroups/v1_files cgroups/v2_files")
    ]
    """How packets are marked."""
    pids: Annotated[
        Pids,
        In(
            "cgroups/resources cgroups/v1_files cgroups/v2_files systemd/properties",
            below="cgroups/v1_files cgroups/v2_files",
        ),
    ]
    """The limit on processes."""
    rdma: Annotated[
        dict[str, Rdma],
        Since("1.0.2"),
        In("cgroups/resources cgroups/v1_files cgroups/v2_files", below="cgroups/v1_files"),
    ]
    """Limits on RDMA devices, by name."""
    unified: Annotated[dict[str, str], Since("1.1"), In("cgroups/resources systemd/properties")]
    """Values to write into the cgroup's files, by name, such as memory.high; cgroup v2 only."""
