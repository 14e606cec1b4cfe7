"""The operations on a container, one module each: create, start, kill, delete, exec, update, checkpoint, …

An operation takes the lock, checks the state, carries out or undoes a plan, and writes the state.
"""
