"""What `ocipy features` prints (features.md, features-linux.md)."""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.markers import Since
from ocipy.config.description.values import (
    CapabilityName,
    MemoryPolicyFlag,
    MemoryPolicyMode,
    NamespaceType,
    SeccompAction,
    SeccompArchitecture,
    SeccompFlag,
    SeccompOperator,
)


class CgroupFeatures(TypedDict, total=False):
    """The kinds of cgroups that the runtime supports."""

    v1: bool
    """Cgroup v1."""
    v2: bool
    """Cgroup v2."""
    systemd: bool
    """Cgroups made by the system's systemd."""
    systemdUser: bool
    """Cgroups made by a user's systemd."""
    rdma: bool
    """The rdma controller."""


class SeccompFeatures(TypedDict, total=False):
    """The runtime's support for seccomp."""

    enabled: bool
    """Whether it supports filters."""
    actions: list[SeccompAction]
    """Known actions."""
    operators: list[SeccompOperator]
    """Known operators."""
    archs: list[SeccompArchitecture]
    """Known architectures."""
    knownFlags: list[SeccompFlag]
    """Known flags."""
    supportedFlags: list[SeccompFlag]
    """Flags that this build can set."""


class Enabled(TypedDict, total=False):
    """Whether the runtime supports a feature."""

    enabled: bool
    """Whether it is supported."""


class IntelRdtFeatures(TypedDict, total=False):
    """The runtime's support for Intel RDT."""

    enabled: bool
    """Whether it supports linux.intelRdt."""
    schemata: Annotated[bool, Since("1.3")]
    """Whether it supports linux.intelRdt.schemata."""
    monitoring: Annotated[bool, Since("1.3")]
    """Whether it supports linux.intelRdt.enableMonitoring."""


class MountExtensions(TypedDict, total=False):
    """Kinds of mounts beyond the usual ones."""

    idmap: Enabled
    """Id-mapped mounts."""


class MemoryPolicyFeatures(TypedDict, total=False):
    """The runtime's support for NUMA policies."""

    modes: list[MemoryPolicyMode]
    """Known modes."""
    flags: list[MemoryPolicyFlag]
    """Known flags."""


class LinuxFeatures(TypedDict, total=False):
    """The runtime's support for the linux section of config.json."""

    namespaces: list[NamespaceType]
    """Known kinds of namespaces."""
    capabilities: list[CapabilityName]
    """Known capabilities."""
    cgroup: CgroupFeatures
    """The kinds of cgroups that it supports."""
    seccomp: SeccompFeatures
    """Its support for seccomp."""
    apparmor: Enabled
    """AppArmor."""
    selinux: Enabled
    """SELinux."""
    intelRdt: IntelRdtFeatures
    """Its support for Intel RDT."""
    mountExtensions: Annotated[MountExtensions, Since("1.2")]
    """Kinds of mounts beyond the usual ones."""
    netDevices: Annotated[Enabled, Since("1.3")]
    """Network devices that move into the container."""
    memoryPolicy: Annotated[MemoryPolicyFeatures, Since("1.3")]
    """Its support for NUMA policies."""


class Features(TypedDict, total=False):
    """What a runtime supports."""

    ociVersionMin: Required[str]
    """The oldest version of the specification that it accepts."""
    ociVersionMax: Required[str]
    """The newest version of the specification that it accepts."""
    hooks: list[str]
    """Known kinds of hooks."""
    mountOptions: list[str]
    """Mount options that it handles itself, in addition to those of filesystems."""
    annotations: dict[str, str]
    """Anything else that the runtime reports about itself."""
    potentiallyUnsafeConfigAnnotations: Annotated[list[str], Since("1.2")]
    """Annotations of config.json that change what the runtime does; one that ends in a dot is a prefix."""
    linux: LinuxFeatures
    """Its support for the linux section of config.json."""
