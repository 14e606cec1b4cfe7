"""One thin module per command: arguments in, exit status out."""
