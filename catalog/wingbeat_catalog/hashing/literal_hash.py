"""PURE: digests of the inputs of a call, straight from the messages.

`exact_hash` is Flyte's: the digest of the inputs after dropping ignored ones and putting `{hash}` in the place of each
literal that has one. `canonical_hash` is the same where Flyte's is blind to order, and beyond that the same for values
that are equal: members of dataclasses and dictionaries in MessagePack are taken in one order, hashes of literals inside
of unions count, and of the type that a union names only what tells its variants apart. Where nothing of that kind
occurs, both are equal.

The digests are those of the JSON form (`object_hash`), which is never made for the usual kinds of literals: that would
cost more than all the rest of a cached node. Equality with the plain way is a property test.
"""

import base64
import math
from collections.abc import Collection, Mapping
from functools import lru_cache

from flyteidl.core import literals_pb2, types_pb2

from wingbeat_catalog.hashing.field_order import in_order
from wingbeat_catalog.hashing.interfaces import strip_type
from wingbeat_catalog.hashing.object_hash import (
    EMPTY_OBJECT,
    FALSE,
    TRUE,
    member_hash,
    members_hash,
    message_hash,
    name_hash,
    number_hash,
    pairs_hash,
    struct_hash,
    text_hash,
)

MSGPACK = "msgpack"

_HASH = name_hash("hash")
_SCALAR = name_hash("scalar")
_COLLECTION = name_hash("collection")
_MAP = name_hash("map")
_LITERALS = name_hash("literals")
_METADATA = name_hash("metadata")
_PRIMITIVE = name_hash("primitive")
_INTEGER = name_hash("integer")
_FLOAT = name_hash("floatValue")
_STRING = name_hash("stringValue")
_BOOLEAN = name_hash("boolean")
_DATETIME = name_hash("datetime")
_DURATION = name_hash("duration")
_BLOB = name_hash("blob")
_URI = name_hash("uri")
_TYPE = name_hash("type")
_BINARY = name_hash("binary")
_VALUE = name_hash("value")
_TAG = name_hash("tag")
_GENERIC = name_hash("generic")
_UNION = name_hash("union")
_NONE = member_hash(name_hash("noneType"), EMPTY_OBJECT)


def exact_hash(inputs: literals_pb2.LiteralMap, ignored: Collection[str]) -> bytes:
    """Flyte's digest of the inputs, 32 bytes. Raises ValueError for a value without a JSON form."""
    return _inputs_hash(inputs, ignored, canonical=False)


def canonical_hash(inputs: literals_pb2.LiteralMap, ignored: Collection[str]) -> bytes:
    """The digest that equal inputs share, 32 bytes. Raises ValueError as `exact_hash`."""
    return _inputs_hash(inputs, ignored, canonical=True)


def has_order(inputs: literals_pb2.LiteralMap, ignored: Collection[str]) -> bool:
    """Whether the two digests may differ."""
    return any(name not in ignored and (_is_ordered(literal)) for name, literal in inputs.literals.items())


def _is_ordered(literal: literals_pb2.Literal) -> bool:
    if literal.hash:
        return False
    match literal.WhichOneof("value"):
        case "scalar":
            return literal.scalar.WhichOneof("value") in ("binary", "union")
        case "collection":
            return any(map(_is_ordered, literal.collection.literals))
        case "map":
            return any(map(_is_ordered, literal.map.literals.values()))
        case _:
            return False


def _inputs_hash(inputs: literals_pb2.LiteralMap, ignored: Collection[str], *, canonical: bool) -> bytes:
    pairs = [
        (name_hash(name), _key_hash(literal, canonical=canonical))
        for name, literal in inputs.literals.items()
        if name not in ignored
    ]
    return member_hash(_LITERALS, pairs_hash(pairs)) if pairs else EMPTY_OBJECT


def _key_hash(literal: literals_pb2.Literal, *, canonical: bool) -> bytes:
    """Digest of a literal after its hash, or those of its members, took the place of what they stand for."""
    if literal.hash:
        return member_hash(_HASH, text_hash(literal.hash))
    match literal.WhichOneof("value"):
        case "scalar":
            return _scalar_literal_hash(literal, canonical=canonical)
        case "collection":
            members = [_key_hash(member, canonical=canonical) for member in literal.collection.literals]
            return member_hash(_COLLECTION, _list_hash(members))
        case "map":
            items = literal.map.literals.items()
            return member_hash(
                _MAP, _map_hash({name: _key_hash(member, canonical=canonical) for name, member in items})
            )
        case _:
            return message_hash(literal)


def _whole_hash(literal: literals_pb2.Literal) -> bytes:
    """Digest of a literal as it stands, which is how Flyte takes what lies in a union."""
    if literal.WhichOneof("value") == "scalar" and not literal.hash:
        return _scalar_literal_hash(literal, canonical=False)
    return message_hash(literal)


