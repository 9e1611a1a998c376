"""What values are known by outside of their executions, and when the core notes it."""

import dataclasses

import msgpack
import pytest
from flyteidl.core import literals_pb2, types_pb2
from flytekit import StructuredDataset
from flytekit.core.type_engine import TypeEngine
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile
from google.protobuf import struct_pb2
from tests.unit.core.plans import line, task

from wingbeat_propeller.core.effects import Effects, Launch
from wingbeat_propeller.core.events import Begin, TaskSucceeded
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeat_propeller.core.plan import Plan
from wingbeat_propeller.core.references import TOKENS_MAX, may_refer, tokens_of, uri_token
from wingbeat_propeller.core.rows import LineageKind, LineageRow
from wingbeat_propeller.core.state import ExecutionState, Settings
from wingbeat_propeller.core.step import step


def _blob(uri: str) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri=uri)))


def _number(value: int, digest: str = "") -> literals_pb2.Literal:
    primitive = literals_pb2.Primitive(integer=value)
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive), hash=digest)


def _lineage(plan: Plan, literal: literals_pb2.Literal, references: tuple[str, ...] = ()) -> list[LineageRow]:
    state = ExecutionState(ExecutionKey(7), "p", "d", "e", plan, Settings(base_uri="mem://b"))
    begun: Effects = step(state, Begin(100.0, {"x": b"\x0a\x00"}))
    (launch,) = [command for command in begun.commands if isinstance(command, Launch)]
    data = literal.SerializeToString()
    done = step(state, TaskSucceeded(101.0, launch.ref, 101.0, {"o0": data}, b"", references=references))
    return done.lineage


def test_tokens_at_any_depth() -> None:
    """URIs of blobs, datasets and schemas and hashes are found in lists, maps and unions, each once, in their order."""
    dataset = literals_pb2.Literal(scalar=literals_pb2.Scalar(structured_dataset={"uri": "s3://b/d"}), hash="h1")
    union = literals_pb2.Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=_blob("s3://b/u"))))
    schema = literals_pb2.Literal(scalar=literals_pb2.Scalar(schema=literals_pb2.Schema(uri="s3://b/s")))
    inner = literals_pb2.Literal(map=literals_pb2.LiteralMap(literals={"b": union, "a": schema}))
    whole = literals_pb2.Literal(
        collection=literals_pb2.LiteralCollection(literals=[_blob("s3://b/f/"), dataset, inner, _blob("s3://b/f")])
    )
    assert tokens_of(whole.SerializeToString()) == [
        "uri:s3://b/f",
        "hash:h1",
        "uri:s3://b/d",
        "uri:s3://b/s",
        "uri:s3://b/u",
    ]


def test_what_no_row_could_hold_is_left_out() -> None:
    """Texts with NUL, very long ones, more than the limit and bytes that are no literal do no harm."""
    assert tokens_of(_blob("s3://b/\0").SerializeToString()) == []
    assert tokens_of(_blob("s" * 5_000).SerializeToString()) == []
    assert tokens_of(b"\xff\xff") == []
    many = literals_pb2.LiteralCollection(literals=[_blob(f"s3://b/{number}") for number in range(TOKENS_MAX + 5)])
    assert len(tokens_of(literals_pb2.Literal(collection=many).SerializeToString())) == TOKENS_MAX


def test_types_that_may_refer() -> None:
    """Blobs, datasets and schemas, and whatever is made of them; nothing else."""
    blob = types_pb2.LiteralType(blob=types_pb2.BlobType())
    integer = types_pb2.LiteralType(simple=types_pb2.INTEGER)
    union = types_pb2.UnionType(variants=[integer, types_pb2.LiteralType(collection_type=blob)])
    assert may_refer(types_pb2.LiteralType(map_value_type=types_pb2.LiteralType(union_type=union)))
    assert may_refer(types_pb2.LiteralType(structured_dataset_type=types_pb2.StructuredDatasetType()))
    assert not may_refer(types_pb2.LiteralType(collection_type=integer))


@dataclasses.dataclass
class _Plain:
    number: int


@dataclasses.dataclass
class _Parts:
    file: FlyteFile
    tables: list[StructuredDataset]


