"""Words for every place where a document breaks the schema, found by jsonschema.

Cold: imported to report, never to decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocipy.config import schema
from ocipy.config.old import REQUIRED
from ocipy.errors import escape
from ocipy.launcher.python import complete_start

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_TYPES = {
    "string": "a string",
    "boolean": "true or false",
    "integer": "an integer",
    "array": "an array",
    "object": "an object",
}

_DEEPEST = 32
"""Levels. The schema is not as deep, so anything deeper is unknown, or below a value of the wrong type."""


def validator(document: dict[str, Any]) -> Draft202012Validator:
    """A validator for a schema of draft 2020-12, except that 1.0 is not an integer: Go and draft 4 agree on that.

    ImportError: jsonschema is not installed. It loads libraries, so a snapshot cannot contain it, and a valid
    document does not need it.
    """
    complete_start()
    from jsonschema import Draft4Validator, Draft202012Validator
    from jsonschema.validators import extend

    strict = extend(Draft202012Validator, type_checker=Draft4Validator.TYPE_CHECKER)  # type: ignore[no-untyped-call]
    judge: Draft202012Validator = strict(document)
    return judge


def schema_errors(config: Any, name: str = "config") -> list[tuple[str, str]]:
    """(JSON pointer, text) of each place where config breaks the schema of that name; empty if it is valid.

    ImportError, OSError: jsonschema or the schema is not installed.
    """
    broken = validator(schema.load(name)).iter_errors(without_nulls(config))
    # A value of the wrong type is not one of the allowed words either: report only the type.
    found = [_finding(error) for error in broken if error.validator != "enum" or isinstance(error.instance, str)]
    return list(dict.fromkeys(found))


def without_nulls(value: Any, depth: int = _DEEPEST) -> Any:
    """A copy without null members, which count as absent. Levels below depth are left out."""
    if isinstance(value, dict):
        members = value.items() if depth else ()
        return {name: without_nulls(member, depth - 1) for name, member in members if member is not None}
    if isinstance(value, list):
        return [without_nulls(item, depth - 1) for item in value] if depth else []
    return value


def _finding(error: ValidationError) -> tuple[str, str]:
    return "".join(escape(part) for part in error.absolute_path), _text(error)


def _text(error: ValidationError) -> str:
    wanted: Any = error.validator_value
    instance: Any = error.instance
    given = shown(instance)
    if error.validator == "type":
        return f"must be {_TYPES.get(str(wanted), wanted)}, not {given}"
    if error.validator == "enum":
        return f"must be one of {', '.join(str(word) for word in wanted if word)}, not {given}"
    if error.validator == "pattern":
        node: Any = error.schema
        return f"must be {node['description']}, not {given}"
    if error.validator == "minimum":
        return f"must not be less than {wanted}, but is {given}"
    if error.validator == "maximum":
        return f"must not be more than {wanted}, but is {given}"
    if error.validator == "minItems":
        return "must not be empty"
    if error.validator == "required":
        missing = [name for name in wanted if name not in instance]
        text = f"the member {', '.join(missing)} is required"
        # Go's runtimes ignore the case of a member's name.
        alike = [name for name in instance if name.lower() in map(str.lower, missing)]
        if alike:
            return f"{text}; case matters, so {', '.join(alike)} does not count"
        old = [REQUIRED[name] for name in missing if REQUIRED.get(name) in instance]
        return f"{text}; it was called {old[0]} before version 1.0" if old else text
    return str(error.message)


def shown(value: Any) -> str:
    """A value as JSON, shortened, for the end of a sentence."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
