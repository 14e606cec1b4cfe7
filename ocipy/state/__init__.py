"""What commands know about a container: its state directory, the lock, state.json, and whether its process is alive."""
