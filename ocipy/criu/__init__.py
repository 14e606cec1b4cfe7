"""criu as a separate library: the program, its messages, its directories, and a check of its images. Cold."""
