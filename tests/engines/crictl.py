"""crictl, which Debian does not package: built once from its Go module, into the project's cache."""

from __future__ import annotations

import os
import subprocess

from conformance.suite import cache_root, find_go

VERSION = "1.34.0"


def crictl() -> str:
    """The path of the program. Raises subprocess.CalledProcessError if it can't be built."""
    folder = cache_root() / f"crictl-{VERSION}"
    path = folder / "crictl"
    if not path.exists():
        print(f"building crictl {VERSION} into {folder}")
        environment = {**os.environ, "GOBIN": str(folder), "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
        command = [find_go(), "install", "-ldflags=-s -w", f"sigs.k8s.io/cri-tools/cmd/crictl@v{VERSION}"]
        subprocess.run(command, check=True, env=environment)
    return str(path)
