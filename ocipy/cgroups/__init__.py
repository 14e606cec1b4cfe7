"""Control groups v1, hybrid and v2 (cgroups(7)): a library of its own, that knows of containers only their limits.

layout.probe() says what the host has; cgroup.Cgroup is one container's place in it: made, joined, limited, frozen,
killed, removed. resources turns `resources` of config.json into writes, devices and device_program its device rules
into what v1 and v2 want. docs/cgroups.md says what is done where the specification leaves a choice.
"""