def _scalar_literal_hash(literal: literals_pb2.Literal, *, canonical: bool) -> bytes:
    digest = _scalar_hash(literal.scalar, canonical=canonical)
    if not literal.metadata:
        return member_hash(_SCALAR, digest)
    return pairs_hash(((_SCALAR, digest), (_METADATA, _texts_hash(literal.metadata))))


def _scalar_hash(scalar: literals_pb2.Scalar, *, canonical: bool) -> bytes:
    match scalar.WhichOneof("value"):
        case "primitive":
            return member_hash(_PRIMITIVE, _primitive_hash(scalar.primitive))
        case "none_type":
            return _NONE
        case "blob":
            return member_hash(_BLOB, _blob_hash(scalar.blob))
        case "binary":
            return member_hash(_BINARY, _binary_hash(scalar.binary, canonical=canonical))
        case "generic":
            return member_hash(_GENERIC, struct_hash(scalar.generic))
        case "union":
            return member_hash(_UNION, _union_hash(scalar.union, canonical=canonical))
        case _:
            return message_hash(scalar)


def _primitive_hash(primitive: literals_pb2.Primitive) -> bytes:
    match primitive.WhichOneof("value"):
        case "integer":
            return member_hash(_INTEGER, text_hash(str(primitive.integer)))
        case "string_value":
            return member_hash(_STRING, text_hash(primitive.string_value))
        case "float_value":
            return member_hash(_FLOAT, _float_hash(primitive.float_value))
        case "boolean":
            return member_hash(_BOOLEAN, TRUE if primitive.boolean else FALSE)
        case "datetime":
            return member_hash(_DATETIME, text_hash(primitive.datetime.ToJsonString()))
        case "duration":
            return member_hash(_DURATION, text_hash(primitive.duration.ToJsonString()))
        case _:
            return EMPTY_OBJECT


def _float_hash(number: float) -> bytes:
    """JSON of a message spells what is no number in letters."""
    if math.isfinite(number):
        return number_hash(number)
    return text_hash("NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity")


def _blob_hash(blob: literals_pb2.Blob) -> bytes:
    pairs: list[tuple[bytes, bytes]] = []
    if blob.HasField("metadata"):
        metadata = blob.metadata
        kind = _message_bytes_hash(metadata.type.SerializeToString(deterministic=True), types_pb2.BlobType)
        pairs.append((_METADATA, member_hash(_TYPE, kind) if metadata.HasField("type") else EMPTY_OBJECT))
    if blob.uri:
        pairs.append((_URI, text_hash(blob.uri)))
    return pairs_hash(pairs)


def _binary_hash(binary: literals_pb2.Binary, *, canonical: bool) -> bytes:
    data = in_order(binary.value) if canonical and binary.tag == MSGPACK else binary.value
    pairs: list[tuple[bytes, bytes]] = []
    if data:
        pairs.append((_VALUE, text_hash(base64.b64encode(data).decode())))
    if binary.tag:
        pairs.append((_TAG, name_hash(binary.tag)))
    return pairs_hash(pairs)


def _union_hash(union: literals_pb2.Union, *, canonical: bool) -> bytes:
    pairs: list[tuple[bytes, bytes]] = []
    if union.HasField("value"):
        pairs.append((_VALUE, _key_hash(union.value, canonical=True) if canonical else _whole_hash(union.value)))
    if union.HasField("type"):
        variant = union.type.SerializeToString(deterministic=True)
        pairs.append(
            (_TYPE, _variant_hash(variant) if canonical else _message_bytes_hash(variant, types_pb2.LiteralType))
        )
    return pairs_hash(pairs)


def _list_hash(members: list[bytes]) -> bytes:
    return member_hash(_LITERALS, members_hash(members)) if members else EMPTY_OBJECT


def _map_hash(members: Mapping[str, bytes]) -> bytes:
    if not members:
        return EMPTY_OBJECT
    return member_hash(_LITERALS, pairs_hash((name_hash(name), digest) for name, digest in members.items()))


def _texts_hash(texts: Mapping[str, str]) -> bytes:
    return pairs_hash((name_hash(name), text_hash(text)) for name, text in texts.items())


@lru_cache(maxsize=1024)
def _message_bytes_hash(data: bytes, kind: type[types_pb2.BlobType] | type[types_pb2.LiteralType]) -> bytes:
    """Types are few and large, so their digests are kept."""
    return message_hash(kind.FromString(data))


@lru_cache(maxsize=1024)
def _variant_hash(data: bytes) -> bytes:
    return message_hash(strip_type(types_pb2.LiteralType.FromString(data)))
