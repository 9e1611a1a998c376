"""PURE: what is kept beside an entry of the inputs that its key was made of, so that a miss can be explained later.

It is the map that was hashed: without ignored inputs, and with `{hash}` in the place of literals that have one. Large
values are cut to a digest (a literal with nothing but a hash), of which can be told that they differ, but not where.
"""

from collections.abc import Collection

from flyteidl.core import literals_pb2

from wingbeat_catalog.hashing.literal_hash import exact_hash
from wingbeat_catalog.hashing.object_hash import text_of

DIGEST_PREFIX = "wingbeat-sha256:"
"""Of hashes that stand for large values; hashes that users give are their own."""


def key_parts(inputs: literals_pb2.LiteralMap, ignored: Collection[str], size_max: int) -> literals_pb2.LiteralMap:
    """The map as it is kept; serialized about `size_max` bytes at most, or less than 100 bytes an input."""
    parts = literals_pb2.LiteralMap()
    for name, literal in inputs.literals.items():
        if name not in ignored:
            _hashify(literal, parts.literals[name])
    size_each = size_max // max(1, len(parts.literals))
    if parts.ByteSize() > size_max:
        for literal in parts.literals.values():
            if literal.ByteSize() > size_each:
                digest = exact_hash(literals_pb2.LiteralMap(literals={"": literal}), ())
                literal.Clear()
                literal.hash = DIGEST_PREFIX + text_of(digest)
    return parts


def serialized_parts(inputs: literals_pb2.LiteralMap, ignored: Collection[str], size_max: int) -> bytes:
    """The same serialized, without a copy where the map stays what it is, as most small ones do."""
    is_same = not ignored and inputs.ByteSize() <= size_max
    if is_same and all(literal.HasField("scalar") and not literal.hash for literal in inputs.literals.values()):
        return inputs.SerializeToString()
    return key_parts(inputs, ignored, size_max).SerializeToString()


def _hashify(literal: literals_pb2.Literal, target: literals_pb2.Literal) -> None:
    if literal.hash:
        target.hash = literal.hash
        return
    match literal.WhichOneof("value"):
        case "collection":
            target.collection.SetInParent()
            for member in literal.collection.literals:
                _hashify(member, target.collection.literals.add())
        case "map":
            target.map.SetInParent()
            for name, member in literal.map.literals.items():
                _hashify(member, target.map.literals[name])
        case _:
            target.CopyFrom(literal)
