"""JSON values as literals, by the type that an interface has for them. Pure.

What a JSON value can be taken for depends on the type alone, never on the value's neighbours. Of a union's variants the
first counts that the value is without conversion (a number with a point is a float before it is anything else, text is
text before it is a time), else the first that it can be converted to. Dataclasses, dictionaries and other structures
become what flytekit writes: MessagePack with the tag `msgpack`.
"""

import base64
import re
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias, cast

import msgpack
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import duration_pb2, json_format, struct_pb2

from wingbeat_propeller.compiler.type_text import type_text
from wingbeat_propeller.copilot.values_text import INTEGER_MAX, INTEGER_MIN, parse_duration, parse_timestamp

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

DEPTH_MAX = 50
"""Lists, maps and structures within one another; protobuf itself reads no literals much deeper than this."""

SCHEMAS_KEPT = 256
"""Schemas of dataclasses that are kept parsed."""

_MSGPACK = "msgpack"
_EXACT_FLOAT_MAX = 1 << 53
_SPECIAL_FLOATS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_ISO_DURATION = re.compile(
    r"(-?)P(?:(\d{1,18})D)?(?:T(?:(\d{1,18})H)?(?:(\d{1,18})M)?(?:(\d{1,18}(?:\.\d{1,9})?)S)?)?", re.ASCII
)
_ZONE = re.compile(r"([Zz]|[+-]\d\d:?\d\d)$")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class JsonValueError(ValueError):
    """The value does not fit the type: `path` says where in it (`[3].count`, empty: as a whole), the text says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


def literal_of(value: Json, wanted: types_pb2.LiteralType, depth: int = 0) -> literals_pb2.Literal:
    """The literal of type `wanted` that `value` is. Raises JsonValueError."""
    if depth > DEPTH_MAX:
        raise JsonValueError("", f"the value is nested more than {DEPTH_MAX} levels deep")
    match wanted.WhichOneof("type"):
        case "simple":
            return _SIMPLE[wanted.simple](value, wanted) if wanted.simple in _SIMPLE else _refuse(value, wanted)
        case "collection_type":
            return _collection(value, wanted, depth)
        case "map_value_type":
            return _map(value, wanted, depth)
        case "union_type":
            return _union(value, wanted, depth)
        case "enum_type":
            return _enum(value, wanted)
        case "blob":
            uri, form = _reference(value, wanted)
            kind = types_pb2.BlobType(format=form or wanted.blob.format, dimensionality=wanted.blob.dimensionality)
            return _scalar(blob=literals_pb2.Blob(uri=uri, metadata=literals_pb2.BlobMetadata(type=kind)))
        case "schema":
            uri, _ = _reference(value, wanted)
            return _scalar(schema=literals_pb2.Schema(uri=uri, type=wanted.schema))
        case "structured_dataset_type":
            return _dataset(value, wanted)
        case _:
            return _refuse(value, wanted)


def _integer(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_FLOAT_MAX:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return _refuse(value, wanted)
    if not INTEGER_MIN <= value <= INTEGER_MAX:
        raise JsonValueError("", "the integer does not fit 64 bits")
    literal = literals_pb2.Literal()
    literal.scalar.primitive.integer = value
    return literal


def _float(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    if isinstance(value, str) and value in _SPECIAL_FLOATS:
        value = _SPECIAL_FLOATS[value]
    if not isinstance(value, int | float) or isinstance(value, bool):
        return _refuse(value, wanted)
    literal = literals_pb2.Literal()
    literal.scalar.primitive.float_value = float(value)
    return literal


def _string(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    return _text(value) if isinstance(value, str) else _refuse(value, wanted)


def _boolean(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    if not isinstance(value, bool):
        return _refuse(value, wanted)
    literal = literals_pb2.Literal()
    literal.scalar.primitive.boolean = value
    return literal


def _datetime(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    """RFC 3339; without a zone it is UTC, without a time midnight."""
    if not isinstance(value, str):
        return _refuse(value, wanted)
    text = f"{value}T00:00:00" if _DATE.fullmatch(value) else value.replace(" ", "T", 1)
    try:
        moment = parse_timestamp(text if _ZONE.search(text) else f"{text}Z")
    except ValueError as error:
        raise JsonValueError("", str(error)) from None
    return _primitive(literals_pb2.Primitive(datetime=moment))


def _duration(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    """A number of seconds, `1h30m` as Go writes it, or `PT1H30M` as ISO 8601 does."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _primitive(literals_pb2.Primitive(duration=_seconds(Decimal(repr(value)))))
    if not isinstance(value, str):
        return _refuse(value, wanted)
    match = _ISO_DURATION.fullmatch(value)
    if match is not None and any(match.groups()[1:]):
        days, hours, minutes, seconds = (Decimal(part or 0) for part in match.groups()[1:])
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        return _primitive(literals_pb2.Primitive(duration=_seconds(-total if match[1] else total)))
    try:
        return _primitive(literals_pb2.Primitive(duration=parse_duration(value)))
    except ValueError as error:
        raise JsonValueError("", f"{error}, as in PT1H2M3S, or as a number of seconds") from None


