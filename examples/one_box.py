"""A program that makes boxes: `ocipy.box`, the library under `ocipy box` (docs/library.md).

Needs root, a static busybox, and conmon: PYTHONPATH=. .venv/bin/python examples/one_box.py DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

import ocipy
from ocipy.box import Box, Boxes, ExecRequest, Image, Limits, LogLine, Places, Request


def show(what: str, box: Box) -> None:
    """Print a box's current state."""
    print(f"{box.record.name} {what}: {box.status()}")


def main(place: Path) -> None:
    """Make boxes below a directory."""
    boxes = Boxes(Places(place / "data", place / "run"))  # by default: the command line's places

    limits = Limits(memory=50 << 20, pids=20)
    hello = boxes.create(Request("busybox", ("echo", "hello from a box"), network="none", limits=limits), name="hello")
    print("it ended with", hello.run(), flush=True)
    show("has run", hello)
    hello.remove()

    script = "echo it says this; echo and that >&2; cat /etc/hostname > /srv/name; exec sleep 1000"
    web = boxes.create(Request("busybox", ("sh", "-c", script), network="none", hostname="web"), name="web")
    try:
        web.start()
        show("is started", web)
        print("another command ended with", web.exec(ExecRequest(("sh", "-c", "exit 7"))))
        web.stop(patience=0)
        print("it was ended with", web.wait())
        said: list[LogLine] = sorted(web.logs(), key=lambda line: line.stream)
        print(" ".join(f"{line.stream}: {line.text.decode().strip()}." for line in said))
        boxes.find("nobody")
    except ocipy.Error as error:
        print("error:", error.line)
    finally:
        web.remove(force=True)

    images: list[Image] = boxes.images.all()
    print("images:", ", ".join(image.name for image in images), "- boxes:", len(boxes.all()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
