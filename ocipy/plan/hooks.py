"""hooks: programs run at six points of a container's life (config.md, POSIX-platform hooks).

Four kinds belong to create and start and are steps of a plan. The state machine runs poststart and poststop later, from
the copy in the state.
"""

from __future__ import annotations

from ocipy.plan.seccomp import late_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ocipy.config.types import Config, Hook
    from ocipy.plan.model import Host, Options, Plan

ANNOTATIONS = {"stdout": "run.oci.hooks.stdout", "stderr": "run.oci.hooks.stderr"}


def plan_hooks_runtime(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """prestart, then createRuntime: run by the host, once init has its mounts and before it leaves the host's root."""
    for kind in ("prestart", "createRuntime"):
        for index, hook in enumerate(_hooks(config, kind)):
            plan.on_host("hook", f"/hooks/{kind}/{index}", kind=kind, index=index, **_arguments(hook))


def plan_hooks_create_container(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """createContainer: run by init, in the container's namespaces but still with the host's root."""
    _plan_in_init(plan, config, "createContainer", None)


def plan_hooks_start_container(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """startContainer: run by init after start was called, with the same privileges as the payload.

    A filter that init loads only for its exec is loaded for each hook too: the program belongs to the image.
    """
    _plan_in_init(plan, config, "startContainer", late_filter(config))


def plan_hooks_output(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """crun's annotations run.oci.hooks.stdout and .stderr: files that receive the output of all hooks.

    The host opens them before init exists: the path is a host path, and init would look it up in the container.
    """
    for name, annotation in ANNOTATIONS.items():
        path = output_path(config.get("annotations") or {}, annotation, options.bundle)
        if path:
            plan.on_host("hook_output", "/annotations/" + annotation, name=name, path=path)


def output_path(annotations: Mapping[str, str], annotation: str, bundle: str) -> str:
    """Return the file that an annotation names, or ""; relative to the bundle, as in crun."""
    given = annotations.get(annotation, "")
    return f"{bundle}/{given}" if given and given[0] != "/" else given


def plan_hooks_later(plan: Plan, config: Config, host: Host, options: Options) -> None:
    """poststart and poststop: keep them in the state, for start and delete."""
    for kind in ("poststart", "poststop"):
        for index, hook in enumerate(_hooks(config, kind)):
            plan.on_host("keep_hook", f"/hooks/{kind}/{index}", kind=kind, index=index, **_arguments(hook))


def _plan_in_init(plan: Plan, config: Config, kind: str, filter: tuple[int, bool] | None) -> None:
    for index, hook in enumerate(_hooks(config, kind)):
        arguments = _arguments(hook)
        plan.in_init("hook", f"/hooks/{kind}/{index}", kind=kind, index=index, filter=filter, **arguments)


def _hooks(config: Config, kind: str) -> list[Hook]:
    hooks = config.get("hooks") or {}
    return hooks.get(kind) or []  # type: ignore[return-value]


def _arguments(hook: Hook) -> dict[str, object]:
    """Return path, args, env and timeout in the form of a step."""
    args, env = hook.get("args"), hook.get("env")
    assert hook["path"].startswith("/")
    return {
        "path": hook["path"],
        "args": tuple(args) if args else None,
        "env": tuple(env) if env is not None else None,
        "timeout": hook.get("timeout"),
    }
