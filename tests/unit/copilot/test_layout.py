"""Inputs as files: every kind of literal."""

import base64
import json

import pytest
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import json_format, struct_pb2

from wingbeat_propeller.copilot.layout import Copy, Layout, UnsupportedLiteralError, file_names, lay_out

FOLDER = "/var/inputs"


def _literal(**scalar: object) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(**scalar))  # pyright: ignore[reportArgumentType]


def _primitive(**value: object) -> literals_pb2.Literal:
    return _literal(primitive=literals_pb2.Primitive(**value))  # pyright: ignore[reportArgumentType]


def _blob(uri: str, *, folder: bool = False) -> literals_pb2.Literal:
    dimensionality = types_pb2.BlobType.MULTIPART if folder else types_pb2.BlobType.SINGLE
    metadata = literals_pb2.BlobMetadata(type=types_pb2.BlobType(format="csv", dimensionality=dimensionality))
    return _literal(blob=literals_pb2.Blob(metadata=metadata, uri=uri))


def _lay_out(**inputs: literals_pb2.Literal) -> Layout:
    return lay_out(literals_pb2.LiteralMap(literals=inputs), FOLDER)


@pytest.mark.parametrize(
    ("literal", "text", "value"),
    [
        (_primitive(string_value=" as it is\n"), b" as it is\n", " as it is\n"),
        (_primitive(integer=-7), b"-7", -7),
        (_primitive(float_value=1e21), b"1000000000000000000000", 1e21),
        (_primitive(float_value=float("nan")), b"NaN", "NaN"),
        (_primitive(boolean=True), b"true", True),
        (_primitive(datetime={"seconds": 1}), b"1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z"),
        (_primitive(duration={"seconds": 3723}), b"1h2m3s", "1h2m3s"),
        (_literal(none_type=literals_pb2.Void()), b"null", None),
        (_literal(binary=literals_pb2.Binary(value=b"\x81\xa1a\x01", tag="msgpack")), b"\x81\xa1a\x01", "gaFhAQ=="),
        (_literal(error=types_pb2.Error(message="no luck")), b"no luck", "no luck"),
    ],
)
def test_small_values(literal: literals_pb2.Literal, text: bytes, value: object) -> None:
    """The file holds the text, the document the plain value, inputs.pb the literal itself."""
    layout = _lay_out(x=literal)
    assert layout.texts == {"x": text}
    assert layout.values == {"x": value}
    assert layout.literals.literals["x"].SerializeToString() == literal.SerializeToString()
    assert not layout.copies


def test_structs() -> None:
    """A struct is JSON."""
    struct = struct_pb2.Struct()
    json_format.ParseDict({"a": [1, {"b": None}], "c": "d"}, struct)
    layout = _lay_out(x=_literal(generic=struct))
    assert json.loads(layout.texts["x"]) == layout.values["x"] == {"a": [1, {"b": None}], "c": "d"}


def test_blobs() -> None:
    """Files and folders are copied under their names; documents and inputs.pb name the copies."""
    schema = _literal(schema=literals_pb2.Schema(uri="s3://b/schema"))
    dataset = _literal(structured_dataset=literals_pb2.StructuredDataset(uri="s3://b/frame"))
    layout = _lay_out(file=_blob("s3://b/f"), folder=_blob("s3://b/d", folder=True), schema=schema, frame=dataset)
    assert {copy.path: copy for copy in layout.copies} == {
        "file": Copy("s3://b/f", "file", is_folder=False),
        "folder": Copy("s3://b/d", "folder", is_folder=True),
        "schema": Copy("s3://b/schema", "schema", is_folder=True),
        "frame": Copy("s3://b/frame", "frame", is_folder=True),
    }
    assert layout.values == {name: f"{FOLDER}/{name}" for name in ("file", "folder", "schema", "frame")}
    local = layout.literals.literals
    assert local["file"].scalar.blob.uri == "/var/inputs/file"
    assert local["file"].scalar.blob.metadata.type.format == "csv"
    assert local["frame"].scalar.structured_dataset.uri == "/var/inputs/frame"


def test_blobs_that_stay() -> None:
    """A task that wants no downloads is told the URIs."""
    layout = lay_out(literals_pb2.LiteralMap(literals={"file": _blob("s3://b/f")}), FOLDER, downloads=False)
    assert not layout.copies
    assert layout.values == {"file": "s3://b/f"}


def test_lists_maps_and_unions() -> None:
    """Lists are folders of numbered files, maps folders of named ones, at any depth; a union is its value."""
    items = literals_pb2.LiteralCollection(literals=[_primitive(integer=1), _blob("s3://b/1")])
    entries = literals_pb2.LiteralMap(literals={"k": literals_pb2.Literal(collection=items)})
    union = _literal(union=literals_pb2.Union(value=literals_pb2.Literal(map=entries)))
    empty = literals_pb2.Literal(collection=literals_pb2.LiteralCollection())
    layout = _lay_out(u=union, e=empty)
    assert layout.folders == ["e", "u", "u/k"]
    assert layout.texts == {"u/k/0": b"1"}
    assert layout.copies == [Copy("s3://b/1", "u/k/1", is_folder=False)]
    assert layout.values == {"e": [], "u": {"k": [1, "/var/inputs/u/k/1"]}}
    inner = layout.literals.literals["u"].scalar.union.value.map.literals["k"].collection.literals
    assert inner[1].scalar.blob.uri == "/var/inputs/u/k/1"


def test_the_inputs_themselves_stay_as_they_are() -> None:
    """The literals that were read are not changed."""
    inputs = literals_pb2.LiteralMap(literals={"file": _blob("s3://b/f")})
    lay_out(inputs, FOLDER)
    assert inputs.literals["file"].scalar.blob.uri == "s3://b/f"


def test_keys_become_names_of_files() -> None:
    """No key leads out of the folder; what is no name of a file is encoded, what is too long or double is refused."""
    assert file_names(["a b", "%41", "..", ".", "", "a/../b", "nul\0"]) == {
        "a b": "a b",
        "%41": "%41",
        "..": "%2E%2E",
        ".": "%2E",
        "": "%00",
        "a/../b": "a%2F..%2Fb",
        "nul\0": "nul%00",
    }
    with pytest.raises(UnsupportedLiteralError, match="too long"):
        file_names(["é" * 128])
    with pytest.raises(UnsupportedLiteralError, match="'a%2Fb' and 'a/b'"):
        file_names(["a/b", "a%2Fb"])


def test_a_literal_of_no_kind() -> None:
    """An empty literal is named."""
    with pytest.raises(UnsupportedLiteralError, match="input 'x': a literal of kind nothing"):
        _lay_out(x=literals_pb2.Literal())
    with pytest.raises(UnsupportedLiteralError, match="input 'x': a scalar of kind nothing"):
        _lay_out(x=literals_pb2.Literal(scalar=literals_pb2.Scalar()))
    assert base64.b64decode("gaFhAQ==") == b"\x81\xa1a\x01"
