"""criu as a separate library: the program, its answers and messages, and a check of its images. Cold."""
