"""The process that exec executes: the container's, or one given completely (`--process`), as changed by flags."""

from __future__ import annotations

from ocipy.errors import Error
from ocipy.linux.constants import NO_ID
from ocipy.plan.fields import NO_PROCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocipy.config.types import Config, Process, User

HIGHEST_ID = NO_ID - 1

# What a complete process inherits from the container's unless it says otherwise. Engines omit these, and a process in
# a container must not escape a confinement because nobody mentioned it.
INHERITED = (
    "apparmorProfile", "capabilities", "execCPUAffinity", "ioPriority", "noNewPrivileges", "oomScoreAdj", "rlimits",
    "scheduler", "selinuxLabel",
)  # fmt: skip


class Changes:
    """What the command line asks for. "" and () change nothing; None means not given.

    user: UID[:GID]. args: the command and its arguments, which need not be UTF-8.
    """

    __slots__ = (
        "additional_gids",
        "apparmor",
        "args",
        "capabilities",
        "cwd",
        "env",
        "label",
        "no_new_privileges",
        "terminal",
        "user",
    )

    def __init__(
        self,
        *,
        args: Sequence[str] = (),
        cwd: str = "",
        env: Sequence[str] = (),
        user: str = "",
        additional_gids: Sequence[str] = (),
        capabilities: Sequence[str] = (),
        no_new_privileges: bool | None = None,
        apparmor: str = "",
        label: str = "",
        terminal: bool = False,
    ) -> None:
        self.args = args
        self.cwd = cwd
        self.env = env
        self.user = user
        self.additional_gids = additional_gids
        self.capabilities = capabilities
        self.no_new_privileges = no_new_privileges
        self.apparmor = apparmor
        self.label = label
        self.terminal = terminal


def process_to_execute(config: Config, given: Process | None, changes: Changes) -> Process:
    """Return the process. config: the container's, as saved. given: that of --process, or None. Raises Error."""
    own = config.get("process") or NO_PROCESS
    result: Process
    if given is not None:
        result = given.copy()
        for name in INHERITED:
            if given.get(name) in (None, "", []) and own.get(name) is not None:
                result[name] = own[name]  # type: ignore[literal-required]
        result["terminal"] = changes.terminal or bool(given.get("terminal"))
    else:
        if not changes.args:
            raise Error("exec args cannot be empty", hint="give a command after the container's ID, or --process FILE")
        result = own.copy()
        # The container's terminal belongs to its first process; this one has its own, or none.
        result["terminal"] = changes.terminal
    result["user"] = _user(own.get("user") or {}, result.get("user") or {}, changes)
    _apply(result, changes)
    return result


def _apply(process: Process, changes: Changes) -> None:
    if changes.args:
        process["args"] = list(changes.args)
    if changes.cwd:
        if not changes.cwd.startswith("/"):
            raise Error("Cwd must be an absolute path", pointer="--cwd")
        process["cwd"] = changes.cwd
    if changes.env:
        for entry in changes.env:
            if "=" not in entry[1:]:
                raise Error(f"must be NAME=VALUE, not {entry!r}", pointer="--env")
        process["env"] = [*(process.get("env") or ()), *changes.env]
    if changes.no_new_privileges is not None:
        process["noNewPrivileges"] = changes.no_new_privileges
    if changes.apparmor:
        process["apparmorProfile"] = changes.apparmor
    if changes.label:
        process["selinuxLabel"] = changes.label
    if changes.capabilities:
        _add_capabilities(process, changes.capabilities)


def _add_capabilities(process: Process, names: Sequence[str]) -> None:
    """Add to bounding, effective and permitted, never to inheritable (CVE-2022-29162).

    Add to ambient, which inheritable bounds, only if the process has an inheritable set, as runc does.
    """
    sets = (process.get("capabilities") or {}).copy()
    sets["bounding"] = [*(sets.get("bounding") or ()), *names]
    sets["effective"] = [*(sets.get("effective") or ()), *names]
    sets["permitted"] = [*(sets.get("permitted") or ()), *names]
    if sets.get("inheritable") is not None:
        sets["ambient"] = [*(sets.get("ambient") or ()), *names]
    process["capabilities"] = sets


def _user(own: User, user: User, changes: Changes) -> User:
    """Accept numbers only: names, or digits that the image's passwd uses as a name, are not ids (CVE-2016-3697)."""
    result = user.copy()
    if changes.user:
        uid, colon, gid = changes.user.partition(":")
        result["uid"] = _number(uid, "uid", "--user")
        if colon:
            result["gid"] = _number(gid, "gid", "--user")
    if changes.additional_gids:
        added = [_number(text, "gid", "--additional-gids") for text in changes.additional_gids]
        result["additionalGids"] = [*(result.get("additionalGids") or ()), *added]
    if result.get("umask") is None and own.get("umask") is not None:
        result["umask"] = own["umask"]
    return result


def _number(text: str, kind: str, flag: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > HIGHEST_ID:
        raise Error(
            f"bad {kind}: {text!r} is not a number from 0 to {HIGHEST_ID}",
            pointer=flag,
            hint="names are not looked up: UID[:GID]" if flag == "--user" else "",
        )
    return int(text)
