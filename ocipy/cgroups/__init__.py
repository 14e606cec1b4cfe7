"""Control groups v1, hybrid and v2 (cgroups(7)): a separate library that knows nothing of containers but their limits.

layout.probe() returns what the host has. cgroup.Cgroup is one container's cgroup, which can be made, joined, limited,
frozen, killed and removed. resources.py turns `resources` of config.json into writes; devices.py and device_program.py
turn its device rules into what v1 and v2 need. docs/cgroups.md explains our choices where the specification leaves one.
"""
