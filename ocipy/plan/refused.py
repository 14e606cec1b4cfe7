"""What is refused.

A field that nothing carries out is an error that names it, never silence (runtime.md: if the runtime cannot apply a
property it MUST generate an error). The sections vm, solaris, windows, zos and freebsd are none: config.md gives each
to a target platform, and the platform of a config that is run here is Linux; `ocipy validate` warns of them.
"""

from __future__ import annotations

from ocipy.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ocipy.config.types import Config
    from ocipy.plan.model import Host, Options

# Member of the linux section, and why it is not there.
LINUX = {"intelRdt": "classes of service of the resctrl file system are not implemented"}


def refuse(config: Config, host: Host, options: Options) -> None:
    """Raise Error for the first field that is not implemented."""
    _refuse(config.get("linux") or {}, "/linux", LINUX)


def _refuse(section: Mapping[str, object], pointer: str, refused: Mapping[str, str]) -> None:
    for name, reason in refused.items():
        if section.get(name) is not None:
            raise Error("not supported", pointer=f"{pointer}/{name}", hint=reason)
