"""The table of castability, pair by pair."""

import pytest
from flyteidl.core import types_pb2
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
    enum,
    list_of,
    map_of,
    schema,
    struct,
    tagged,
    union,
)

from wingbeat_propeller.compiler.castability import is_castable, is_optional
from wingbeat_propeller.compiler.type_text import type_text

Type = types_pb2.LiteralType
Column = types_pb2.SchemaType.SchemaColumn

PERSON = {"type": "object", "title": "Person", "required": ["name"], "properties": {"name": {"type": "string"}}}
STUDENT = {
    "type": "object",
    "title": "Student",
    "required": ["name", "school"],
    "properties": {"name": {"type": "string"}, "school": {"type": "string"}},
}
OPTIONAL_INT = union(tagged(INT, "int"), tagged(NONE, "none"))

CASTABLE = [
    *((kind, kind) for kind in (NONE, INT, FLOAT, STR, BOOL, DATETIME, DURATION, BINARY, ERROR, STRUCT)),
    (enum("a", "b"), STR),
    (STR, enum("a", "b")),
    (enum("a", "b"), enum("a", "b")),
    (INT, tagged(INT, "int")),
    (tagged(INT, "int"), tagged(INT, "int")),
    (list_of(INT), list_of(INT)),
    (list_of(NONE), list_of(INT)),
    (list_of(NONE), list_of(list_of(INT))),
    (list_of(enum("a")), list_of(STR)),
    (map_of(INT), map_of(INT)),
    (map_of(NONE), map_of(INT)),
    (list_of(INT), list_of(OPTIONAL_INT)),
    (blob("csv"), blob("csv")),
    (blob(), blob("csv")),
    (blob("csv"), blob()),
    (
        Type(blob=types_pb2.BlobType(dimensionality=types_pb2.BlobType.MULTIPART)),
        Type(blob=types_pb2.BlobType(dimensionality=types_pb2.BlobType.SINGLE)),
    ),
    (schema(), schema(a=Column.INTEGER)),
    (schema(a=Column.INTEGER), schema()),
    (schema(a=Column.INTEGER, b=Column.FLOAT), schema(a=Column.INTEGER)),
    (dataset("parquet", a=INT), schema(a=Column.INTEGER)),
    (dataset("Parquet"), schema(a=Column.INTEGER)),
    (dataset(), schema(a=Column.INTEGER)),
    (NONE, dataset()),
    (dataset("parquet"), dataset()),
    (dataset(), dataset("csv")),
    (dataset("CSV"), dataset("csv")),
    (dataset(a=INT, b=list_of(INT)), dataset(b=list_of(INT))),
    (dataset(a=enum("x")), dataset(a=STR)),
    (schema(a=Column.INTEGER), dataset("parquet", a=INT)),
    (schema(a=Column.DURATION, b=Column.STRING), dataset(a=DURATION)),
    (INT, OPTIONAL_INT),
    (NONE, OPTIONAL_INT),
    (OPTIONAL_INT, OPTIONAL_INT),
    (union(tagged(INT, "int")), OPTIONAL_INT),
    (union(tagged(INT, "int")), tagged(INT, "int")),
    (union(union(tagged(INT, "int")), union(tagged(NONE, "none"))), OPTIONAL_INT),
    (STRUCT, struct(PERSON)),
    (struct(PERSON), STRUCT),
    (struct(PERSON), struct(PERSON)),
    (struct(STUDENT), struct(PERSON)),
]

