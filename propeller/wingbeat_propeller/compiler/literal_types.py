"""The type of a literal, as far as the literal itself shows it.

A list of a few million numbers is an ordinary input, so lists of fixed-width or integer primitives are recognised in
their serialized form by one regular expression, and other elements are told apart by a cheap key before any type
message is built. Depth is bounded by protobuf's own limit on nesting.
"""

import re
from collections.abc import Iterable

from flyteidl.core import literals_pb2, types_pb2

_SCAN_ELEMENTS_MIN = 64
"""Shorter lists are not worth serializing."""

_MSGPACK = "msgpack"
_PRIMITIVES = {
    "integer": types_pb2.INTEGER,
    "float_value": types_pb2.FLOAT,
    "string_value": types_pb2.STRING,
    "boolean": types_pb2.BOOLEAN,
    "datetime": types_pb2.DATETIME,
    "duration": types_pb2.DURATION,
}


class UnknownLiteralError(ValueError):
    """A literal without a value, or with one of a kind that this release does not know."""


def literal_type_of(literal: literals_pb2.Literal) -> types_pb2.LiteralType:
    """The type of `literal`; a list of elements of several types is a list of their union.

    Raises UnknownLiteralError.
    """
    match literal.WhichOneof("value"):
        case "scalar":
            return scalar_type_of(literal.scalar)
        case "collection":
            kind = _uniform_primitive(literal.collection)
            element = types_pb2.LiteralType(simple=kind) if kind else _common_type(literal.collection.literals)
            return types_pb2.LiteralType(collection_type=element)
        case "map":
            return types_pb2.LiteralType(map_value_type=_common_type(literal.map.literals.values()))
        case "offloaded_metadata":
            return literal.offloaded_metadata.inferred_type
        case _:
            raise UnknownLiteralError("a literal has no value of a known kind")


def scalar_type_of(scalar: literals_pb2.Scalar) -> types_pb2.LiteralType:
    """The type of a scalar. Raises UnknownLiteralError."""
    match scalar.WhichOneof("value"):
        case "primitive":
            kind = scalar.primitive.WhichOneof("value")
            if kind is None:
                raise UnknownLiteralError("a primitive has no value of a known kind")
            return types_pb2.LiteralType(simple=_PRIMITIVES[kind])
        case "blob":
            return types_pb2.LiteralType(blob=scalar.blob.metadata.type)
        case "binary":
            is_struct = scalar.binary.tag == _MSGPACK
            return types_pb2.LiteralType(simple=types_pb2.STRUCT if is_struct else types_pb2.BINARY)
        case "schema":
            return types_pb2.LiteralType(schema=scalar.schema.type)
        case "structured_dataset":
            dataset = scalar.structured_dataset.metadata.structured_dataset_type
            return types_pb2.LiteralType(structured_dataset_type=dataset)
        case "none_type":
            return types_pb2.LiteralType(simple=types_pb2.NONE)
        case "error":
            return types_pb2.LiteralType(simple=types_pb2.ERROR)
        case "generic":
            return types_pb2.LiteralType(simple=types_pb2.STRUCT)
        case "union":
            return types_pb2.LiteralType(union_type=types_pb2.UnionType(variants=[scalar.union.type]))
        case _:
            raise UnknownLiteralError("a scalar has no value of a known kind")


def _common_type(literals: Iterable[literals_pb2.Literal]) -> types_pb2.LiteralType:
    kinds: set[str | None] = set()
    types: dict[bytes, types_pb2.LiteralType] = {}
    empty: types_pb2.LiteralType | None = None
    for literal in literals:
        # Most elements are primitives: one set lookup for those, a type message for the others.
        kind = literal.scalar.primitive.WhichOneof("value")
        if kind is not None:
            kinds.add(kind)
        elif _is_empty(
            literal
        ):  # says nothing of its elements; Flyte v1 sees that of lists only, and refuses {} in lists
            empty = empty or literal_type_of(literal)
        else:
            literal_type = literal_type_of(literal)
            types.setdefault(literal_type.SerializeToString(deterministic=True), literal_type)
    found = [types_pb2.LiteralType(simple=kind) for name, kind in _PRIMITIVES.items() if name in kinds]
    found += types.values()
    if len(found) > 1:
        return _union_of(found)
    return found[0] if found else empty or types_pb2.LiteralType(simple=types_pb2.NONE)


def _is_empty(literal: literals_pb2.Literal) -> bool:
    match literal.WhichOneof("value"):
        case "collection":
            return not literal.collection.literals
        case "map":
            return not literal.map.literals
        case _:
            return False


def _union_of(found: list[types_pb2.LiteralType]) -> types_pb2.LiteralType:
    """One union of several types; lists of unions among them are merged into one list of a union."""
    variants: list[types_pb2.LiteralType] = []
    has_lists = False
    for literal_type in sorted(found, key=str):
        inner = literal_type.collection_type.union_type.variants
        has_lists = has_lists or len(inner) > 0
        variants += inner or (literal_type,)
    union = types_pb2.LiteralType(union_type=types_pb2.UnionType(variants=variants))
    return types_pb2.LiteralType(collection_type=union) if has_lists else union


def _integer_pattern() -> bytes:
    """Matches a serialized collection element `Literal{Scalar{Primitive{integer}}}` with a varint of 1 to 10 bytes."""
    choices = [
        b"\\x0a\\x%02x\\x0a\\x%02x\\x0a\\x%02x\\x08[\\x80-\\xff]{%d}[\\x00-\\x7f]"
        % (size + 5, size + 3, size + 1, size - 1)
        for size in range(1, 11)
    ]
    return b"|".join(choices)


# Possessive, so that the matcher keeps nothing for backtracking however long the list is.
_RUNS = {
    "integer": re.compile(b"(?:" + _integer_pattern() + b")*+", re.DOTALL),
    "float_value": re.compile(rb"(?:\x0a\x0d\x0a\x0b\x0a\x09\x11.{8})*+", re.DOTALL),
    "boolean": re.compile(rb"(?:\x0a\x06\x0a\x04\x0a\x02\x20[\x00\x01])*+", re.DOTALL),
}


def _uniform_primitive(collection: literals_pb2.LiteralCollection) -> types_pb2.SimpleType | None:
    """The kind of a long list of numbers or booleans and nothing else, None for any other list."""
    literals = collection.literals
    if len(literals) < _SCAN_ELEMENTS_MIN:
        return None
    kind = literals[0].scalar.primitive.WhichOneof("value")
    run = _RUNS.get(kind) if kind is not None else None
    if kind is None or run is None:
        return None
    return _PRIMITIVES[kind] if run.fullmatch(collection.SerializeToString()) is not None else None
