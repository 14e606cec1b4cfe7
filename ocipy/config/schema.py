"""The project's JSON Schemas (spec/), found where the package is installed or in the checkout. Cold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def directory() -> Path:
    """The directory of the schemas: ocipy/spec in an installation, spec/ next to the package in a checkout.

    FileNotFoundError: it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    for place in (package / "spec", package.parent / "spec"):
        if (place / "config.schema.json").is_file():
            return place
    raise FileNotFoundError(f"the schemas of ocipy are missing below {package}")


def load(name: str) -> dict[str, Any]:
    """The schema of "config", "state" or "features". OSError: it cannot be read."""
    document = json.loads((directory() / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document