@dataclasses.dataclass
class _Whole:
    folders: dict[str, FlyteDirectory]
    parts: _Parts


def test_types_of_dataclasses() -> None:
    """Those with files somewhere inside, as flytekit describes them, and dicts of which nobody knows."""
    assert may_refer(TypeEngine.to_literal_type(_Whole).to_flyte_idl())
    assert may_refer(TypeEngine.to_literal_type(list[_Parts]).to_flyte_idl())
    assert may_refer(TypeEngine.to_literal_type(dict).to_flyte_idl())
    assert not may_refer(TypeEngine.to_literal_type(_Plain).to_flyte_idl())


def test_files_inside_of_dataclasses() -> None:
    """Files, folders and tables at any depth of what flytekit makes of a dataclass, and of the form that it made before
    MessagePack; other texts are no files."""
    values: dict[str, object] = {
        "parts": {"file": {"path": "s3://b/f"}, "tables": [{"uri": "s3://b/t", "file_format": "parquet"}]},
        "folders": {"a": {"path": "/data/d/"}, "b": {"path": "no file", "uri": 3}},
        "link": "https://example.org/",
        "schema": {"remote_path": "s3://b/s"},
    }
    packed = literals_pb2.Binary(value=msgpack.packb(values), tag="msgpack")
    struct = struct_pb2.Struct()
    struct.update(values)
    inside = [literals_pb2.Scalar(binary=packed), literals_pb2.Scalar(generic=struct)]
    for scalar in inside:
        union = literals_pb2.Scalar(union=literals_pb2.Union(value=literals_pb2.Literal(scalar=scalar)))
        assert set(tokens_of(literals_pb2.Literal(scalar=union).SerializeToString())) == {
            "uri:s3://b/f",
            "uri:s3://b/t",
            "uri:/data/d",
            "uri:s3://b/s",
        }


@pytest.mark.parametrize(
    "binary",
    [
        literals_pb2.Binary(value=b"\xdc\xff\xffpath", tag="msgpack"),
        literals_pb2.Binary(value=b"\x91" * 5_000 + b"path", tag="msgpack"),
        literals_pb2.Binary(value=b"\x81\x80\xa4path", tag="msgpack"),
        literals_pb2.Binary(value=b"\x81\xa4path\xa4/a/b", tag="else"),
    ],
)
def test_binary_values_that_nobody_can_read(binary: literals_pb2.Binary) -> None:
    """Cut off, nested too deep, with keys that cannot be, or of another kind: nothing is known of them."""
    assert tokens_of(literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary)).SerializeToString()) == []


def test_nothing_is_noted_of_plain_values() -> None:
    """What plan and rows tell is not written again: a task over numbers leaves nothing."""
    assert _lineage(line(task("t")), _number(34)) == []


def test_blobs_and_hashes_are_noted_once_by_their_maker() -> None:
    """A task notes the blobs of outputs whose type may refer to them, and hashes of all; the workflow that hands the
    value on notes nothing more."""
    files = dataclasses.replace(task("t"), referring_outputs=frozenset({"o0"}))
    assert _lineage(line(files), _blob("s3://b/k")) == [
        LineageRow(LineageKind.MADE, ExecutionKey(7), "n0", 0, "o0", uri_token("s3://b/k"))
    ]
    assert [row.token for row in _lineage(line(task("t")), _number(1, "abc"))] == ["hash:abc"]


def test_references_of_values_elsewhere() -> None:
    """Values too large to be at hand come with what they are known by."""
    rows = _lineage(line(task("t")), _number(1), ("o0", "uri:s3://b/1", "o0", "uri:s3://b/2"))
    assert [(row.var, row.token) for row in rows] == [("o0", "uri:s3://b/1"), ("o0", "uri:s3://b/2")]


def test_artifacts_are_announced_with_the_success() -> None:
    """A task and a workflow that declare artifacts say so in the step that ends them well."""
    declared = dataclasses.replace(task("t"), makes_artifacts=True)
    plan = dataclasses.replace(line(declared), makes_artifacts=True)
    rows = _lineage(plan, _number(1))
    assert [(row.kind, row.node_id) for row in rows] == [(LineageKind.ARTIFACTS, "n0"), (LineageKind.ARTIFACTS, "")]
