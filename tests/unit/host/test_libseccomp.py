"""libseccomp's own Python module makes the same filters as pyseccomp, and its errors are the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ocipy
from ocipy.errors import Error
from ocipy.host.seccomp_compile import compile_profile

OTHER = list(Path("/usr/lib/python3/dist-packages").glob(f"seccomp.{sys.implementation.cache_tag}-*.so"))
pytestmark = pytest.mark.skipif(not OTHER, reason="no python3-seccomp for this Python")

# Compiles a profile with Debian's module; the import of pyseccomp fails.
CHILD = """
import importlib.util, json, sys
sys.modules["pyseccomp"] = None
spec = importlib.util.spec_from_file_location("seccomp", sys.argv[1])
sys.modules["seccomp"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["seccomp"])
from ocipy.errors import Error
from ocipy.host import seccomp_compile
try:
    print(seccomp_compile.compile_profile(json.load(sys.stdin))[0].hex())
except Error as error:
    print(error.what, error.errno)
"""


def allow(*names: str, **rest: Any) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", **rest}


ARGUMENT = {"index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": 2**64 - 1, "valueTwo": 2**63}
PROFILES: list[dict[str, Any]] = [
    {"defaultAction": action, "syscalls": [allow("read", "write", "openat2", "no_such_call")]}
    for action in ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY")
]
PROFILES += [
    {"defaultAction": "SCMP_ACT_KILL_PROCESS", "architectures": [f"SCMP_ARCH_{name}"], "syscalls": [allow("chmod")]}
    for name in ("X86_64", "X86", "X32", "AARCH64", "S390X", "PPC64LE", "RISCV64", "NONE")
]
PROFILES += [
    {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [allow("clone", args=[ARGUMENT])]},
    {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [allow(), {"names": ["chmod"], "action": "SCMP_ACT_TRAP"}]},
    {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_TRACE", "errnoRet": 7}]},
    {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allow("poll", "ppoll", "select", "pselect6")] * 20},
    {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        allow("socket", args=[{"index": 0, "op": "SCMP_CMP_EQ", "value": 2}]),
        {"names": ["socket"], "action": "SCMP_ACT_KILL", "args": [{"index": 0, "op": "SCMP_CMP_NE", "value": 3}]},
    ]},
]  # fmt: skip


def by_pyseccomp(profile: Any) -> str:
    try:
        return compile_profile(profile)[0].hex()
    except Error as error:
        return f"{error.what} {error.errno}"


@pytest.mark.parametrize("profile", PROFILES)
def test_both_bindings_compile_a_profile_to_the_same_filter(profile: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(OTHER[0])], input=json.dumps(profile), capture_output=True, text=True,
        check=False, cwd=Path(ocipy.__file__).parents[1], timeout=60,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == (by_pyseccomp(profile), 0), done.stderr
