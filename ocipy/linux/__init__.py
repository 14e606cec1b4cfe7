"""The only door to the kernel: thin system-call wrappers in C, and typed Python over them."""
