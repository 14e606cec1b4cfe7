"""The rules across fields, which the schema cannot express (semantic*.py)."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock as mocks

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocipy.config import semantic_linux
from ocipy.config.check import check
from ocipy.config.semantic import errors, process_errors
from tests.unit.config.rules_across_fields import BROKEN, HOLDING, MAP, config, mount
from tests.unit.documents import real_configs


def found(document: Any) -> list[str]:
    assert check(document) is None, "the schema already refuses this"
    return [pointer for pointer, text in errors(document) if text]


def long_map(entries: int) -> Any:
    return [{"containerID": 4_000_000_000 + n, "hostID": 4_000_000_000 + n, "size": 1} for n in range(entries)]


def test_an_id_map_has_to_fit_in_a_page() -> None:
    """user_namespaces(7): the text must be shorter than a page, whatever the number of entries."""
    page = os.sysconf("SC_PAGE_SIZE")
    fits = (page - 1) // len("4000000000 4000000000 1\n")
    if fits >= 340:
        pytest.skip("340 entries always fit in a page of this size")
    for member in ("/linux/uidMappings", "/linux/gidMappings"):
        own = ("/process/user", {member[7:10]: 4_000_000_000})
        assert found(config((member, long_map(fits)), own)) == []
        (finding,) = errors(config((member, long_map(fits + 1)), own))
        assert finding[0] == member and "one page of text" in finding[1]
    mapped = mount(uidMappings=long_map(fits + 1), gidMappings=MAP)
    assert found(config(mapped)) == ["/mounts/0/uidMappings"]


@pytest.mark.parametrize(("document", "pointer"), BROKEN, ids=[f"{n}-{p}" for n, (_, p) in enumerate(BROKEN)])
def test_a_broken_rule_is_found_at_its_place_and_nothing_else(document: Any, pointer: str) -> None:
    assert found(document) == [pointer]


@pytest.mark.parametrize("document", HOLDING)
def test_what_obeys_the_rules_is_accepted(document: Any) -> None:
    assert check(document) is None
    assert errors(document) == []


@pytest.mark.parametrize("name", sorted(real_configs()))
def test_accepts_what_engines_write(name: str) -> None:
    config: Any = real_configs()[name]
    assert errors(config) == []


def test_all_findings_come_at_once_in_the_order_of_the_document() -> None:
    document = config(("/process/cwd", "x"), ("/ociVersion", "x"), ("/linux/maskedPaths", ["x"]), ("/root/path", ""))
    assert found(document) == ["/ociVersion", "/root/path", "/process/cwd", "/linux/maskedPaths/0"]


def test_the_search_for_nul_can_be_left_out() -> None:
    document = config(("/hostname", "a\0b"))
    assert errors(document, may_hold_nul=False) == []
    assert errors(document) == [("/hostname", "contains a NUL byte")]


def test_a_process_alone() -> None:
    broken: list[tuple[str, str]] = []
    process_errors({"cwd": "x", "args": []}, broken, "")
    assert broken == [("/args", "args must not be empty"), ("/cwd", "Cwd must be an absolute path")]


@given(st.lists(st.text("/.a0", max_size=4), min_size=1, max_size=3))
def test_hidden_paths_are_judged_one_by_one_or_all_at_once_alike(paths: list[str]) -> None:
    document = config(("/linux/maskedPaths", paths), ("/linux/readonlyPaths", paths))
    at_once = errors(document)
    with mocks.patch.object(semantic_linux, "_are_plain", return_value=False):
        assert errors(document) == at_once


KINDS = st.sampled_from(["mount", "pid", "uts"])
ENTRIES = st.fixed_dictionaries({"type": KINDS}, optional={"path": st.sampled_from([None, "", "/proc/1/ns/x", "x"])})


@given(st.lists(ENTRIES, max_size=4))
def test_namespaces_given_twice_or_with_a_relative_path(entries: list[dict[str, str | None]]) -> None:
    kinds = [entry["type"] for entry in entries]
    expected = []
    for index, entry in enumerate(entries):
        if kinds.index(entry["type"]) < index:
            expected.append(f"/linux/namespaces/{index}/type")
        if entry.get("path") == "x":
            expected.append(f"/linux/namespaces/{index}/path")
    assert found(config(("/linux/namespaces", entries))) == expected
