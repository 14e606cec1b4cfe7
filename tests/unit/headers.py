"""The values of C expressions in this machine's headers, by a C program."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest


def values(directory: Path, headers: Iterable[str], expressions: Mapping[str, str]) -> dict[str, int]:
    """The value of each expression, by its name. Leaves out those with an identifier that the headers lack."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    known = dict(expressions)
    source, program = directory / "values.c", directory / "values"
    while True:
        lines = ["#define _GNU_SOURCE", *(f"#include <{header}>" for header in ["stddef.h", "stdio.h", *headers])]
        lines += ["int main(void) {", *(f'printf("{name} %lld\\n", (long long)({c}));' for name, c in known.items())]
        source.write_text("\n".join([*lines, "}", ""]))
        command = [compiler, str(source), "-o", str(program)]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"LC_ALL": "C", "PATH": "/bin"}
        )
        if result.returncode == 0:
            break
        missing = set(re.findall(r"'(\w+)' undeclared", result.stderr))
        assert missing, result.stderr
        known = {name: c for name, c in known.items() if not missing & set(re.findall(r"\w+", c))}
    output = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in output.splitlines())}
