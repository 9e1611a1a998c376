"""Literals as text for a command line, in the notation that Flyte v1 gives its containers.

Numbers, maps and lists follow Go's default formatting, because shell tasks written against Flyte parse that. Kinds
without an agreed notation (maps of literals, structured datasets, structs, unions) are refused, not guessed.
"""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import cast

import msgpack
from flyteidl.core import literals_pb2
from google.protobuf import duration_pb2, timestamp_pb2

_unpack = cast("Callable[..., object]", msgpack.unpackb)  # the package carries no types


class UnprintableLiteralError(ValueError):
    """The literal is of a kind that has no text form."""


def literal_text(literal: literals_pb2.Literal) -> str:
    """Text of a literal: primitives as they read, URIs of blobs and schemas, lists as `[a,b]`.

    Raises UnprintableLiteralError for every other kind.
    """
    kind = literal.WhichOneof("value")
    if kind == "collection":
        return f"[{','.join(literal_text(item) for item in literal.collection.literals)}]"
    if kind == "scalar":
        return _scalar_text(literal.scalar)
    raise UnprintableLiteralError(f"a literal of kind {kind or 'nothing'} cannot be part of a command line")


def _scalar_text(scalar: literals_pb2.Scalar) -> str:
    kind = scalar.WhichOneof("value")
    if kind == "primitive":
        return _primitive_text(scalar.primitive)
    if kind == "blob":
        return scalar.blob.uri
    if kind == "schema":
        return scalar.schema.uri
    if kind == "binary":
        return _binary_text(scalar.binary)
    raise UnprintableLiteralError(f"a scalar of kind {kind or 'nothing'} cannot be part of a command line")


def _primitive_text(primitive: literals_pb2.Primitive) -> str:
    kind = primitive.WhichOneof("value")
    if kind == "integer":
        return str(primitive.integer)
    if kind == "boolean":
        return "true" if primitive.boolean else "false"
    if kind == "float_value":
        return _float_text(primitive.float_value)
    if kind == "string_value":
        return primitive.string_value
    if kind == "datetime":
        return _datetime_text(primitive.datetime)
    if kind == "duration":
        return _duration_text(primitive.duration)
    raise UnprintableLiteralError("an empty primitive cannot be part of a command line")


def _binary_text(binary: literals_pb2.Binary) -> str:
    if binary.tag != "msgpack":
        raise UnprintableLiteralError(f"binary data with tag {binary.tag!r} cannot be part of a command line")
    try:
        return _plain_text(_unpack(binary.value, strict_map_key=False))
    except ValueError as error:  # msgpack's own errors derive from it
        raise UnprintableLiteralError(f"the value is no valid msgpack: {error}") from error


def _plain_text(value: object) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, dict):
        pairs = sorted(
            (_plain_text(key), _plain_text(item)) for key, item in cast("dict[object, object]", value).items()
        )
        return f"map[{' '.join(f'{key}:{item}' for key, item in pairs)}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(_plain_text(item) for item in cast('list[object]', value))}]"
    if isinstance(value, bytes):
        return f"[{' '.join(str(byte) for byte in value)}]"
    return str(value)


def _float_text(value: float) -> str:
    """Shortest digits that read back as the same number, with an exponent below 1e-4 and from 1e6 on up, as in Go."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    number = Decimal(repr(value)).normalize()
    if number.is_zero():
        return "-0" if number.is_signed() else "0"
    magnitude = number.adjusted()
    if -4 <= magnitude < 6:
        return f"{number:f}"
    mantissa = number.scaleb(-magnitude)
    return f"{mantissa:f}e{'-' if magnitude < 0 else '+'}{abs(magnitude):02d}"


def _datetime_text(moment: timestamp_pb2.Timestamp) -> str:
    text = moment.ToJsonString()
    return text[:-1].rstrip("0").rstrip(".") + "Z" if "." in text else text


def _duration_text(span: duration_pb2.Duration) -> str:
    return span.ToJsonString()  # `90s`: protobuf's own notation, which Go programs parse as well
