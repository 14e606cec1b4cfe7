"""The plans that the pages show are those of the present code, numbers included. Pure: on golden.py's host."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocipy.box.config import Host, ImageConfig, Root, User, make_config
from ocipy.box.request import Limits, Request
from ocipy.config.template import template
from ocipy.plan import build
from ocipy.plan.describe import as_text
from ocipy.plan.model import Options
from tests.unit.golden import V1

TOP = Path(__file__).parents[2]
LINE = re.compile(r"^    ((?:host|init) +\d+ .*)$", re.MULTILINE)
RDT = {"closID": "gold", "l3CacheSchema": "L3:0=7f0;1=1f", "enableMonitoring": True}


def with_limit(config: dict[str, Any]) -> None:
    config["linux"]["resources"]["memory"] = {"limit": 50000000}


def with_rdt(config: dict[str, Any]) -> None:
    config["linux"]["intelRdt"] = RDT


def as_a_box(config: dict[str, Any]) -> None:
    """`ocipy box run --memory 50M busybox`, which --dry-run shows."""
    request = Request("busybox", hostname="box", limits=Limits(memory=50 << 20))
    names = ("hosts", "hostname", "resolv.conf")
    binds = tuple((f"/b/etc/{name}", f"/etc/{name}") for name in names)
    host = Host(binds=binds, cgroup="/ocipy-box", seccomp={"defaultAction": "SCMP_ACT_ERRNO"})
    root = Root("/b/root", "/image", "/b/upper", "/b/work")
    config.clear()
    config |= make_config(request, ImageConfig(command=("sh",)), User(), root, host)


def as_it_is(config: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize(
    ("page", "only", "change"),
    [
        ("README.md", "/mounts", as_it_is),
        ("docs/features.md", "/process/capabilities", as_it_is),
        ("docs/cgroups.md", "/linux/resources", with_limit),
        ("docs/intel-rdt.md", "/linux/intelRdt", with_rdt),
        ("docs/box.md", "", as_a_box),
    ],
)
def test_a_plan_in_a_page(page: str, only: str, change: Callable[[dict[str, Any]], None]) -> None:
    """The widths of columns depend on the other steps, which a page may leave out."""
    config: Any = template()
    change(config)
    options = Options(container_id="web", bundle="/b", state_directory="/run/ocipy/web", has_console=True)
    real = [line.split() for line in as_text(build.build(config, V1, options), only).splitlines()]
    shown = [line.split() for line in LINE.findall((TOP / page).read_text())]
    assert shown
    missing = [" ".join(line) for line in shown if line not in real]
    assert not missing, "\n".join([*missing, "really:", *map(" ".join, real)])


def test_every_page_with_a_plan_is_judged() -> None:
    """extending.md shows a feature that is not in the code: tests/integration/test_extending.py."""
    pages = ["README.md", "ARCHITECTURE.md", *(f"docs/{path.name}" for path in (TOP / "docs").glob("*.md"))]
    with_plans = {page for page in pages if LINE.search((TOP / page).read_text())}
    assert with_plans == {
        "README.md", "docs/features.md", "docs/cgroups.md", "docs/intel-rdt.md", "docs/extending.md", "docs/box.md",
    }  # fmt: skip
