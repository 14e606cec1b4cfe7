"""Copy the packages that ocipy needs from this Python's environment into another one, without their scripts.

python3 packaging/dependencies.py SITE_PACKAGES
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

TOP = Path(__file__).resolve().parent.parent


def needed(requirements: list[str]) -> dict[str, Distribution]:
    """The distributions that these requirements name, and those they require in turn, by name.

    Raises PackageNotFoundError.
    """
    found: dict[str, Distribution] = {}
    pending = [Requirement(text) for text in requirements]
    while pending:
        requirement = pending.pop()
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[requirement.name] = distribution(requirement.name)
        pending += [Requirement(text) for text in found[requirement.name].requires or ()]
    return found


def copy(package: Distribution, site: Path) -> None:
    """Copy a package's files, except those outside site-packages: scripts and their man pages."""
    for file in package.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        source, target = Path(str(file.locate())), site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.suffix == ".so" else 0o644)


def main() -> None:
    """The command line."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    for package in needed(project["dependencies"]).values():
        copy(package, Path(sys.argv[1]))


if __name__ == "__main__":
    main()
