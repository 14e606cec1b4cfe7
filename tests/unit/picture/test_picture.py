"""A plan as a page: the place of each step, and no untrusted content is executed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ocipy.config.template import template
from ocipy.picture.page import html
from ocipy.picture.rows import Picture, box_of, document_lines, id_of, laid_out, of_plan, other_lane
from ocipy.plan.build import build
from ocipy.plan.lane import TellInit, WaitForInit
from ocipy.plan.model import Host, Options

OPTIONS = Options(container_id="c", bundle="/b", state_directory="/run/ocipy/c", has_console=True)


@pytest.fixture
def picture() -> Picture:
    config: Any = template()
    return of_plan(build(config, Host(), OPTIONS), "a plan", config)


def test_a_waiting_step_is_drawn_below_the_telling_one(picture: Picture) -> None:
    rows = {id_of(box): box.row for box in picture.boxes}
    told = {(box.lane, box.tells) for box in picture.boxes if box.tells}
    waits = [box for box in picture.boxes if (other_lane(box.lane), box.awaits) in told]
    assert [box.action for box in waits if box.action != "wait"] == ["take_procfs", "enter_network"]
    assert len(picture.arrows) == len(waits) == len(told) == 5
    assert all(rows[one] < rows[other] for one, other, _ in picture.arrows)


def test_each_lane_goes_down_from_the_clone_on(picture: Picture) -> None:
    for lane in ("host", "init"):
        rows = [box.row for box in picture.boxes if box.lane == lane]
        assert rows == sorted(set(rows))
    clone = next(box.row for box in picture.boxes if box.action == "clone")
    assert min(box.row for box in picture.boxes if box.lane == "init") > clone


def test_lanes_that_wait_for_each_other_for_ever_are_shown_all_the_same() -> None:
    steps = [WaitForInit("", barrier="a"), TellInit("", barrier="b")]
    others = [WaitForInit("", barrier="b"), TellInit("", barrier="a")]
    boxes = [box_of("host", number, step) for number, step in enumerate(steps, 1)]
    boxes += [box_of("init", number, step) for number, step in enumerate(others, 1)]
    assert all(box.row for box in laid_out(Picture("", boxes)).boxes)


def test_the_lines_of_a_document_are_the_document() -> None:
    document: dict[str, Any] = {"a/b": [1, {"~": "x"}, []], "c": {}, "d": None, "é": True}
    lines = list(document_lines(document))
    assert json.loads("\n".join(text for _, text in lines)) == document
    assert ("/a~1b/1/~0", '      "~": "x"') in lines


def test_a_strangers_config_is_shown_and_not_obeyed() -> None:
    evil = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    config: Any = template()
    config["annotations"] = {"a": evil}
    config["process"]["args"] = [evil]
    page = html(of_plan(build(config, Host(), OPTIONS), evil, config))
    assert page.count("<script") == 2
    assert "<img" not in page
    assert "&lt;img" in page


def test_the_page_needs_no_network_and_permits_only_its_own_script(picture: Picture) -> None:
    page = html(picture)
    assert not re.findall(r"""(?:src|href)=|url\((?!#)|@import""", page)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy and "default-src 'none'" in policy[1] and "unsafe-inline" not in policy[1]
    assert not re.findall(r"<[^>]*\sstyle=|<[^>]*\son\w+=", page)


def test_characters_that_hide_or_reorder_others_are_shown_as_escapes() -> None:
    """Trojan Source (CVE-2021-42574): a value must not look like another one."""
    picture = Picture("a\u202eb", [], {"env": ["A=\u202e\u2066x\x1b\x9b\u200b"]})
    page = html(picture)
    assert all(line.isprintable() for line in page.split("\n"))
    assert "a\\u202eb" in page and "A=\\u202e\\u2066x\\u001b\\x9b\\u200b" in page
