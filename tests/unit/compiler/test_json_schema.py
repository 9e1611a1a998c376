"""Containment of JSON schemas, as dataclasses and pydantic models write them."""

from typing import Any

import pytest
from tests.unit.compiler.builders import json_struct

from wingbeat_propeller.compiler.json_schema import is_contained


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


INT, NUMBER, STRING, NULL = ({"type": kind} for kind in ("integer", "number", "string", "null"))
OPTIONAL = {"anyOf": [STRING, NULL], "default": None}
TREE = {
    "$ref": "#/$defs/Tree",
    "$defs": {"Tree": _object(["value"], value=INT, children={"type": "array", "items": {"$ref": "#/$defs/Tree"}})},
}
OTHER_TREE = {
    "$ref": "#/definitions/Node",
    "definitions": {
        "Node": _object(["value"], value=INT, children={"type": "array", "items": {"$ref": "#/definitions/Node"}})
    },
}
WRONG_TREE = {
    "$ref": "#/$defs/Tree",
    "$defs": {"Tree": _object(["value"], value=STRING, children={"type": "array", "items": {"$ref": "#/$defs/Tree"}})},
}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (_object(["a"], a=INT), _object(["a"], a=INT)),
        (_object(["a"], a=INT), {**_object(["a"], a=INT), "title": "Other"}),
        (_object(["a", "b"], a=INT, b=OPTIONAL), _object(["a"], a=INT)),
        (_object(["a"], a=INT), _object(["a"], a=INT, b=OPTIONAL)),
        (_object([], a=INT), _object(["a"], a=INT)),
        (_object(["a"], a=INT), _object(["a"], a=NUMBER)),
        (_object(["a"], a=STRING), _object(["a"], a=OPTIONAL)),
        (_object(["a"], a=OPTIONAL), _object(["a"], a={"anyOf": [NULL, INT, STRING]})),
        (_object(["a"], a=OPTIONAL), _object(["a"], a={"type": ["string", "null"]})),
        (_object(["a"], a={"enum": ["x"]}), _object(["a"], a={"enum": ["x", "y"]})),
        (_object(["a"], a={"const": "x"}), _object(["a"], a={"enum": ["x", "y"]})),
        (_object(["a"], a={"type": "array", "items": INT}), _object(["a"], a={"type": "array"})),
        (_object(["a"], a=INT), _object(["a"], a={})),
        (_object(["a"], a=INT), _object(["a"], a=True)),
        (_object(["a"], a={"allOf": [INT]}), _object(["a"], a=INT)),
        ({"type": "object", "additionalProperties": INT}, {"type": "object", "additionalProperties": NUMBER}),
        (TREE, OTHER_TREE),
    ],
)
def test_contained(written: dict[str, Any], read: dict[str, Any]) -> None:
    """What the one class writes, the other reads."""
    assert is_contained(json_struct(written), json_struct(read))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (_object(["a"], a=INT), _object(["a", "b"], a=INT, b=STRING)),
        (_object(["a"], a=INT), _object(["a"], a=STRING)),
        (_object(["a"], a=NUMBER), _object(["a"], a=INT)),
        (_object(["a"], a=OPTIONAL), _object(["a"], a=STRING)),
        (_object(["a"], a={"enum": ["x", "z"]}), _object(["a"], a={"enum": ["x", "y"]})),
        (_object(["a"], a=STRING), _object(["a"], a={"enum": ["x", "y"]})),
        (
            _object(["a"], a={"type": "array", "items": STRING}),
            _object(["a"], a={"type": "array", "items": INT}),
        ),
        (_object(["a"], a={"type": "array"}), _object(["a"], a={"type": "array", "items": INT})),
        (_object(["a"], a={}), _object(["a"], a=INT)),
        (_object(["a"], a=INT), _object(["a"], a=False)),
        (_object(["a"], a=INT), _object(["a"], a={"allOf": [INT, STRING]})),
        ({"type": "object", "additionalProperties": STRING}, {"type": "object", "additionalProperties": INT}),
        (TREE, WRONG_TREE),
    ],
)
def test_not_contained(written: dict[str, Any], read: dict[str, Any]) -> None:
    """A field of another type, or a required one that is not there, makes classes incompatible."""
    assert not is_contained(json_struct(written), json_struct(read))


def test_hostile_schemas_end() -> None:
    """Alternatives of alternatives, and references in a circle, are given up after a bounded number of comparisons."""
    definitions: dict[str, Any] = {"0": INT}
    for level in range(1, 40):
        choice = {"$ref": f"#/$defs/{level - 1}"}
        definitions[str(level)] = {"anyOf": [{"type": "array", "items": choice}, {"type": "array", "items": choice}]}
    tower = {"$ref": "#/$defs/39", "$defs": definitions}
    other = {**tower, "$defs": {**definitions, "0": STRING}}
    assert not is_contained(json_struct(tower), json_struct(other))

    circle = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    assert is_contained(json_struct(INT), json_struct(circle))
