"""The v1 hierarchies, which the process enters itself."""

from __future__ import annotations

from ocipy.plan.model import InitStep


class CgroupEnter(InitStep):
    """Write "0" to each `tasks` file that the host opened. skip: the hierarchy that init enters later, or ""."""

    skip: str

    def describe(self) -> str:
        return f"the v1 hierarchies except {self.skip}" if self.skip else "the v1 hierarchies not entered yet"
