"""The v1 hierarchies, which the process enters itself."""

from __future__ import annotations

from ocipy.plan.model import InitStep


class CgroupEnter(InitStep):
    """Write "0" to each `tasks` file that the host opened. but: the hierarchy that init enters later, or ""."""

    but: str

    def describe(self) -> str:
        return f"the v1 hierarchies except {self.but}" if self.but else "the v1 hierarchies not entered yet"
