"""The tests' image: a busybox root filesystem in `docker save`'s format, which all engines load."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from tests.engines.engine import PATH
from tests.harness import BusyboxRootfs


def save(rootfs: BusyboxRootfs, archive: Path, *names: str, command: tuple[str, ...] = ("sh",)) -> None:
    """Write the image to `archive`, under these names."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        tar.add(rootfs.path, arcname=".")
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": [f"PATH={PATH}"], "Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}"]},
        "history": [{"created": "2000-01-01T00:00:00Z", "created_by": "tests"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": list(names), "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for name, document in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(document).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        tar.add(layer, arcname="layer.tar")
    layer.unlink()
