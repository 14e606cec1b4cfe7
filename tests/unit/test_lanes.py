"""The tables that say which module carries out an action."""

from __future__ import annotations

import importlib
import importlib.resources

import pytest

from ocipy.container import host_lane
from ocipy.init import lane

LANES = (("ocipy.init", lane.PLACES), ("ocipy.container", host_lane.PLACES))


@pytest.mark.parametrize(("package", "name"), [(package, name) for package, places in LANES for name in places])
def test_a_table_names_all_actions_of_its_modules(package: str, name: str) -> None:
    module = importlib.import_module(f"{package}.{name}")
    assert set(dict(LANES)[package][name]) == set(module.ACTIONS)


@pytest.mark.parametrize(("package", "places"), LANES)
def test_every_module_with_actions_is_in_the_table(package: str, places: dict[str, tuple[str, ...]]) -> None:
    names = set()
    for file in importlib.resources.files(package).iterdir():
        if file.name.endswith(".py") and file.name != "__init__.py":
            module = importlib.import_module(f"{package}.{file.name[:-3]}")
            if hasattr(module, "ACTIONS"):
                names.add(file.name[:-3])
    assert names - {"lane", "host_lane"} == set(places)


def test_no_action_has_two_places() -> None:
    for _, places in LANES:
        actions = [action for its_actions in places.values() for action in its_actions]
        assert len(actions) == len(set(actions))
