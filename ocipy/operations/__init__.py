"""What can be done with a container, an operation a module: create, start, kill, delete, exec, update, checkpoint, …

An operation takes the lock, looks at the state, has a plan carried out or undone, and writes the state.
"""
