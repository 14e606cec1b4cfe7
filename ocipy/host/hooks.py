"""Hooks in the runtime's namespaces: prestart and createRuntime (steps of the host lane), poststart and poststop."""

from __future__ import annotations

import errno
import posix

from ocipy import log
from ocipy.children.interrupts import catch, check_interrupts
from ocipy.errors import Error, refused, reported_as
from ocipy.host.context import carries_out
from ocipy.init.hooks import GivenUp, outputs_of, run_hook
from ocipy.linux import _kernel
from ocipy.linux.channel import Closed
from ocipy.linux.constants import O_APPEND, O_CLOEXEC, O_CREAT, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_WRONLY
from ocipy.plan.hooks import OUTPUT_ANNOTATIONS, HookOutput, KeepHook, RuntimeHook, output_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocipy.host.context import HostRun
    from ocipy.state.state import State


@carries_out(RuntimeHook)
def hook(run: HostRun, step: RuntimeHook) -> None:
    """Run a prestart or createRuntime hook in the bundle, with the runtime's environment if it has none. Raises Error.

    The state that it reads says created, since these hooks follow step 2 of the lifecycle (runtime.md).
    """
    run.hooks_ran = True
    try:
        run_hook(
            step.kind, step.index, step.path, step.args, step.env, step.timeout,
            run.state.for_hooks("created", run.pid), directory=run.options.bundle, default_env=posix.environ,
            give_up=(run.interrupts, run.pidfd), outputs=outputs_of(run.fds.outputs),
        )  # fmt: skip
    except GivenUp:
        check_interrupts(run.interrupts)
        raise Closed("the init process has ended") from None


@carries_out(HookOutput)
def hook_output(run: HostRun, step: HookOutput) -> None:
    """Open the file that receives the standard output, or error, of all hooks. Init inherits it for its own hooks."""
    run.fds.outputs[step.name] = _open_output(step.path)


def _open_output(path: str) -> int:
    """Open a file for appending. If it is missing, make it, accessible only to its owner. Raises Error.

    Symlinks are not followed: in a directory that others can write to, they could choose the file that we write to.
    A FIFO without a reader does not block us.
    """
    hint = {errno.ELOOP: "it is a symbolic link", errno.ENXIO: "it is a FIFO that nobody reads"}
    with reported_as(f"cannot open {path} for the output of the hooks", hint=hint):
        fd = posix.open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0o600)
    posix.set_blocking(fd, True)
    return fd


@carries_out(KeepHook)
def keep_hook(run: HostRun, step: KeepHook) -> None:
    """Save a hook for start (poststart) or delete (poststop), which run it even if the bundle has changed by then."""
    kept = {
        "path": step.path,
        "args": None if step.args is None else list(step.args),
        "env": None if step.env is None else list(step.env),
        "timeout": step.timeout,
    }
    run.state.hooks.setdefault(step.kind, []).append(kept)


def run_hooks(
    hooks: dict[str, list[Any]],
    kind: str,
    state: dict[str, Any],
    *,
    directory: str,
    keep_going: bool = False,
    interrupts: int = -1,
) -> list[Error]:
    """Run the hooks of one kind in order: poststart (after the exec), poststop (after the container is gone).

    hooks: as keep_hook saved them. state: what they read on standard input. directory: the bundle, in which they run;
    "/" if it is gone. A failure skips the remaining hooks, unless keep_going (poststop: they run as if it had
    succeeded). interrupts: see children/interrupts.py. Returns the errors.
    """
    errors: list[Error] = []
    outputs: dict[str, int] = {}
    if hooks.get(kind):
        for name, annotation in OUTPUT_ANNOTATIONS.items():
            try:
                path = output_path(state.get("annotations") or {}, annotation, directory)
                if path:
                    outputs[name] = _open_output(path)
            except Error as error:
                error.pointer = "/annotations/" + annotation
                errors.append(error)
    try:
        posix.stat(directory)
    except OSError:
        directory = "/"
    for index, kept in enumerate(hooks.get(kind) or ()):
        if errors and not keep_going:
            break
        try:
            run_hook(
                kind, index, kept["path"], kept.get("args"), kept.get("env"), kept.get("timeout"), state,
                directory=directory, default_env=posix.environ, give_up=(interrupts,), outputs=outputs_of(outputs),
            )  # fmt: skip
        except GivenUp:
            check_interrupts(interrupts)
            raise
        except OSError as error:
            errors.append(refused(error, "hook " + kept["path"], f"/hooks/{kind}/{index}"))
        except Error as error:
            errors.append(error)
    for fd in outputs.values():
        posix.close(fd)
    return errors


def run_poststart(state: State, interrupts: int) -> None:
    """Run the poststart hooks. Raises the Error of the first that fails, or of a signal (children/interrupts.py)."""
    running = state.for_hooks("running")
    for failure in run_hooks(state.hooks, "poststart", running, directory=state.bundle, interrupts=interrupts):
        raise failure


def run_poststop(state: State) -> None:
    """Run the poststop hooks. Log failures as warnings and continue.

    A signal that interrupts us kills the current hook and skips the rest. One that arrived earlier, and may have ended
    the container, does not count.
    """
    interrupts = catch()
    while _kernel.read_signal(interrupts) is not None:
        pass
    stopped = state.for_hooks("stopped", 0)
    try:
        problems = run_hooks(
            state.hooks, "poststop", stopped, directory=state.bundle, keep_going=True, interrupts=interrupts
        )
        for problem in problems:
            log.warning(problem.line)
    except Error as problem:
        log.warning(f"{problem.line}: the poststop hooks were interrupted")
    finally:
        posix.close(interrupts)
