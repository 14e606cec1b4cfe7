"""The hooks in the runtime's namespaces: prestart and createRuntime in the host lane; poststart and poststop."""

from __future__ import annotations

import posix

from ocipy.container.interrupts import check as check_interrupts
from ocipy.errors import Error, refused
from ocipy.init.hooks import GivenUp, run_hook
from ocipy.linux.channel import Closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocipy.container.context import HostRun


def hook(
    run: HostRun,
    *,
    kind: str,
    index: int,
    path: str,
    args: Sequence[str] | None,
    env: Sequence[str] | None,
    timeout: int | None,
) -> None:
    """A prestart or createRuntime hook: in the bundle, with the runtime's own environment if it has none. Raises Error.

    Its state says created, as the specification's life cycle does: these hooks are what follows step 2.
    """
    try:
        run_hook(
            kind, index, path, args, env, timeout, run.state.for_hooks("created", run.pid),
            directory=run.options.bundle, default_env=posix.environ, give_up=(run.interrupts, run.pidfd),
        )  # fmt: skip
    except GivenUp:
        check_interrupts(run.interrupts)
        raise Closed("the init process has ended") from None


def keep_hook(
    run: HostRun,
    *,
    kind: str,
    index: int,
    path: str,
    args: Sequence[str] | None,
    env: Sequence[str] | None,
    timeout: int | None,
) -> None:
    """Have start (poststart) or delete (poststop) run it, whatever the bundle says by then."""
    kept = {
        "path": path,
        "args": None if args is None else list(args),
        "env": None if env is None else list(env),
        "timeout": timeout,
    }
    run.state.hooks.setdefault(kind, []).append(kept)


def run_hooks(
    hooks: dict[str, list[Any]],
    kind: str,
    state: dict[str, Any],
    *,
    directory: str,
    keep_going: bool = False,
    interrupts: int = -1,
) -> list[Error]:
    """Run the hooks of one kind in their order: poststart (after the exec), poststop (after the container is gone).

    hooks: as keep_hook kept them. state: what they get on standard input. directory: the bundle; gone by now, it is
    the root. The first failure ends the list, unless keep_going (poststop: the rest go on as if it had succeeded).
    interrupts: see container/interrupts.py. Gives the errors.
    """
    errors: list[Error] = []
    try:
        posix.stat(directory)
    except OSError:
        directory = "/"
    for index, kept in enumerate(hooks.get(kind) or ()):
        try:
            run_hook(
                kind, index, kept["path"], kept.get("args"), kept.get("env"), kept.get("timeout"), state,
                directory=directory, default_env=posix.environ, give_up=(interrupts,),
            )  # fmt: skip
        except GivenUp:
            check_interrupts(interrupts)
            raise
        except OSError as error:
            errors.append(refused(error, "hook " + kept["path"], f"/hooks/{kind}/{index}"))
        except Error as error:
            errors.append(error)
        if errors and not keep_going:
            break
    return errors


ACTIONS = {"hook": hook, "keep_hook": keep_hook}
