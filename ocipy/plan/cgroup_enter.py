"""The v1 hierarchies, which the process enters itself."""

from __future__ import annotations

from ocipy.plan.model import InitStep, if_set, join


class CgroupEnter(InitStep):
    """Write "0" to each `tasks` file that the host opened. but: the hierarchy that init enters later, or ""."""

    but: str

    def describe(self) -> str:
        return join(if_set(self.but, "all but " + self.but), "before anything of the container's runs")
