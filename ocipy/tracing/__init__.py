"""What the user sees of a command at work: --trace with its format, and the steps logged by --debug."""
