"""Control groups v1, hybrid and v2 (cgroups(7)): a separate library that knows only the limits of containers.

layout.probe() returns what the host has; cgroup.Cgroup is one container's place in it: made, joined, limited, frozen,
killed, removed. resources turns `resources` of config.json into writes; devices and device_program turn its device
rules into what v1 and v2 need. docs/cgroups.md explains what is done where the specification leaves a choice.
"""
