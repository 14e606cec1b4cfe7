"""Generates files from the description of config.json (config/description/): `python -m ocipy.config.generate`.

Cold, and only for a checkout. tests/unit/config/test_description.py fails if a file differs from what this would write.
"""

from __future__ import annotations

from pathlib import Path

from ocipy.config.description import as_page, as_rules, as_schema
from ocipy.config.description.nodes import read_document

TOP = Path(__file__).resolve().parents[2]

TITLES = {
    "config": "config.json of an OCI container, for Linux",
    "state": "State of an OCI container",
    "features": "Features of an OCI runtime, for Linux",
}


def outputs() -> dict[str, str]:
    """Path, from the top of the checkout → text, of each file. ValueError: the description is wrong."""
    schemas = {
        f"spec/{name}.schema.json": as_schema.render(read_document(name), title) for name, title in TITLES.items()
    }
    config = read_document("config")
    return {**schemas, "ocipy/config/rules.py": as_rules.render(config), "docs/config.md": as_page.render(config)}


def main() -> None:
    """Write the files again."""
    for name, text in outputs().items():
        (TOP / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
