"""Validation of config.json, and the typed view of it."""
