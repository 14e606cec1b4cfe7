"""The state machine on the host: the state directory, locks, hooks, and the host lane of a plan."""
