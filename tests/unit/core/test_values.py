"""Cutting and building LiteralMaps at the wire level must agree with protobuf."""

import contextlib

import pytest
from flyteidl.core import literals_pb2
from hypothesis import given
from hypothesis import strategies as st

from wingbeat_propeller.core.values import (
    NONE_LITERAL,
    Items,
    MalformedLiteralMapError,
    Ref,
    build_literal_map,
    collection_literal,
    count_items,
    inline_size,
    offloaded_uri,
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


def test_entries_without_key_or_value() -> None:
    """Fields that protobuf leaves out stand for their default, be the entry the last one or not."""
    assert split_literal_map(b"\x0a\x00") == {"": b""}
    assert split_literal_map(b"\x0a\x03\x0a\x01a\x0a\x02\x12\x00") == {"a": b"", "": b""}


def test_refs_have_no_inline_size() -> None:
    """One value that is elsewhere makes the map not inline."""
    assert inline_size({"a": b"xx", "b": Ref("u", "b")}) is None
    assert inline_size({"a": b"xx"}) == 11


def _collection(*items: literals_pb2.Literal) -> bytes:
    return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=items)).SerializeToString()


@pytest.mark.parametrize("size", [0, 1, 3, 300])
def test_items_of_a_collection(size: int) -> None:
    """Each item is found by its index, whatever the lengths of the others, and they make the same collection again."""
    items = [
        literals_pb2.Literal(scalar={"primitive": {"string_value": "s" * (17 * number % 400)}})
        for number in range(size)
    ]
    data = _collection(*items)
    found = Items(data)
    assert count_items(data) == len(found) == size
    assert [literals_pb2.Literal.FromString(found[number]) for number in range(size)] == items
    assert collection_literal(found[number] for number in range(size)) == data


def test_what_is_no_collection_has_no_items() -> None:
    """Scalars and maps; metadata beside a collection do no harm."""
    assert count_items(literals_pb2.Literal(scalar={"primitive": {"integer": 1}}).SerializeToString()) is None
    assert count_items(literals_pb2.Literal(map={}).SerializeToString()) is None
    literal = literals_pb2.Literal.FromString(_collection(literals_pb2.Literal()))
    literal.hash = "h"
    literal.metadata["key"] = "value"
    assert count_items(literal.SerializeToString()) == 1


def test_a_value_that_was_put_apart_says_where() -> None:
    """`offloaded_metadata` is found without parsing."""
    literal = literals_pb2.Literal(offloaded_metadata={"uri": "s3://b/k", "size_bytes": 7})
    assert offloaded_uri(literal.SerializeToString()) == "s3://b/k"
    assert offloaded_uri(_collection()) is None


@pytest.mark.parametrize("cut", range(1, 12))
def test_malformed_collections_are_refused(cut: int) -> None:
    """A collection that was cut off is an error, not a shorter list."""
    item = literals_pb2.Literal(scalar={"primitive": {"string_value": "text"}})
    data = _collection(item, item)
    with pytest.raises(MalformedLiteralMapError):
        count_items(data[:-cut])


def test_none_literal() -> None:
    """What failed elements leave."""
    assert literals_pb2.Literal.FromString(NONE_LITERAL).scalar.HasField("none_type")
