"""What commands know of a container: its state directory, the lock, state.json, and whether its process is alive."""
