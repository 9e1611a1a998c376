"""Digests of literals straight from the messages are those of their JSON form."""

from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import duration_pb2, json_format, struct_pb2, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st

from wingbeat_catalog.hashing.key_parts import key_parts
from wingbeat_catalog.hashing.literal_hash import canonical_hash, exact_hash, has_order
from wingbeat_catalog.hashing.object_hash import object_hash

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_NAMES = st.sampled_from(["a", "b", "hash", "é", ""])
_TYPES = st.sampled_from(
    [
        types_pb2.LiteralType(),
        types_pb2.LiteralType(simple=types_pb2.NONE),
        types_pb2.LiteralType(simple=types_pb2.STRUCT, structure=types_pb2.TypeStructure(tag="x")),
        types_pb2.LiteralType(simple=types_pb2.STRUCT, metadata=json_format.ParseDict({"t": 1}, struct_pb2.Struct())),
        types_pb2.LiteralType(collection_type=types_pb2.LiteralType(simple=types_pb2.INTEGER)),
    ]
)
_TIMES = st.builds(
    timestamp_pb2.Timestamp,
    seconds=st.integers(-62135596800, 253402300799),
    nanos=st.sampled_from([0, 1, 1000, 120_000_000, 999_999_999]),
)
_DURATIONS = st.builds(
    duration_pb2.Duration,
    seconds=st.integers(0, 315_576_000_000),
    nanos=st.sampled_from([0, 7, 50_000, 250_000_000]),
)
_PRIMITIVES = st.one_of(
    st.builds(literals_pb2.Primitive, integer=st.integers(-(2**63), 2**63 - 1)),
    st.builds(literals_pb2.Primitive, float_value=st.floats()),
    st.builds(literals_pb2.Primitive, string_value=_TEXTS),
    st.builds(literals_pb2.Primitive, boolean=st.booleans()),
    st.builds(literals_pb2.Primitive, datetime=_TIMES),
    st.builds(literals_pb2.Primitive, duration=_DURATIONS),
    st.just(literals_pb2.Primitive()),
)
_BLOB_TYPES = st.builds(
    types_pb2.BlobType,
    format=st.sampled_from(["", "csv"]),
    dimensionality=st.sampled_from([types_pb2.BlobType.SINGLE, types_pb2.BlobType.MULTIPART]),
)
_BLOBS = st.builds(
    literals_pb2.Blob,
    uri=_TEXTS,
    metadata=st.none() | st.builds(literals_pb2.BlobMetadata, type=st.none() | _BLOB_TYPES),
)
_PLAIN = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


def _struct(fields: dict[str, object]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(fields)
    return struct


_SCALARS = st.one_of(
    st.builds(literals_pb2.Scalar, primitive=_PRIMITIVES),
    st.builds(literals_pb2.Scalar, none_type=st.just(literals_pb2.Void())),
    st.builds(literals_pb2.Scalar, blob=_BLOBS),
    st.builds(
        literals_pb2.Scalar,
        binary=st.builds(literals_pb2.Binary, value=st.binary(max_size=8), tag=st.sampled_from(["", "x", "msgpack"])),
    ),
    st.builds(literals_pb2.Scalar, generic=st.builds(_struct, st.dictionaries(_TEXTS, _PLAIN, max_size=3))),
    st.builds(literals_pb2.Scalar, structured_dataset=st.builds(literals_pb2.StructuredDataset, uri=_TEXTS)),
    st.builds(literals_pb2.Scalar, error=st.builds(types_pb2.Error, message=_TEXTS)),
    st.just(literals_pb2.Scalar()),
)
_HASHES = st.sampled_from(["", "", "", "given"])
_METADATA = st.dictionaries(_NAMES, _TEXTS, max_size=2) | st.just({})


def _nested(inner: st.SearchStrategy[literals_pb2.Literal]) -> st.SearchStrategy[literals_pb2.Literal]:
    lists = st.builds(literals_pb2.LiteralCollection, literals=st.lists(inner, max_size=3))
    maps = st.builds(literals_pb2.LiteralMap, literals=st.dictionaries(_NAMES, inner, max_size=3))
    unions = st.builds(literals_pb2.Union, value=st.none() | inner, type=st.none() | _TYPES)
    return st.one_of(
        st.builds(literals_pb2.Literal, collection=lists, hash=_HASHES, metadata=_METADATA),
        st.builds(literals_pb2.Literal, map=maps, hash=_HASHES, metadata=_METADATA),
        st.builds(
            literals_pb2.Literal,
            scalar=st.builds(literals_pb2.Scalar, union=unions),
            hash=_HASHES,
            metadata=_METADATA,
        ),
    )


_LITERALS = st.recursive(
    st.builds(literals_pb2.Literal, scalar=_SCALARS, hash=_HASHES, metadata=_METADATA)
    | st.just(literals_pb2.Literal())
    | st.builds(
        literals_pb2.Literal,
        offloaded_metadata=st.builds(literals_pb2.LiteralOffloadedMetadata, uri=_TEXTS, size_bytes=st.integers(0, 9)),
    ),
    _nested,
    max_leaves=8,
)
_MAPS = st.builds(literals_pb2.LiteralMap, literals=st.dictionaries(_NAMES, _LITERALS, max_size=4))


def _plain_way(inputs: literals_pb2.LiteralMap, ignored: frozenset[str]) -> bytes:
    """The digest of the JSON form of the map after hashes took the place of what they stand for."""
    parts = key_parts(inputs, ignored, 1 << 30)
    return object_hash(json_format.MessageToDict(parts))


@given(_MAPS, st.frozensets(_NAMES, max_size=2))
def test_the_fast_way_is_the_plain_way(inputs: literals_pb2.LiteralMap, ignored: frozenset[str]) -> None:
    """Whatever the inputs: the same digest as by way of JSON, and order counts only where it may."""
    exact = exact_hash(inputs, ignored)
    assert exact == _plain_way(inputs, ignored)
    if not has_order(inputs, ignored):
        assert canonical_hash(inputs, ignored) == exact


@given(_MAPS, st.frozensets(_NAMES, max_size=2))
def test_a_copy_has_the_same_key(inputs: literals_pb2.LiteralMap, ignored: frozenset[str]) -> None:
    """Serialized and parsed again, inputs have the same digests, and so have the parts that are kept of them."""
    copy = literals_pb2.LiteralMap.FromString(inputs.SerializeToString())
    assert exact_hash(copy, ignored) == exact_hash(inputs, ignored)
    assert canonical_hash(copy, ignored) == canonical_hash(inputs, ignored)
    assert exact_hash(key_parts(inputs, ignored, 1 << 30), ()) == exact_hash(inputs, ignored)
