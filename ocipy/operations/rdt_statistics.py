"""events: the resctrl filesystem's data on a container's groups, under runc's names. Cold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocipy.linux import resctrl
from ocipy.linux.files import read_file
from ocipy.linux.text import decode

if TYPE_CHECKING:
    from ocipy.state.state import RdtGroups

# For a resource: the names of its facts, of the top schema and of the group's schema; then those of the facts' files.
RESOURCES = (
    ("L3", "l3_cache_info", "l3_cache_schema_root", "l3_cache_schema", ("cbm_mask", "min_cbm_bits", "num_closids")),
    (
        "MB",
        "mem_bw_info",
        "mem_bw_schema_root",
        "mem_bw_schema",
        ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"),
    ),
)
TEXT = ("cbm_mask",)
# The lists of figures, one entry for each cache, and the cache's files that they contain.
MONITORED = (("mbm_stats", ("mbm_total_bytes", "mbm_local_bytes")), ("cmt_stats", ("llc_occupancy",)))


def collect(groups: RdtGroups, top: str) -> dict[str, Any]:
    """The available data: a processor need not have all of it. top: the filesystem's mount point."""
    found: dict[str, Any] = {}
    at_top, of_group = (_read(path + "/" + resctrl.SCHEMATA) for path in (top, groups["group"]))
    for resource, info, schema_root, schema, names in RESOURCES:
        facts = {name: _value(f"{top}/info/{resource}/{name}", name) for name in names}
        if any(value is not None for value in facts.values()):
            found[info] = _present(facts)
        for name, schemata in ((schema_root, at_top), (schema, of_group)):
            line = resctrl.line_of(schemata, resource)
            if line:
                found[name] = line
    data = Path(groups["monitoring"] or groups["group"], "mon_data")
    caches = sorted(data.glob("mon_L3_*"))
    for name, files in MONITORED:
        figures = [_present({file: _value(str(cache / file), file) for file in files}) for cache in caches]
        if any(figures):
            found[name] = figures
    return found


def _present(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if value is not None}


def _read(path: str) -> bytes:
    try:
        return read_file(path)
    except OSError:
        return b""


def _value(path: str, name: str) -> int | str | None:
    """A fact or a figure; None if the file has text such as "Unavailable" instead."""
    text = decode(_read(path)).strip()
    if name in TEXT:
        return text or None
    return int(text) if text.isascii() and text.isdigit() else None
