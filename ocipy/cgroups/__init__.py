"""Control groups v1, hybrid and v2 (cgroups(7)): a library of its own, that knows of containers only their limits.

probe() says what the host has; Cgroup is one container's place in it: made, joined, limited, frozen, killed, removed.
resources turns `resources` of config.json into writes, devices and device_program its device rules into what v1 and
v2 want. docs/cgroups.md says what is done where the specification leaves a choice.
"""

from __future__ import annotations

from ocipy.cgroups.cgroup import Cgroup as Cgroup
from ocipy.cgroups.layout import Layout as Layout
from ocipy.cgroups.layout import probe as probe
