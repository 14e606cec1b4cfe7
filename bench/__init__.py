"""Compares the runtime with others: the times of its calls, and where each millisecond of `run` goes."""
