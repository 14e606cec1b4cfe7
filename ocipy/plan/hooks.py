"""hooks: programs run at six points of a container's life (config.md, POSIX-platform hooks).

Four kinds belong to create, and are steps of its plan. start and delete run poststart and poststop, as saved in the
state.
"""

from __future__ import annotations

from ocipy.plan.model import HostStep, InitStep, Step, if_set, phrase
from ocipy.plan.seccomp import late_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypedDict

    from ocipy.config.types import Config, Hook
    from ocipy.plan.model import Planner

    class Arguments(TypedDict):
        """Those of a HookStep: mypy compares the two wherever one is made. It cannot derive one from the other, and a
        hook as a single argument would change what `ocipy plan` prints."""

        kind: str
        index: int
        path: str
        args: tuple[str, ...] | None
        env: tuple[str, ...] | None
        timeout: int | None


OUTPUT_ANNOTATIONS = {"stdout": "run.oci.hooks.stdout", "stderr": "run.oci.hooks.stderr"}


class HookStep(Step):
    """A hook. timeout: seconds, or None. env: None for the one that the specification prescribes."""

    kind: str
    index: int
    path: str
    args: tuple[str, ...] | None
    env: tuple[str, ...] | None
    timeout: int | None

    def describe(self) -> str:
        timeout = if_set(self.timeout, f", timeout {self.timeout} s")
        return phrase(self.kind, self.path, *(self.args or ())[1:]) + timeout


class RuntimeHook(HookStep, HostStep):
    """Run a prestart or createRuntime hook, in the runtime's namespaces."""

    action = "hook"


class KeepHook(HookStep, HostStep):
    """Have start (poststart) or delete (poststop) run it."""

    def describe(self) -> str:
        return super().describe() + (", run by start" if self.kind == "poststart" else ", run by delete")


class ContainerHook(HookStep, InitStep):
    """Run a createContainer or startContainer hook. filter: flags and optional of its SeccompLoad, or None."""

    action = "hook"
    filter: tuple[int, bool] | None

    def describe(self) -> str:
        return super().describe() + if_set(self.filter, ", under the seccomp filter")


class HookOutput(HostStep):
    """Open the file that gets the standard output, or error, of all hooks."""

    name: str
    path: str

    def describe(self) -> str:
        return f"{self.name} of the hooks → {self.path}"


def plan_hooks_runtime(planner: Planner) -> None:
    """prestart, then createRuntime: run by the host, once init has its mounts and before it leaves the host's root."""
    for kind in ("prestart", "createRuntime"):
        for pointer, hook in _hooks(planner.config, kind):
            planner.on_host(RuntimeHook(pointer, **hook))


def plan_hooks_create_container(planner: Planner) -> None:
    """createContainer: run by init, in the container's namespaces but still with the host's root."""
    for pointer, hook in _hooks(planner.config, "createContainer"):
        planner.in_init(ContainerHook(pointer, **hook, filter=None))


def plan_hooks_start_container(planner: Planner) -> None:
    """startContainer: run by init after start has been called, with the same privileges as the payload.

    A filter that init loads only for its exec is loaded for each hook too: the program belongs to the image.
    """
    for pointer, hook in _hooks(planner.config, "startContainer"):
        planner.in_init(ContainerHook(pointer, **hook, filter=late_filter(planner.config)))


def plan_hooks_output(planner: Planner) -> None:
    """crun's annotations run.oci.hooks.stdout and .stderr: files that receive the output of all hooks.

    The host opens them before init exists: the path is a host path, and init would look it up in the container.
    """
    for name, annotation in OUTPUT_ANNOTATIONS.items():
        path = output_path(planner.config.get("annotations") or {}, annotation, planner.options.bundle)
        if path:
            planner.on_host(HookOutput("/annotations/" + annotation, name=name, path=path))


def output_path(annotations: Mapping[str, str], annotation: str, bundle: str) -> str:
    """Return the file that an annotation names, or ""; relative to the bundle, as in crun."""
    given = annotations.get(annotation, "")
    return f"{bundle}/{given}" if given and given[0] != "/" else given


def plan_hooks_later(planner: Planner) -> None:
    """poststart and poststop: keep them in the state, for start and delete."""
    for kind in ("poststart", "poststop"):
        for pointer, hook in _hooks(planner.config, kind):
            planner.on_host(KeepHook(pointer, **hook))


def _hooks(config: Config, kind: str) -> Iterator[tuple[str, Arguments]]:
    """Yield the pointer and the arguments of each hook of a kind."""
    hooks: list[Hook] = (config.get("hooks") or {}).get(kind) or []  # type: ignore[assignment]
    for index, hook in enumerate(hooks):
        assert hook["path"].startswith("/")
        args, env = hook.get("args"), hook.get("env")
        yield (
            f"/hooks/{kind}/{index}",
            {
                "kind": kind,
                "index": index,
                "path": hook["path"],
                "args": tuple(args) if args else None,
                "env": None if env is None else tuple(env),
                "timeout": hook.get("timeout"),
            },
        )
