"""The host lane: what the runtime does on the host for a plan. One module per concern, named as in plan/ and init/."""
