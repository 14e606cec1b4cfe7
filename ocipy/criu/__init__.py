"""criu as a library of its own: the program and its answers, the messages' binary form, a look at its images. Cold."""
