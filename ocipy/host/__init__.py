"""The host lane of a plan: what the runtime does on the host. One module per concern, named as in plan/ and init/."""
