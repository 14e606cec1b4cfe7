"""Hooks for the tests of hooks."""

from __future__ import annotations

from typing import Any

from tests.harness.bundle import Bundle

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def shell(script: str, **rest: Any) -> dict[str, Any]:
    """A hook that runs a script. /bin/sh exists on the host and in the root filesystem."""
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **rest}


def hooks(bundle: Bundle, **kinds: Any) -> Bundle:
    bundle.config["hooks"] = kinds
    return bundle
