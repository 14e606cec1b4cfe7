"""The top level of config.json, except the process and linux sections (config.md)."""

from __future__ import annotations

from typing import Annotated, Required, TypedDict

from ocipy.config.description.linux import Linux
from ocipy.config.description.markers import Deprecated, In, Only, Range, Since
from ocipy.config.description.process import Process
from ocipy.config.description.shared import IDMapping


class Root(TypedDict, total=False):
    """The container's root filesystem."""

    path: Required[str]
    """The directory that becomes /: absolute, or relative to the bundle."""
    readonly: Annotated[bool, In("plan/rootfs init/rootfs")]
    """Mount it read-only."""


class Mount(TypedDict, total=False):
    """A mount in the container."""

    destination: Required[str]
    """Its path in the container; a relative path is relative to /."""
    source: str
    """A device, the file or directory to bind (relative to the bundle), or just a name."""
    type: Annotated[str, In("plan/mounts plan/cgroup_mount")]
    """The filesystem, as in /proc/filesystems; a bind mount needs none."""
    options: Annotated[list[str], In("config/mount_options plan/mounts plan/idmap init/mounts init/copy_up")]
    """Options as in mount(8): flags of the mount, and options of the filesystem itself."""
    uidMappings: Annotated[
        list[IDMapping], Since("1.1"), Only("Linux"), In("plan/idmap host/idmap", below="plan/namespaces")
    ]
    """Map the owners of files on this bind mount: an id-mapped mount."""
    gidMappings: Annotated[
        list[IDMapping], Since("1.1"), Only("Linux"), In("plan/idmap host/idmap", below="plan/namespaces")
    ]
    """Map the groups of files on this bind mount; requires uidMappings."""


class Hook(TypedDict, total=False):
    """A program run at one point of the container's life. It gets the container's state on its standard input."""

    path: Required[str]
    """The absolute path of the program."""
    args: list[str]
    """Its arguments, argv[0] first."""
    env: list[str]
    """Its complete environment, as NAME=VALUE."""
    timeout: Annotated[int, Range(1)]
    """Seconds after which it is killed; this counts as a failure."""


class Hooks(TypedDict, total=False):
    """Programs run at six points of the container's life, each list in order."""

    prestart: Annotated[list[Hook], Deprecated(), In("plan/hooks host/hooks", below="hooks")]
    """On the host, during create, before createRuntime: use createRuntime instead."""
    createRuntime: Annotated[list[Hook], Since("1.0.2"), In("plan/hooks host/hooks", below="hooks")]
    """On the host, during create, once the namespaces exist and before the root is changed."""
    createContainer: Annotated[list[Hook], Since("1.0.2"), In("plan/hooks init/hooks", below="hooks")]
    """In the container's namespaces, during create, before the root is changed: the path is on the host."""
    startContainer: Annotated[list[Hook], Since("1.0.2"), In("plan/hooks init/hooks", below="hooks")]
    """In the container, during start, right before its command is executed."""
    poststart: Annotated[list[Hook], In("plan/hooks host/hooks", below="hooks")]
    """On the host, after start has executed the command."""
    poststop: Annotated[list[Hook], In("plan/hooks host/hooks", below="hooks")]
    """On the host, after delete; a failure is only logged."""


class Config(TypedDict, total=False):
    """The config.json of a bundle, which describes its container."""

    ociVersion: Required[str]
    """The version of the specification that the document follows, such as 1.3.0."""
    root: Annotated[Root, In("rootfs")]
    """The container's root filesystem; ocipy requires it, as the specification does on Linux."""
    process: Annotated[Process, In("process")]
    """The container's first process; without it there is nothing to start."""
    hostname: Annotated[str, In("uts")]
    """The host name in the container; needs a uts namespace."""
    domainname: Annotated[str, Since("1.1"), In("uts")]
    """The NIS domain name in the container; needs a uts namespace."""
    mounts: Annotated[list[Mount], In("mounts")]
    """The mounts in the container, in this order."""
    hooks: Annotated[Hooks, Only("POSIX"), In("hooks")]
    """Programs run at six points of the container's life."""
    annotations: dict[str, str]
    """Text for engines and tools, under keys like org.example.key; `ocipy state` prints it."""
    linux: Annotated[Linux, Only("Linux")]
    """Settings for Linux: namespaces, cgroups, devices, seccomp and more."""
