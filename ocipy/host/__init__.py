"""The host lane: what the runtime does on the host for a plan, one module a concern, named as in plan/ and init/."""
