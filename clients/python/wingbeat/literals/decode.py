"""Plain Python values of literals.

Numbers, texts, truths, instants (with zone UTC) and spans are Python's own; collections are lists, maps dicts,
structures (MessagePack or JSON) dicts, unions the value they hold, nothing is None. Files, folders and tables are
handles. Values that were too large for their place (offloaded) have been fetched before, by `transfers`.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# (msgpack has no types)

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wingbeat.errors import ConversionError
from wingbeat.literals.handles import DataFrame, Directory, File, Reader
from wingbeat.literals.spans import span_text

if TYPE_CHECKING:
    from flyteidl.core import literals_pb2

MSGPACK = "msgpack"


@dataclass(frozen=True, slots=True)
class FailedNode:
    """The error that a failure node is given."""

    node: str
    message: str


def decode_map(literals: "literals_pb2.LiteralMap", reader: Reader | None = None) -> dict[str, Any]:
    """Values by their names. Raises ConversionError with the name of one that cannot be shown as a value."""
    values: dict[str, Any] = {}
    for name, literal in sorted(literals.literals.items()):
        try:
            values[name] = decode(literal, reader)
        except ConversionError as error:
            raise ConversionError(f"{name}: {error}") from error
    return values


def decode(literal: "literals_pb2.Literal", reader: Reader | None = None) -> Any:
    """The value; `reader` is what handles read with. Raises ConversionError."""
    match literal.WhichOneof("value"):
        case "scalar":
            return _scalar(literal.scalar, reader)
        case "collection":
            return [decode(one, reader) for one in literal.collection.literals]
        case "map":
            return {key: decode(one, reader) for key, one in literal.map.literals.items()}
        case "offloaded_metadata":
            raise ConversionError(f"the value lies in {literal.offloaded_metadata.uri} and was not fetched")
        case _:
            return None


def _scalar(scalar: "literals_pb2.Scalar", reader: Reader | None) -> Any:
    match scalar.WhichOneof("value"):
        case "primitive":
            return _primitive(scalar.primitive)
        case "union":
            return decode(scalar.union.value, reader)
        case "binary":
            return _binary(scalar.binary.value, scalar.binary.tag)
        case "generic":
            from google.protobuf import json_format

            return json_format.MessageToDict(scalar.generic)
        case "blob":
            return _blob(scalar.blob, reader)
        case "structured_dataset":
            kind = scalar.structured_dataset.metadata.structured_dataset_type
            columns = {column.name: _column_type(column.literal_type.simple) for column in kind.columns}
            return DataFrame(
                uri=scalar.structured_dataset.uri, format=kind.format or "parquet", columns=columns, reader=reader
            )
        case "schema":
            columns = {column.name: column.SchemaColumnType.Name(column.type) for column in scalar.schema.type.columns}
            return DataFrame(uri=scalar.schema.uri, columns=columns, reader=reader)
        case "error":
            return FailedNode(scalar.error.failed_node_id, scalar.error.message)
        case _:
            return None


def _primitive(primitive: "literals_pb2.Primitive") -> int | float | str | bool | datetime | timedelta | None:
    match primitive.WhichOneof("value"):
        case "integer":
            return primitive.integer
        case "float_value":
            return primitive.float_value
        case "string_value":
            return primitive.string_value
        case "boolean":
            return primitive.boolean
        case "datetime":
            return primitive.datetime.ToDatetime(tzinfo=UTC)
        case "duration":
            return primitive.duration.ToTimedelta()
        case _:
            return None


def _binary(data: bytes, tag: str) -> Any:
    if tag != MSGPACK:
        return data
    import msgpack

    try:
        return msgpack.unpackb(data, strict_map_key=False, timestamp=3)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise ConversionError(f"the bytes are no MessagePack: {error}") from error


def _blob(blob: "literals_pb2.Blob", reader: Reader | None) -> File | Directory:
    from flyteidl.core import types_pb2

    kind = blob.metadata.type
    if kind.dimensionality == types_pb2.BlobType.MULTIPART:
        return Directory(uri=blob.uri, format=kind.format, reader=reader)
    return File(uri=blob.uri, format=kind.format, reader=reader)


def _column_type(simple: int) -> str:
    from flyteidl.core import types_pb2

    return types_pb2.SimpleType.Name(simple)  # pyright: ignore[reportArgumentType]


def plain(value: Any) -> Any:
    """A value as JSON has it: instants and spans as text, bytes in base64, handles as their URIs, and what is no finite
    number by its name, as protobuf writes it."""
    import base64

    match value:
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
        case datetime():
            return value.isoformat()
        case timedelta():
            return span_text(value)
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case bytes():
            return base64.b64encode(value).decode()
        case File() | Directory() | DataFrame():
            return value.uri or str(value.local)
        case FailedNode():
            return {"node": value.node, "message": value.message}
        case _:
            return value
