"""Cutting and building LiteralMaps at the wire level must agree with protobuf."""

import contextlib

import pytest
from flyteidl.core import literals_pb2
from hypothesis import given
from hypothesis import strategies as st

from wingbeat_propeller.core.values import (
    MalformedLiteralMapError,
    Ref,
    build_literal_map,
    inline_size,
    split_literal_map,
)


def _text(value: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


_maps = st.dictionaries(st.text(max_size=200), st.text(max_size=400), max_size=6)


@given(_maps)
def test_split_agrees_with_protobuf(texts: dict[str, str]) -> None:
    """Every entry comes out under its name as protobuf would serialize it."""
    message = literals_pb2.LiteralMap(literals={key: _text(value) for key, value in texts.items()})
    cut = split_literal_map(message.SerializeToString())
    assert {key: literals_pb2.Literal.FromString(data) for key, data in cut.items()} == dict(message.literals)


@given(_maps)
def test_build_agrees_with_protobuf(texts: dict[str, str]) -> None:
    """What is built parses to the same map."""
    built = build_literal_map({key: _text(value).SerializeToString() for key, value in texts.items()})
    expected = literals_pb2.LiteralMap(literals={key: _text(value) for key, value in texts.items()})
    assert literals_pb2.LiteralMap.FromString(built) == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_a_map_or_an_error(data: bytes) -> None:
    """Foreign bytes never raise anything else."""
    with contextlib.suppress(MalformedLiteralMapError):
        split_literal_map(data)


def test_truncated_map_is_refused() -> None:
    """A map that was cut off is malformed, not shorter."""
    data = literals_pb2.LiteralMap(literals={"a": _text("x" * 50)}).SerializeToString()
    for end in range(1, len(data)):
        with pytest.raises(MalformedLiteralMapError):
            split_literal_map(data[:end])


def test_refs_have_no_inline_size() -> None:
    """One value that is elsewhere makes the map not inline."""
    assert inline_size({"a": b"xx", "b": Ref("u", "b")}) is None
    assert inline_size({"a": b"xx"}) == 11
