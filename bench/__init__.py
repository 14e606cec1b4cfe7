"""Compares the runtime with others: times of its calls, and what each millisecond of `run` goes into."""
