"""Files as outputs of simple types."""

import msgpack
import pytest
from flyteidl.core import types_pb2

from wingbeat_propeller.copilot.results import BadResultError, parse_simple


@pytest.mark.parametrize(
    ("simple", "content", "field", "value"),
    [
        (types_pb2.INTEGER, b" 42\n", "integer", 42),
        (types_pb2.FLOAT, b"1.5e3\n", "float_value", 1500.0),
        (types_pb2.FLOAT, b"3", "float_value", 3.0),
        (types_pb2.BOOLEAN, b"true\n", "boolean", True),
        (types_pb2.STRING, "\t ü x \n\n".encode(), "string_value", "ü x"),
        (types_pb2.STRING, b"", "string_value", ""),
    ],
)
def test_primitives(simple: "types_pb2.SimpleType", content: bytes, field: str, value: object) -> None:
    """The text without what surrounds it is the value."""
    primitive = parse_simple(simple, content).scalar.primitive
    assert primitive.WhichOneof("value") == field
    assert getattr(primitive, field) == value


def test_other_simple_types() -> None:
    """Datetime, duration, struct, binary, none and error."""
    assert parse_simple(types_pb2.DATETIME, b"1970-01-01T00:00:07Z").scalar.primitive.datetime.seconds == 7
    assert parse_simple(types_pb2.DURATION, b"1m1s").scalar.primitive.duration.seconds == 61
    assert parse_simple(types_pb2.STRUCT, b'{"a": [1]}').scalar.generic["a"][0] == 1
    assert parse_simple(types_pb2.STRUCT, b"{}").scalar.WhichOneof("value") == "generic"
    packed = msgpack.packb({"a": "\n"})
    binary = parse_simple(types_pb2.BINARY, packed).scalar.binary
    assert (binary.value, binary.tag) == (packed, "msgpack")
    assert parse_simple(types_pb2.NONE, b"").scalar.WhichOneof("value") == "none_type"
    assert parse_simple(types_pb2.ERROR, b"oh").scalar.error.message == "oh"


@pytest.mark.parametrize(
    ("simple", "content", "words"),
    [
        (types_pb2.INTEGER, b"3.0", "'3.0' is no value of type integer: an integer is written as decimal digits"),
        (types_pb2.INTEGER, b"", "'' is no value of type integer"),
        (types_pb2.BOOLEAN, b"yes", "a boolean is written as true or false"),
        (types_pb2.DATETIME, b"today", "2006-01-02T15:04:05Z"),
        (types_pb2.DURATION, b"7", "1h2m3s"),
        (types_pb2.STRUCT, b"[1]", "no JSON object"),
        (types_pb2.STRUCT, b"{", "no JSON object"),
        (types_pb2.BINARY, b"\xc1", "no msgpack"),
        (types_pb2.BINARY, b"ab", "no msgpack"),
        (types_pb2.STRING, b"\xff", "no UTF-8 text"),
        (types_pb2.STRING, b"x" * 1025, "more than 1024 bytes, the most for a value of type string"),
    ],
)
def test_what_is_wrong_is_said(simple: "types_pb2.SimpleType", content: bytes, words: str) -> None:
    """The sentence names the value, the type and what it should look like."""
    with pytest.raises(BadResultError) as caught:
        parse_simple(simple, content)
    assert words in str(caught.value)


def test_the_limit_itself_fits() -> None:
    """1,024 bytes are allowed."""
    assert len(parse_simple(types_pb2.STRING, b"x" * 1024).scalar.primitive.string_value) == 1024
