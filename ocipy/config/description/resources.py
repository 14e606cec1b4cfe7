"""The section linux.resources of config.json: limits of cgroups (config-linux.md, Control groups).

`update --resources` takes it alone as well.
"""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.markers import Deprecated, In, Since
from ocipy.config.description.values import Int64, PageSize, Uint16, Uint32, Uint64


class DeviceRule(TypedDict, total=False):
    """A rule of the device controller; of several that match, the last one counts."""

    allow: Required[bool]
    """Whether access is allowed or denied."""
    type: str
    """The kind of device: c is character, b is block, a or absent is any."""
    major: Int64
    """The major number; any if absent or -1."""
    minor: Int64
    """The minor number; any if absent or -1."""
    access: str
    """Which access: r (read), w (write), m (mknod), or several of them; all if absent."""


class Memory(TypedDict, total=False):
    """Limits of memory, in bytes; -1 is unlimited, 0 or absent is not set."""

    limit: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """How much memory."""
    reservation: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """How much is left to the container when memory is short: the soft limit."""
    swap: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """How much memory and swap together."""
    kernel: Annotated[Int64, Deprecated()]
    """How much kernel memory; newer kernels have no such limit."""
    kernelTCP: Annotated[Int64, Deprecated()]
    """How much memory for TCP buffers; cgroup v1 alone has it."""
    swappiness: Uint64
    """How readily memory is swapped out, 0 to 100; cgroup v1 alone has it."""
    disableOOMKiller: bool
    """Stop processes at the limit instead of killing one; cgroup v1 alone has it."""
    useHierarchy: Annotated[bool, Since("1.0.2"), In("cgroups/v1_files")]
    """Count the memory of cgroups below; cgroup v2 always does."""
    checkBeforeUpdate: Annotated[bool, Since("1.1"), In("cgroups/v2_files cgroups/cgroup")]
    """Refuse a limit below what is used already; cgroup v1 always does."""


class CPU(TypedDict, total=False):
    """Shares and limits of CPU time, and where processes may run; 0 or absent is not set."""

    shares: Annotated[Uint64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The weight among cgroups that want CPU time; 1024 is the kernel's default."""
    quota: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """Microseconds of CPU time in each period; not positive: no limit."""
    burst: Annotated[Uint64, Since("1.1")]
    """Microseconds of unused quota that may be saved up; at most the quota."""
    period: Annotated[Uint64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The length of a period in microseconds; 100000 is the kernel's default."""
    realtimeRuntime: Int64
    """Microseconds in each realtimePeriod for real-time processes; cgroup v1 alone has it."""
    realtimePeriod: Uint64
    """The length of a real-time period in microseconds; cgroup v1 alone has it."""
    cpus: Annotated[str, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """CPUs that processes may run on, such as 0-3,7."""
    mems: Annotated[str, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """NUMA nodes that memory may come from, such as 0-1."""
    idle: Annotated[Int64, Since("1.1"), In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """With 1, run only when nobody else wants the CPU, as SCHED_IDLE does; with 0, as usual."""


class WeightDevice(TypedDict, total=False):
    """The weight at one block device; it needs weight or leafWeight."""

    major: Required[Int64]
    """The device's major number."""
    minor: Required[Int64]
    """The device's minor number."""
    weight: Uint16
    """The weight at this device, 10 to 1000."""
    leafWeight: Uint16
    """The weight of the cgroup's own processes against cgroups below it; the CFQ scheduler alone had it."""


class ThrottleDevice(TypedDict):
    """The limit of a rate at one block device."""

    major: Int64
    """The device's major number."""
    minor: Int64
    """The device's minor number."""
    rate: Uint64
    """Bytes or operations each second."""


class BlockIO(TypedDict, total=False):
    """Weights and limits of block I/O."""

    weight: Annotated[Uint16, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """The weight at all block devices, 10 to 1000; 0 or absent is not set."""
    leafWeight: Uint16
    """The weight of the cgroup's own processes against cgroups below it; the CFQ scheduler alone had it."""
    weightDevice: list[WeightDevice]
    """Weights at single devices."""
    throttleReadBpsDevice: list[ThrottleDevice]
    """Limits of bytes read each second."""
    throttleWriteBpsDevice: list[ThrottleDevice]
    """Limits of bytes written each second."""
    throttleReadIOPSDevice: list[ThrottleDevice]
    """Limits of read operations each second."""
    throttleWriteIOPSDevice: list[ThrottleDevice]
    """Limits of write operations each second."""


class HugepageLimit(TypedDict):
    """A limit of huge pages of one size."""

    pageSize: PageSize
    """The size of the pages as the kernel names it, such as 2MB."""
    limit: Uint64
    """How many bytes of them."""


class InterfacePriority(TypedDict):
    """The priority of what leaves by one network device."""

    name: Annotated[str, In("cgroups/v1_files")]
    """The network device, as the host names it."""
    priority: Annotated[Uint32, In("cgroups/v1_files")]
    """The priority of packets that leave by it."""


class Network(TypedDict, total=False):
    """How packets of the container are marked; cgroup v1 alone has it."""

    classID: Uint32
    """The class that packets are marked with, for tc(8): net_cls."""
    priorities: list[InterfacePriority]
    """Priorities of what leaves by which network device: net_prio."""


class Pids(TypedDict, total=False):
    """A limit of processes."""

    limit: Annotated[Int64, In("cgroups/v1_files cgroups/v2_files systemd/properties")]
    """How many processes and threads there may be; -1 is no limit, 0 allows none."""


class Rdma(TypedDict, total=False):
    """Limits at one RDMA device; at least one is needed."""

    hcaHandles: Uint32
    """How many HCA handles."""
    hcaObjects: Uint32
    """How many HCA objects."""


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
    """Which devices may be used besides the default ones; the rules apply in this order."""
    memory: Annotated[
        Memory,
        In(
            "cgroups/resources cgroups/v1_files cgroups/v2_files systemd/properties",
            below="cgroups/v1_files cgroups/v2_files",
        ),
    ]
    """Limits of memory."""
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
    """Limits of huge pages, by their sizes."""
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
    """A limit of processes."""
    rdma: Annotated[
        dict[str, Rdma],
        Since("1.0.2"),
        In("cgroups/resources cgroups/v1_files cgroups/v2_files", below="cgroups/v1_files"),
    ]
    """Limits of RDMA devices, by their names."""
    unified: Annotated[dict[str, str], Since("1.1"), In("cgroups/resources systemd/properties")]
    """Values for files of the cgroup, by their names, such as memory.high; cgroup v2 only."""
