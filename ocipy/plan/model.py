"""A plan: what will be done, in which order, by which process, and for which field of config.json.

A plan is data. Making it is pure (plan/build.py), carrying it out is a loop (host/lane.py
and init/lane.py), printing it is a table (plan/describe.py).
"""

from __future__ import annotations

import sys

from ocipy.plan.fields import Namespaces
from ocipy.plan.rare import asked_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from dataclasses import field
    from typing import ClassVar, Protocol, TypeVar, dataclass_transform

    from ocipy.config.mount_options import MountEntry
    from ocipy.config.types import Config

    Class = TypeVar("Class", bound=type)

    class Namespace:
        """Holds what is assigned to it."""

    class Run(Protocol):
        """What an onlooker sees of a run (host/context.py). pid: of init, 0 before the clone."""

        config: Config
        pid: int
        plan: Plan

    class Onlooker(Protocol):
        """Yields the steps of the lanes, each when it is due: for --trace and --debug."""

        def host_lane(self, run: Run) -> Iterator[HostStep]:
            """The steps of the host lane."""

        def init_lane(self, steps: Sequence[InitStep]) -> Iterator[InitStep]:
            """The steps of the init lane, inside the init process."""

else:
    # A class with its own __dict__ needs twice the memory, and its instances write to it: a page for each kind.
    Namespace = type(sys.implementation)
    # The core phase has no typing: only the type checker sees the members of a step as arguments of its constructor.
    field = None

    def dataclass_transform(**_options: object) -> Callable[[Class], Class]:
        """Decorate with nothing."""
        return lambda kind: kind


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Step(Namespace):
    """One kernel-facing action. A subclass is a kind of step, in plan/CONCERN.py; its annotations are its arguments.

    pointer: the JSON pointer of the config field that asked for it; "" if it is always done.
    action: what plans, traces and errors call it; by default, NoNewPrivileges is "no_new_privileges".
    words: what it does, for a kind whose words do not depend on its arguments. The others override describe.

    __dict__ has the arguments that were given, in their order, and nothing else: `ocipy plan` prints vars(step).
    """

    __slots__ = ("pointer",)
    action: ClassVar[str]
    words: ClassVar[str] = ""

    if TYPE_CHECKING:
        pointer: str
    else:

        def __init__(self, pointer="", /, **arguments):
            self.pointer = pointer
            self.__dict__.update(arguments)

    def __init_subclass__(cls) -> None:
        if "action" not in cls.__dict__:
            cls.action = "".join("_" + letter if letter.isupper() else letter for letter in cls.__name__)[1:].lower()

    def describe(self) -> str:
        """Say what the step does, without its action and pointer. Imports what only the description needs."""
        return self.words

    @property
    def tells(self) -> str:
        """The name of what this step gives the other lane, where a step awaits it: a barrier, a descriptor; or ""."""
        return ""

    @property
    def awaits(self) -> str:
        """The name of what this step awaits, and a step of the other lane tells; or ""."""
        return ""

    @property
    def title(self) -> str:
        """The action and its subject, which distinguishes it from others of its kind."""
        for member in ("path", "destination", "barrier", "name"):
            value = self.__dict__.get(member)
            if isinstance(value, str) and value:
                return self.action + " " + value
        return self.action

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Step)
            and type(self) is type(other)
            and self.pointer == other.pointer
            and self.__dict__ == other.__dict__
        )

    def __ne__(self, other: object) -> bool:
        return not self == other  # SimpleNamespace's own does not compare the kind

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        arguments = "".join(f", {name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({self.pointer!r}{arguments})"


class HostStep(Step):
    """A step of the process on the host. A function in host/ carries it out (host/context.py, carries_out)."""

    if TYPE_CHECKING:
        pointer: str = field(default="", kw_only=False)


class InitStep(Step):
    """A step of the process that becomes the container. A function in init/ carries it out."""

    if TYPE_CHECKING:
        pointer: str = field(default="", kw_only=False)


def phrase(*parts: str) -> str:
    """Join the parts of a description that are not empty."""
    return " ".join(part for part in parts if part)


def counted(number: int, noun: str) -> str:
    """Return "1 node" or "2 nodes"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def if_set(value: object, text: str) -> str:
    """Return the text if the value is set."""
    return text if value else ""


class Plan:
    """Two ordered lists of steps, one per process, and the warnings for the user.

    host: the steps of the process on the host. init: of the process that becomes the container.
    A step "wait" in one lane waits for the step "tell" of the same barrier in the other.
    warnings: (pointer, text) pairs.
    """

    __slots__ = ("host", "init", "warnings")

    def __init__(self) -> None:
        self.host: list[HostStep] = []
        self.init: list[InitStep] = []
        self.warnings: list[tuple[str, str]] = []


class Planner:
    """What the concerns plan from, and the plan that they make.

    on_host, in_init: append a step to the host lane, to the init lane.
    config: checked. host: the machine. namespaces: of the config. rare: the concerns of plan/rare.py that it asks for.
    filter_loaded: an earlier step loads the seccomp filter. mounts: of the config, None until they are read
    (plan/mounts.py); dev_is_bound: one of them is a bind mount on /dev. sets: effective, permitted, inheritable and
    ambient capabilities, None until plan_bounding has computed them.
    """

    __slots__ = (
        "config",
        "dev_is_bound",
        "filter_loaded",
        "host",
        "in_init",
        "mounts",
        "namespaces",
        "on_host",
        "options",
        "plan",
        "rare",
        "sets",
    )

    def __init__(self, config: Config, host: Host, options: Options) -> None:
        self.config = config
        self.host = host
        self.options = options
        self.namespaces = Namespaces(config)
        self.rare = asked_for(config)
        self.plan = plan = Plan()
        self.on_host: Callable[[HostStep], None] = plan.host.append
        self.in_init: Callable[[InitStep], None] = plan.init.append
        self.filter_loaded = False
        self.mounts: list[MountEntry] | None = None
        self.dev_is_bound = False
        self.sets: tuple[int, int, int, int] | None = None

    def warn(self, pointer: str, text: str) -> None:
        """Warn the user: create logs the warning, plan and validate print it."""
        self.plan.warnings.append((pointer, text))


class Host:
    """What a plan needs to know of the machine; set by host/machine.py, invented in tests.

    kernel: (major, minor) of the running kernel.
    uid, gid: effective ids of the runtime. in_user_namespace: the runtime is not in the initial user namespace.
    clones_mounts: its mount namespace belongs to its own user namespace, so that open_tree(2) may copy mounts.
    rootless: lacks the privileges of the host's root (uid not 0, or in a user namespace, or --rootless).
    capabilities: bit mask of the runtime's permitted set. last_capability: highest known to the kernel.
    cgroup_mode: "v1", "hybrid" or "v2". cgroup_controllers: names of the v1 hierarchies, as mounted
    ("cpu,cpuacct", "memory", "name=systemd", …), or the controllers of the v2 root.
    apparmor, selinux: the LSM is enabled.
    """

    __slots__ = (
        "apparmor",
        "capabilities",
        "cgroup_controllers",
        "cgroup_mode",
        "clones_mounts",
        "gid",
        "in_user_namespace",
        "kernel",
        "last_capability",
        "rootless",
        "selinux",
        "uid",
    )

    def __init__(
        self,
        *,
        kernel: tuple[int, int] = (6, 1),
        uid: int = 0,
        gid: int = 0,
        in_user_namespace: bool = False,
        clones_mounts: bool = True,
        rootless: bool = False,
        capabilities: int = (1 << 41) - 1,
        last_capability: int = 40,
        cgroup_mode: str = "v2",
        cgroup_controllers: tuple[str, ...] = (),
        apparmor: bool = False,
        selinux: bool = False,
    ) -> None:
        self.kernel = kernel
        self.uid = uid
        self.gid = gid
        self.in_user_namespace = in_user_namespace
        self.clones_mounts = clones_mounts
        self.rootless = rootless
        self.capabilities = capabilities
        self.last_capability = last_capability
        self.cgroup_mode = cgroup_mode
        self.cgroup_controllers = cgroup_controllers
        self.apparmor = apparmor
        self.selinux = selinux


class Options:
    """What the command line adds to the bundle.

    container_id, bundle (absolute path), state_directory (absolute path of the container's own).
    preserve_fds: how many descriptors from 3 upwards go to the payload; listen_fds: those of LISTEN_FDS,
    which come first. config: the name of the configuration, relative to the bundle or absolute.
    no_cgroup: the container stays in the caller's cgroup (--cgroup-manager=disabled).
    has_console: a --console-socket was given, or run is in the foreground.
    notify_socket: the caller has a NOTIFY_SOCKET, so the container gets one (plan/notify.py).
    starts: create is followed by start at once (run).
    pid_file, pidfd_socket: paths that the process is reported to, "" for none.
    """

    __slots__ = (
        "bundle",
        "config",
        "container_id",
        "has_console",
        "listen_fds",
        "no_cgroup",
        "no_new_keyring",
        "no_pivot",
        "notify_socket",
        "pid_file",
        "pidfd_socket",
        "preserve_fds",
        "starts",
        "state_directory",
        "systemd_cgroup",
    )

    def __init__(
        self,
        *,
        container_id: str,
        bundle: str,
        state_directory: str = "",
        config: str = "config.json",
        preserve_fds: int = 0,
        listen_fds: int = 0,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        has_console: bool = False,
        systemd_cgroup: bool = False,
        no_cgroup: bool = False,
        notify_socket: bool = False,
        pid_file: str = "",
        pidfd_socket: str = "",
        starts: bool = False,
    ) -> None:
        self.container_id = container_id
        self.bundle = bundle
        self.config = config
        self.state_directory = state_directory
        self.preserve_fds = preserve_fds
        self.listen_fds = listen_fds
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.has_console = has_console
        self.systemd_cgroup = systemd_cgroup
        self.no_cgroup = no_cgroup
        self.notify_socket = notify_socket
        self.pid_file = pid_file
        self.pidfd_socket = pidfd_socket
        self.starts = starts
