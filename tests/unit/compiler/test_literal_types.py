"""Types of literals."""

import pytest
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from tests.unit.compiler.builders import (
    BINARY,
    BOOL,
    DATETIME,
    DURATION,
    ERROR,
    FLOAT,
    INT,
    NONE,
    STR,
    STRUCT,
    blob,
    dataset,
    list_of,
    literal,
    map_of,
    schema,
    tagged,
    union,
)

from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, literal_type_of

Literal, Scalar, Primitive, Type = (
    literals_pb2.Literal,
    literals_pb2.Scalar,
    literals_pb2.Primitive,
    types_pb2.LiteralType,
)


def _scalar(scalar: Scalar) -> Literal:
    return Literal(scalar=scalar)


def _union(value: object, kind: Type) -> Literal:
    return _scalar(Scalar(union=literals_pb2.Union(value=literal(value), type=kind)))


U_INT = _union(1, tagged(INT, "int"))
U_STR = _union("x", tagged(STR, "str"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, INT),
        (0, INT),
        (1.5, FLOAT),
        ("x", STR),
        (False, BOOL),
        (None, NONE),
        (_scalar(Scalar(primitive=Primitive(datetime=timestamp_pb2.Timestamp()))), DATETIME),
        (_scalar(Scalar(primitive=Primitive(duration=duration_pb2.Duration()))), DURATION),
        (_scalar(Scalar(binary=literals_pb2.Binary(value=b"", tag="msgpack"))), STRUCT),
        (_scalar(Scalar(binary=literals_pb2.Binary(value=b""))), BINARY),
        (_scalar(Scalar(generic=struct_pb2.Struct())), STRUCT),
        (_scalar(Scalar(error=types_pb2.Error())), ERROR),
        (
            _scalar(Scalar(blob=literals_pb2.Blob(metadata=literals_pb2.BlobMetadata(type=blob("csv").blob)))),
            blob("csv"),
        ),
        (_scalar(Scalar(schema=literals_pb2.Schema(type=schema(a=1).schema))), schema(a=1)),
        (_scalar(Scalar(structured_dataset=literals_pb2.StructuredDataset())), dataset()),
        (
            _scalar(
                Scalar(
                    structured_dataset=literals_pb2.StructuredDataset(
                        metadata=literals_pb2.StructuredDatasetMetadata(
                            structured_dataset_type=dataset("csv", a=INT).structured_dataset_type
                        )
                    )
                )
            ),
            dataset("csv", a=INT),
        ),
        (U_INT, union(tagged(INT, "int"))),
        ([], list_of(NONE)),
        ({}, map_of(NONE)),
        ([1, 2], list_of(INT)),
        (["a"], list_of(STR)),
        ({"a": [1]}, map_of(list_of(INT))),
        ([[], [1]], list_of(list_of(INT))),
        ([[], []], list_of(list_of(NONE))),
        ([1, None], list_of(union(INT, NONE))),
        ([U_INT, U_STR], list_of(union(union(tagged(INT, "int")), union(tagged(STR, "str"))))),
        ([[U_INT], [U_STR]], list_of(list_of(union(tagged(INT, "int"), tagged(STR, "str"))))),
        (
            Literal(offloaded_metadata=literals_pb2.LiteralOffloadedMetadata(inferred_type=list_of(INT))),
            list_of(INT),
        ),
    ],
)
def test_type_of_literal(value: object, expected: Type) -> None:
    """A literal shows its own type."""
    found = literal_type_of(literal(value))
    if found.collection_type.HasField("union_type"):
        variants = found.collection_type.union_type.variants
        assert sorted(variants, key=str) == sorted(expected.collection_type.union_type.variants, key=str)
    else:
        assert found == expected


@pytest.mark.parametrize(
    "value",
    [
        Literal(),
        Literal(scalar=Scalar()),
        Literal(scalar=Scalar(primitive=Primitive())),
        literal([Literal()]),
        literal({"a": [Literal(scalar=Scalar())]}),
    ],
)
def test_unknown_literals_are_refused(value: Literal) -> None:
    """A literal without a value has no type, however deep it hides."""
    with pytest.raises(UnknownLiteralError):
        literal_type_of(value)


INTEGERS = [0, 1, 127, 128, 2**14 - 1, 2**14, 2**21, 2**28, 2**35, 2**42, 2**49, 2**56, 2**63 - 1, -1, -(2**63)]


@pytest.mark.parametrize(
    ("values", "element"), [(INTEGERS, INT), ([0.0, -1.5, float("inf")], FLOAT), ([True, False], BOOL)]
)
def test_long_lists_of_numbers(values: list[object], element: Type) -> None:
    """Long lists take another way to the same type; one stranger anywhere is noticed."""
    long = values * 100
    assert literal_type_of(literal(long)) == list_of(element)
    for position in (0, 700 % len(long), len(long) - 1):
        mixed = [*long[:position], "stranger", *long[position:]]
        assert {str(variant) for variant in literal_type_of(literal(mixed)).collection_type.union_type.variants} == {
            str(element),
            str(STR),
        }


def test_hash_and_metadata_do_not_change_the_type() -> None:
    """Elements that carry a hash are integers still."""
    values = literal([1] * 100)
    values.collection.literals[50].hash = "h"
    values.collection.literals[51].metadata["k"] = "v"
    assert literal_type_of(values) == list_of(INT)
