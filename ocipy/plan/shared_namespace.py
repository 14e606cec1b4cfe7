"""Namespaces joined by path that must not be the host's: a hostname or a sysctl would change the host."""

from __future__ import annotations

from ocipy.plan.model import HostStep


class NotOurNamespace(HostStep):
    """Refuse a joined namespace that is the runtime's."""

    kind: str

    def describe(self) -> str:
        return f"the joined {self.kind} namespace must not be the runtime's"
