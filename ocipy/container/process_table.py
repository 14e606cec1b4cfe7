"""The lines of the host's ps(1) that are about a container's processes. Cold."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence

from ocipy.errors import Error


def table(pids: Collection[int], options: Sequence[str]) -> str:
    """What `ps OPTIONS` prints of these processes, with its heading. Raises Error."""
    try:
        answer = subprocess.run(["ps", *options], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise Error("cannot run ps", errno=error.errno or 0, hint="it is in the package procps") from None
    if answer.returncode:
        said = os.fsdecode(answer.stderr.strip() or answer.stdout.strip()).partition("\n")[0]
        raise Error(f"ps {' '.join(options)} ended with status {answer.returncode}: {said}")
    return chosen(os.fsdecode(answer.stdout), pids)


def chosen(text: str, pids: Collection[int]) -> str:
    """Of the output of ps the heading, and the lines with one of these ids under PID. Raises Error without a PID."""
    heading, *lines = text.splitlines()
    try:
        column = heading.split().index("PID")
    except ValueError:
        raise Error("couldn't find PID field in ps output", hint="have the options show the column PID") from None
    kept = [heading]
    for line in lines:
        fields = line.split()
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            kept.append(line)
    return "\n".join(kept) + "\n"