NOT_CASTABLE = [
    (INT, FLOAT),
    (FLOAT, INT),
    (INT, STR),
    (STR, INT),
    (NONE, INT),
    (INT, NONE),
    (enum("a"), enum("b")),
    (enum("a", "b"), enum("a")),
    (INT, enum("a")),
    (tagged(INT, "int"), tagged(INT, "other")),
    (tagged(INT, "int"), INT),
    (list_of(INT), INT),
    (INT, list_of(INT)),
    (NONE, list_of(INT)),
    (list_of(INT), list_of(FLOAT)),
    (list_of(INT), list_of(list_of(INT))),
    (list_of(INT), map_of(INT)),
    (map_of(INT), map_of(STR)),
    (map_of(INT), STRUCT),
    (blob("csv"), blob("pdf")),
    (NONE, blob()),
    (STR, blob()),
    (schema(a=Column.INTEGER), schema(a=Column.FLOAT)),
    (schema(a=Column.INTEGER), schema(a=Column.INTEGER, b=Column.INTEGER)),
    (dataset("csv"), schema()),
    (dataset(a=STR), schema(a=Column.INTEGER)),
    (dataset(a=list_of(INT)), schema(a=Column.INTEGER)),
    (NONE, schema()),
    (dataset("csv"), dataset("parquet")),
    (dataset(a=INT), dataset(b=INT)),
    (dataset(a=INT), dataset(a=FLOAT)),
    (schema(), dataset("csv")),
    (schema(a=Column.INTEGER), dataset(a=FLOAT)),
    (schema(a=Column.INTEGER), dataset(b=INT)),
    (INT, dataset()),
    (FLOAT, OPTIONAL_INT),
    (OPTIONAL_INT, INT),
    (INT, union(tagged(INT, "a"), tagged(INT, "b"))),
    (union(tagged(INT, "int"), tagged(STR, "str")), OPTIONAL_INT),
    (struct(PERSON), struct(STUDENT)),
    (struct(PERSON), BINARY),
    (Type(), INT),
    (INT, Type()),
]


def _name(value: object) -> str:
    return type_text(value) if isinstance(value, Type) else ""


@pytest.mark.parametrize(("upstream", "downstream"), CASTABLE, ids=_name)
def test_castable(upstream: Type, downstream: Type) -> None:
    """A literal of the upstream type can be read where the downstream type is expected."""
    assert is_castable(upstream, downstream)


@pytest.mark.parametrize(("upstream", "downstream"), NOT_CASTABLE, ids=_name)
def test_not_castable(upstream: Type, downstream: Type) -> None:
    """Nothing is converted, so types that would need it are refused."""
    assert not is_castable(upstream, downstream)


def test_nested_unions_are_judged_once() -> None:
    """Unions of one variant nested forty times on both sides end at once, though each level may be tried two ways."""
    upstream, downstream = INT, FLOAT
    for _ in range(40):
        upstream, downstream = union(upstream), union(downstream, STR)
    assert not is_castable(upstream, downstream)


def test_optional_types() -> None:
    """Only a union with a variant for nothing may stay unbound."""
    assert is_optional(OPTIONAL_INT)
    assert not is_optional(union(INT, STR))
    assert not is_optional(NONE)


@pytest.mark.parametrize(
    ("literal_type", "text"),
    [
        (list_of(map_of(INT)), "List[Map[String, Integer]]"),
        (OPTIONAL_INT, "Union[Integer (tag 'int'), None (tag 'none')]"),
        (enum("a", "b"), "Enum['a', 'b']"),
        (blob("csv"), "Blob[file of format 'csv']"),
        (schema(a=Column.INTEGER), "Schema[a: Integer]"),
        (dataset("parquet", a=list_of(STR)), "StructuredDataset[a: List[String] of format 'parquet']"),
        (struct(PERSON), "Struct[Person]"),
        (struct({}, b=INT, a=STR), "Struct{a: String, b: Integer}"),
        (Type(simple=types_pb2.SimpleType.ValueType(77)), "simple type 77"),
        (Type(), "unknown type"),
        (None, "unknown type"),
    ],
)
def test_types_read_well(literal_type: Type | None, text: str) -> None:
    """Types are named in messages the way a Python programmer would."""
    assert type_text(literal_type) == text


def test_long_types_are_shortened() -> None:
    """A type of thousands of values does not fill the message."""
    assert len(type_text(enum(*(f"value {number}" for number in range(10_000))))) < 3000
