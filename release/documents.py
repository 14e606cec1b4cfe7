"""What a release takes from the documents of the tree. Pure.

The version is in ocipy/version.py; meson takes it from there, and the documents that state it as text must agree.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

VERSION_FILE = "ocipy/version.py"
# Where the version is stated, by file.
PLACES = {
    VERSION_FILE: r'^VERSION = "(.+)"$',
    "debian/changelog": r"\Aocipy \((.+?)\) ",
    "packaging/ocipy.spec": r"^Version: +(\S+)$",
    "CHANGELOG.md": r"^## (\S+) \(.+\)$",
}


def versions(texts: Mapping[str, str]) -> dict[str, str]:
    """The newest version in each of PLACES; "" if a file has none. texts: by file."""
    found = {}
    for name, pattern in PLACES.items():
        match = re.search(pattern, texts[name], re.MULTILINE)
        found[name] = match[1] if match else ""
    return found


def changes(changelog: str, version: str) -> tuple[str, str]:
    """The date (or "unreleased") and the text of a version's section. Raises ValueError if there is none."""
    match = re.search(rf"^## {re.escape(version)} \(([^)\n]+)\)\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if match is None:
        raise ValueError(f"CHANGELOG.md has no section for {version}")
    return match[1], match[2].strip() + "\n"


def absolute_links(text: str, repository: str, version: str, page: str = "README.md") -> str:
    """A page for a package index, which has none of our other files: its links lead to the release's tag."""

    def absolute(match: re.Match[str]) -> str:
        image, shown, target = match["image"], match["shown"], match["target"]
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        kind = "raw" if image else "blob"
        path, hash_mark, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        return f"{image}[{shown}]({repository}/{kind}/v{version}/{path}{hash_mark}{anchor})"

    return re.sub(r"(?P<image>!?)\[(?P<shown>[^]]*)\]\((?P<target>[^)]+)\)", absolute, text)
