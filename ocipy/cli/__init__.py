"""The command line: its arguments, its help, other tools' names for our commands, and a thin module per command."""
