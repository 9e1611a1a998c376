"""Whether one JSON schema is contained in another: what a dataclass of the one writes, the other can read.

Dataclasses and pydantic models travel as STRUCT with a JSON schema in the type's metadata. `is_contained` compares
types, properties, items, alternatives, enumerations and references; keywords it does not know are ignored, as is
`additionalProperties: false`, since readers skip fields that they do not know. A property counts as written also when
the writer's schema does not require it: serializers write every field. Recursive schemas end, for a pair that is
already being compared is taken as contained.
"""

from collections.abc import Mapping
from typing import TypeAlias

from google.protobuf import struct_pb2

JsonValue: TypeAlias = "str | float | bool | list[JsonValue] | dict[str, JsonValue] | None"

_DEPTH_MAX = 50
"""Schemas that nest deeper than this are taken as different."""

_COMPARISONS_MAX = 20_000
"""Pairs looked at before two schemas are taken as different; alternatives of alternatives grow exponentially."""


def is_contained(written: struct_pb2.Struct, read: struct_pb2.Struct) -> bool:
    """Whether values that fit `written` can be read as `read`."""
    if written == read:
        return True
    return _Comparison(_json_object(written), _json_object(read)).contained()


class _Comparison:
    """Compares two documents; `$ref` of either side is looked up in its own document."""

    def __init__(self, written: dict[str, JsonValue], read: dict[str, JsonValue]) -> None:
        self._written = written
        self._read = read
        self._under_way: set[tuple[int, int]] = set()
        self._comparisons = 0

    def contained(self) -> bool:
        return self._contains(self._written, self._read, 0)

    def _contains(self, written: JsonValue, read: JsonValue, depth: int) -> bool:
        written = _resolve(written, self._written)
        read = _resolve(read, self._read)
        if isinstance(read, bool):
            return read
        if isinstance(written, bool) or not isinstance(written, dict) or not isinstance(read, dict):
            return False
        pair = (id(written), id(read))
        if pair in self._under_way:
            return True
        self._comparisons += 1
        if depth > _DEPTH_MAX or self._comparisons > _COMPARISONS_MAX:
            return False
        self._under_way.add(pair)
        try:
            return self._compare(written, read, depth + 1)
        finally:
            self._under_way.discard(pair)

    def _compare(self, written: dict[str, JsonValue], read: dict[str, JsonValue], depth: int) -> bool:
        choices = _alternatives(written)
        if choices is not None:
            return all(self._contains(choice, read, depth) for choice in choices)
        wanted = read.get("allOf")
        if isinstance(wanted, list) and not all(self._contains(written, part, depth) for part in wanted):
            return False
        parts = written.get("allOf")
        if isinstance(parts, list) and "type" not in written:
            return any(self._contains(part, read, depth) for part in parts)
        offers = _alternatives(read)
        if offers is not None:
            return any(self._contains(written, offer, depth) for offer in offers)
        return (
            _enumeration_contained(written, read)
            and _types_contained(written.get("type"), read.get("type"))
            and self._properties_contained(written, read, depth)
            and ("items" not in read or self._contains(written.get("items", {}), read["items"], depth))
            and self._entries_contained(written, read, depth)
        )

    def _properties_contained(self, written: dict[str, JsonValue], read: dict[str, JsonValue], depth: int) -> bool:
        wanted = _object(read.get("properties"))
        given = _object(written.get("properties"))
        required = read.get("required")
        if isinstance(required, list) and any(isinstance(name, str) and name not in given for name in required):
            return False
        return all(self._contains(given[name], wanted[name], depth) for name in wanted if name in given)

    def _entries_contained(self, written: dict[str, JsonValue], read: dict[str, JsonValue], depth: int) -> bool:
        """Values of free-form objects (`dict[str, T]`), which JSON schema writes as `additionalProperties`."""
        wanted = read.get("additionalProperties")
        given = written.get("additionalProperties")
        if isinstance(wanted, dict) and isinstance(given, dict):
            return self._contains(given, wanted, depth)
        return True


def _json_object(struct: struct_pb2.Struct) -> dict[str, JsonValue]:
    return {name: _json_value(value) for name, value in struct.fields.items()}


def _json_value(value: struct_pb2.Value) -> JsonValue:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _json_object(value.struct_value)
        case "list_value":
            return [_json_value(element) for element in value.list_value.values]
        case _:
            return None


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _resolve(schema: JsonValue, document: dict[str, JsonValue]) -> JsonValue:
    """`schema` itself, or what its `$ref` (`#/$defs/Name`) points at; a reference to nowhere admits anything."""
    for _ in range(_DEPTH_MAX):
        if not isinstance(schema, dict):
            return schema
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        target: JsonValue = document
        for step in reference[1:].strip("/").split("/"):
            if step:
                target = _object(target).get(step.replace("~1", "/").replace("~0", "~"))
        schema = {} if target is None else target
    return {}


def _alternatives(schema: dict[str, JsonValue]) -> list[JsonValue] | None:
    for keyword in ("anyOf", "oneOf"):
        choices = schema.get(keyword)
        if isinstance(choices, list):
            return choices
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return [{**schema, "type": kind} for kind in kinds]
    return None


def _types_contained(written: JsonValue, read: JsonValue) -> bool:
    return read is None or written == read or (written == "integer" and read == "number")


def _enumeration_contained(written: dict[str, JsonValue], read: dict[str, JsonValue]) -> bool:
    wanted = _values(read)
    given = _values(written)
    if wanted is None:
        return True
    return given is not None and all(value in wanted for value in given)


def _values(schema: dict[str, JsonValue]) -> list[JsonValue] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None
