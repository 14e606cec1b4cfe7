"""python -m ocipy: the same commands under an ordinary interpreter, without the sealing. For tests and debugging."""

import os
import sys

from ocipy.cli import main

if __name__ == "__main__":
    status = main(sys.argv)
    sys.stdout.flush()
    os._exit(status)
