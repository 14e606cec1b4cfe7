"""Runs the OCI runtime-tools validation suite against any runtime, and reports."""