def _seconds(total: Decimal) -> duration_pb2.Duration:
    nanoseconds = int(total * 10**9) if total.is_finite() else INTEGER_MAX + 1
    if abs(nanoseconds) > INTEGER_MAX:
        raise JsonValueError("", "a duration has at most 292 years")
    seconds, nanos = divmod(abs(nanoseconds), 10**9)
    sign = -1 if nanoseconds < 0 else 1
    return duration_pb2.Duration(seconds=sign * seconds, nanos=sign * nanos)


def _struct(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    if not isinstance(value, dict | list):
        return _refuse(value, wanted)
    _check_depth(value, DEPTH_MAX)
    plain: Json = value
    if wanted.metadata.fields:
        schema = _schema(wanted.metadata.SerializeToString(deterministic=True))
        plain = _by_schema(value, schema, schema)
    packed = cast("bytes", msgpack.packb(plain))  # pyright: ignore[reportUnknownMemberType] msgpack ships no types
    return _scalar(binary=literals_pb2.Binary(value=packed, tag=_MSGPACK))


def _check_depth(value: Json, left: int) -> None:
    if left < 0:
        raise JsonValueError("", f"the value is nested more than {DEPTH_MAX} levels deep")
    match value:
        case list():
            for element in value:
                _check_depth(element, left - 1)
        case dict():
            for element in value.values():
                _check_depth(element, left - 1)
        case int() if not isinstance(value, bool) and not INTEGER_MIN <= value <= 2 * INTEGER_MAX + 1:
            raise JsonValueError("", "an integer does not fit 64 bits")
        case _:
            return


@lru_cache(SCHEMAS_KEPT)
def _schema(metadata: bytes) -> dict[str, Json]:
    return cast("dict[str, Json]", json_format.MessageToDict(struct_pb2.Struct.FromString(metadata)))


def _by_schema(value: Json, schema: Json, root: Json) -> Json:
    """`value` with whole numbers made floats where the JSON schema of a dataclass says `number`: readers in Python
    take the number as it comes."""
    reference = _member(schema, "$ref")
    if isinstance(reference, str):
        found = root
        for step in reference.lstrip("#/").split("/"):
            found = _member(found, step)
        schema = found
    match value:
        case bool():
            return value
        case int():
            return float(value) if _member(schema, "type") == "number" else value
        case list():
            items = _member(schema, "items")
            return [_by_schema(element, items, root) for element in value]
        case dict():
            properties, others = _member(schema, "properties"), _member(schema, "additionalProperties")
            return {key: _by_schema(one, _member(properties, key) or others, root) for key, one in value.items()}
        case _:
            return value


def _member(container: Json, key: str) -> Json:
    return container.get(key) if isinstance(container, dict) else None


def _binary(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    if not isinstance(value, str):
        return _refuse(value, wanted)
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError:  # binascii.Error, and what characters beyond ASCII give
        raise JsonValueError("", "bytes are written in base64") from None
    return _scalar(binary=literals_pb2.Binary(value=data))


def _none(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    return _scalar(none_type=literals_pb2.Void()) if value is None else _refuse(value, wanted)


_SIMPLE = {
    types_pb2.NONE: _none,
    types_pb2.INTEGER: _integer,
    types_pb2.FLOAT: _float,
    types_pb2.STRING: _string,
    types_pb2.BOOLEAN: _boolean,
    types_pb2.DATETIME: _datetime,
    types_pb2.DURATION: _duration,
    types_pb2.BINARY: _binary,
    types_pb2.STRUCT: _struct,
}


def _collection(value: Json, wanted: types_pb2.LiteralType, depth: int) -> literals_pb2.Literal:
    if not isinstance(value, list):
        return _refuse(value, wanted)
    made = literals_pb2.LiteralCollection()
    for number, element in enumerate(value):
        try:
            made.literals.append(literal_of(element, wanted.collection_type, depth + 1))
        except JsonValueError as error:
            raise JsonValueError(f"[{number}]{error.path}", error.reason) from None
    return literals_pb2.Literal(collection=made)


def _map(value: Json, wanted: types_pb2.LiteralType, depth: int) -> literals_pb2.Literal:
    if not isinstance(value, dict):
        return _refuse(value, wanted)
    made = literals_pb2.LiteralMap()
    for key, element in value.items():
        try:
            made.literals[key].CopyFrom(literal_of(element, wanted.map_value_type, depth + 1))
        except JsonValueError as error:
            raise JsonValueError(f".{key}{error.path}", error.reason) from None
    return literals_pb2.Literal(map=made)


def _union(value: Json, wanted: types_pb2.LiteralType, depth: int) -> literals_pb2.Literal:
    variants = wanted.union_type.variants
    for variant in sorted(variants, key=lambda one: not _is_exact(value, one)):
        try:
            literal = literal_of(value, variant, depth + 1)
        except JsonValueError as error:
            if len(variants) == 2 and any(one.simple == types_pb2.NONE for one in variants) and value is not None:
                if variant.WhichOneof("type") != "simple" or variant.simple != types_pb2.NONE:
                    raise  # an optional value: what is wrong with it says more than that no variant fits
            elif "nested" in error.reason:
                raise
            continue
        return _scalar(union=literals_pb2.Union(value=literal, type=variant))
    return _refuse(value, wanted)


def _is_exact(value: Json, wanted: types_pb2.LiteralType) -> bool:
    """Whether values of the type are written as `value` is, so that nothing is converted."""
    kind = wanted.WhichOneof("type")
    match value:
        case None:
            return kind == "simple" and wanted.simple == types_pb2.NONE
        case bool():
            return kind == "simple" and wanted.simple == types_pb2.BOOLEAN
        case int():
            return kind == "simple" and wanted.simple == types_pb2.INTEGER
        case float():
            return kind == "simple" and wanted.simple == types_pb2.FLOAT
        case str():
            is_text = kind == "simple" and wanted.simple == types_pb2.STRING
            return is_text or (kind == "enum_type" and value in wanted.enum_type.values)
        case list():
            return kind == "collection_type"
        case dict():
            return kind == "map_value_type" or (kind == "simple" and wanted.simple == types_pb2.STRUCT)


def _enum(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    values = list(wanted.enum_type.values)
    if not isinstance(value, str) or value not in values:
        raise JsonValueError("", f"one of {', '.join(values)} is expected, not {_shown(value)}")
    return _text(value)


def _reference(value: Json, wanted: types_pb2.LiteralType) -> tuple[str, str]:
    """URI and format of something that lies in a store: a URI, or an object with `uri` and `format`."""
    if isinstance(value, str) and value:
        return value, ""
    if isinstance(value, dict) and value.keys() <= {"uri", "format"}:
        uri, form = value.get("uri"), value.get("format", "")
        if isinstance(uri, str) and uri and isinstance(form, str):
            return uri, form
    raise JsonValueError(
        "", f"a URI, or an object with uri and format, is expected for {type_text(wanted)}, not {_shown(value)}"
    )


def _dataset(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    uri, form = _reference(value, wanted)
    kind = types_pb2.StructuredDatasetType()
    kind.CopyFrom(wanted.structured_dataset_type)
    kind.format = form or kind.format
    metadata = literals_pb2.StructuredDatasetMetadata(structured_dataset_type=kind)
    return _scalar(structured_dataset=literals_pb2.StructuredDataset(uri=uri, metadata=metadata))


def _refuse(value: Json, wanted: types_pb2.LiteralType) -> literals_pb2.Literal:
    raise JsonValueError("", f"{type_text(wanted)} is expected, not {_shown(value)}")


def _shown(value: Json) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value!r}"[:60]
        case str():
            return f"the text {value[:40]!r}"
        case list():
            return "a list"
        case dict():
            return "an object"


def _scalar(
    *,
    primitive: literals_pb2.Primitive | None = None,
    blob: literals_pb2.Blob | None = None,
    binary: literals_pb2.Binary | None = None,
    schema: literals_pb2.Schema | None = None,
    none_type: literals_pb2.Void | None = None,
    structured_dataset: literals_pb2.StructuredDataset | None = None,
    union: literals_pb2.Union | None = None,
) -> literals_pb2.Literal:
    return literals_pb2.Literal(
        scalar=literals_pb2.Scalar(
            primitive=primitive,
            blob=blob,
            binary=binary,
            schema=schema,
            none_type=none_type,
            structured_dataset=structured_dataset,
            union=union,
        )
    )


def _text(value: str) -> literals_pb2.Literal:
    literal = literals_pb2.Literal()
    literal.scalar.primitive.string_value = value
    return literal


def _primitive(primitive: literals_pb2.Primitive) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
