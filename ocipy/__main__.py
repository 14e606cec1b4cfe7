"""python -m ocipy: the same commands under an ordinary interpreter, without sealing. For tests and debugging."""

import os
import signal
import sys

from ocipy.cli.main import main

if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # as the launcher does
    status = main(sys.argv)
    sys.stdout.flush()
    os._exit(status)
