"""One thin module a command: arguments in, exit status out."""
