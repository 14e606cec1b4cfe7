"""Checks a document against all of spec/config.schema.json, in some microseconds.

Hot. The rules and the schema are made from one description (generate.py); a property-based test shows that jsonschema
and this module accept the same documents. As in Go's runtimes, a null member counts as absent, unknown members are
ignored (config.md, extensibility), and a number with a decimal point is not an integer.

Nearly every document obeys all rules. C tells that in one call (linux/kernel/rules.c), and which members are unknown;
for a document that does not, the functions below find the place.
"""

from __future__ import annotations

from ocipy.config.rules import (
    ANY,
    ARRAY,
    BOOLEAN,
    CONFIG,
    ENUM,
    INTEGER,
    MAP,
    OBJECT,
    PATTERN,
    PROCESS,
    RESOURCES,
    STRING,
)
from ocipy.errors import escape
from ocipy.linux import _kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Failure = tuple[str, str]
    Rule = tuple[Any, ...]
    # (the object, the name of the member, the members that the schema knows there)
    Unknown = list[tuple[dict[str, Any], str, dict[str, Rule]]]


def check(config: Any, unknown: Unknown | None = None) -> Failure | None:
    """The first place where config breaks the schema: (JSON pointer, what is expected there); None if there is none.

    unknown receives the members that the schema does not know: all of them if nothing is broken.
    """
    found = [] if unknown is None else unknown
    if not _kernel.obeys(config, CONFIG, found):
        return _refusal(config, CONFIG)
    _pass_over_size(config.get("process"), found)
    return None


def check_process(process: Any, unknown: Unknown | None = None) -> Failure | None:
    """The same check for a process object (`exec --process`); the pointer is relative to it."""
    found = [] if unknown is None else unknown
    if not _kernel.obeys(process, PROCESS, found):
        return _refusal(process, PROCESS)
    _pass_over_size(process, found)
    return None


def _pass_over_size(process: dict[str, Any] | None, unknown: Unknown) -> None:
    """Without a terminal consoleSize is ignored (config.md: MUST), so it may have any value, like unknown members."""
    if process is not None and not process.get("terminal") and "consoleSize" in process:
        unknown.append((process, "consoleSize", {}))


def check_resources(resources: Any, unknown: Unknown | None = None) -> Failure | None:
    """The same check for linux.resources (`update --resources`); the pointer is relative to it."""
    found = [] if unknown is None else unknown
    return None if _kernel.obeys(resources, RESOURCES, found) else _refusal(resources, RESOURCES)


def forget(unknown: Unknown) -> None:
    """Remove unknown members from their objects: they are ignored, and may be nested as deep as memory permits."""
    for holder, name, _ in unknown:
        del holder[name]


def _refusal(value: Any, rule: Rule) -> Failure:
    """What is wrong with a value that C refuses. Should only C refuse it, that is all there is to say."""
    return find_failure(value, rule) or ("", "must obey the schema")


def find_failure(value: Any, rule: Rule) -> Failure | None:
    """The first place where a value breaks its rule, as from check."""
    kind = rule[0]
    if kind == OBJECT:
        return _find_in_object(value, rule)
    if kind == ARRAY:
        return _find_in_array(value, rule)
    if kind == MAP:
        return _find_in_map(value, rule)
    return None if scalar_holds(value, rule) else ("", expectation(rule))


def _find_in_object(value: Any, rule: Rule) -> Failure | None:
    if type(value) is not dict:
        return "", expectation(rule)
    for name in rule[1]:
        if value.get(name) is None:
            return "", "the member " + name + " is required"
    for name, member in value.items():
        expected = rule[2].get(name)
        if expected is None or member is None:
            continue
        failure = find_failure(member, expected)
        if failure is not None:
            return escape(name) + failure[0], failure[1]
    return None


def _find_in_array(value: Any, rule: Rule) -> Failure | None:
    if type(value) is not list or len(value) < rule[2]:
        return "", expectation(rule)
    for index, item in enumerate(value):
        failure = find_failure(item, rule[1])
        if failure is not None:
            return "/" + str(index) + failure[0], failure[1]
    return None


def _find_in_map(value: Any, rule: Rule) -> Failure | None:
    if type(value) is not dict:
        return "", expectation(rule)
    for name, member in value.items():
        if member is None:
            continue
        failure = find_failure(member, rule[1])
        if failure is not None:
            return escape(name) + failure[0], failure[1]
    return None


def scalar_holds(value: Any, rule: Rule) -> bool:
    """Whether a value obeys a rule whose kind is not ARRAY, MAP or OBJECT."""
    kind = rule[0]
    if kind == ANY:
        return True
    if kind == INTEGER:  # of type int, since True is an instance of int
        return type(value) is int and (rule[1] is None or rule[1] <= value) and (rule[2] is None or value <= rule[2])
    if kind == BOOLEAN:
        return value is True or value is False
    if type(value) is not str:
        return False
    if kind == ENUM:
        return value in rule[1]
    if kind == PATTERN:
        matches: bool = rule[1](value)
        return matches
    return True


def expectation(rule: Rule) -> str:
    """What a rule requires, as the end of a sentence."""
    kind = rule[0]
    if kind == STRING:
        return "must be a string"
    if kind == BOOLEAN:
        return "must be true or false"
    if kind == INTEGER:
        return "must be an integer" + _range(rule[1], rule[2])
    if kind == ENUM:
        return "must be one of " + ", ".join(word for word in rule[1] if word)
    if kind == PATTERN:
        words: str = rule[2]
        return "must be " + words
    if kind == ARRAY:
        return "must be an array" + (" with at least one element" if rule[2] else "")
    return "must be an object"


def _range(low: int | None, high: int | None) -> str:
    if low is None:
        return ""
    if high is None:
        return f" not less than {low}"
    return f" from {low} to {high}"
