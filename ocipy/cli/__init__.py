"""The command line: its arguments, its help, what other tools call our commands, and a thin module a command."""
