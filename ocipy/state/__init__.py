"""What is known of a container from one command to the next: its directory, the lock, state.json, and who is alive."""
