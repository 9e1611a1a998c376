"""Literals of Python values, by the type that is wanted.

What fits is taken as it is; nothing is guessed beyond what loses nothing (an integer where a float is wanted, a text
that is an instant, the members of an Enum, dataclasses and models of pydantic as structures). A value that does not fit
is a ConversionError with the way to it: `rows[3].count: 'x' is no integer`. What is to be uploaded has been replaced by
handles with URIs before, by `transfers`.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# (values of callers have any type)

import dataclasses
import math
import operator
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NoReturn

from wingbeat.errors import ConversionError
from wingbeat.literals.decode import MSGPACK
from wingbeat.literals.handles import DataFrame, Directory, File, Handle
from wingbeat.literals.spans import parse_span

if TYPE_CHECKING:
    from flyteidl.core import literals_pb2, types_pb2

_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**63 - 1


_SPAN_MAX = timedelta(seconds=315_576_000_000)
"""Of google.protobuf.Duration."""


def encode_map(
    values: Mapping[str, Any], types: Mapping[str, "types_pb2.LiteralType"], *, what: str = "inputs"
) -> "literals_pb2.LiteralMap":
    """Literals by the names of an interface. Raises ConversionError for a name it does not have or a value that does
    not fit; names that are missing are for the server to judge, which knows the defaults."""
    from flyteidl.core import literals_pb2

    unknown = sorted(values.keys() - types.keys())
    if unknown:
        known = ", ".join(sorted(types)) or "none"
        raise ConversionError(f"there are no {what} named {', '.join(map(repr, unknown))}; known are: {known}")
    return literals_pb2.LiteralMap(literals={name: encode(value, types[name], name) for name, value in values.items()})


def encode(value: Any, kind: "types_pb2.LiteralType", path: str = "value") -> "literals_pb2.Literal":
    """One literal. `path` is how errors name the value. Raises ConversionError."""
    try:
        return _encode(value, kind, path, exact=False)
    except UnicodeEncodeError as error:
        raise ConversionError(
            f"{path}: {error.object[error.start : error.end]!r} in a text is no character that UTF-8 has"
        ) from error


def _encode(value: Any, kind: "types_pb2.LiteralType", path: str, *, exact: bool) -> "literals_pb2.Literal":
    from flyteidl.core import literals_pb2

    match kind.WhichOneof("type"):
        case "simple":
            return _simple(value, kind, path, exact=exact)
        case "collection_type":
            if not isinstance(value, Sequence) or isinstance(value, str | bytes | bytearray):
                items = _listed(value)
                if items is None:
                    _refuse(path, value, "list")
                value = items
            inner = kind.collection_type
            found = [_encode(one, inner, f"{path}[{i}]", exact=exact) for i, one in enumerate(value)]
            return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=found))
        case "map_value_type":
            if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
                _refuse(path, value, "map with texts as keys")
            inner = kind.map_value_type
            entries = {key: _encode(one, inner, f"{path}[{key!r}]", exact=exact) for key, one in value.items()}
            return literals_pb2.Literal(map=literals_pb2.LiteralMap(literals=entries))
        case "enum_type":
            return _enum(value, kind, path)
        case "union_type":
            return _union(value, kind, path)
        case "blob":
            return _blob(value, kind, path, exact=exact)
        case "structured_dataset_type" | "schema":
            return _table(value, kind, path, exact=exact)
        case other:
            raise ConversionError(f"{path}: values of the type {other or 'nothing'} cannot be given from here")


def _simple(value: Any, kind: "types_pb2.LiteralType", path: str, *, exact: bool) -> "literals_pb2.Literal":
    from flyteidl.core import literals_pb2, types_pb2

    simple, names = kind.simple, types_pb2.SimpleType
    primitive = literals_pb2.Primitive
    match simple:
        case names.NONE:
            if value is not None:
                _refuse(path, value, "None")
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void()))
        case names.INTEGER:
            found = primitive(integer=_integer(value, path))
        case names.FLOAT:
            found = primitive(float_value=_float(value, path, exact=exact))
        case names.STRING:
            if isinstance(value, Enum) and isinstance(value.value, str) and not exact:
                value = value.value
            if not isinstance(value, str):
                _refuse(path, value, "text")
            found = primitive(string_value=str(value))
        case names.BOOLEAN:
            if not isinstance(value, bool) and type(value).__name__ not in {"bool_", "bool"}:
                _refuse(path, value, "boolean")
            found = primitive(boolean=bool(value))
        case names.DATETIME:
            found = primitive()
            found.datetime.FromDatetime(_datetime(value, path, exact=exact))
        case names.DURATION:
            found = primitive()
            found.duration.FromTimedelta(_span(value, path, exact=exact))
        case names.STRUCT:
            if exact and (value is None or isinstance(value, str | bytes | int | float)):
                _refuse(path, value, "structure")
            return _struct(value, path)
        case names.BINARY:
            if not isinstance(value, bytes | bytearray | memoryview):
                _refuse(path, value, "bytes")
            return literals_pb2.Literal(
                scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=bytes(value), tag=""))
            )
        case _:
            raise ConversionError(f"{path}: values of the type {names.Name(simple)} cannot be given from here")
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=found))


def _integer(value: Any, path: str) -> int:
    if isinstance(value, bool):
        _refuse(path, value, "integer")
    try:
        number = operator.index(value)
    except TypeError:
        _refuse(path, value, "integer")
    if not _INTEGER_MIN <= number <= _INTEGER_MAX:
        raise ConversionError(f"{path}: {number} does not fit 64 bits")
    return number


def _float(value: Any, path: str, *, exact: bool) -> float:
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__"):
        _refuse(path, value, "number")
    if exact and not isinstance(value, float):
        _refuse(path, value, "float")
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        _refuse(path, value, "number")


def _datetime(value: Any, path: str, *, exact: bool) -> datetime:
    if isinstance(value, str) and not exact:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            _refuse(path, value, "instant (write 2026-05-01T12:00:00+00:00)")
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        _refuse(path, value, "datetime")
    try:
        return value.astimezone(UTC) if value.tzinfo is not None else value.replace(tzinfo=UTC)
    except OverflowError:
        _refuse(path, value, "instant of the years 1 to 9999 in UTC")


def _span(value: Any, path: str, *, exact: bool) -> timedelta:
    if isinstance(value, str) and not exact:
        try:
            return parse_span(value)
        except ValueError:
            _refuse(path, value, "span of time (write 1h30m, or 1.5s)")
    if not isinstance(value, timedelta):
        _refuse(path, value, "timedelta")
    if abs(value) > _SPAN_MAX:
        _refuse(path, value, "span of at most 10,000 years")
    return value


def _struct(value: Any, path: str) -> "literals_pb2.Literal":
    import msgpack
    from flyteidl.core import literals_pb2

    try:
        data = msgpack.packb(structure(value, path))
    except (TypeError, ValueError, OverflowError) as error:
        raise ConversionError(f"{path}: {error}") from error
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=data, tag=MSGPACK)))


def structure(value: Any, path: str = "value") -> Any:
    """A value as flytekit's dataclasses stand in MessagePack. Raises ConversionError."""
    match value:
        case None | bool() | str() | bytes() | int() | float():
            return value.value if isinstance(value, Enum) else value
        case Enum():
            return structure(value.value, path)
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case DataFrame():
            return {"uri": _uri(value, path), "file_format": value.format}
        case Handle():
            return {"path": _uri(value, path)}
        case Mapping():
            return {key: structure(one, f"{path}.{key}") for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [structure(one, f"{path}[{i}]") for i, one in enumerate(value)]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return {one.name: structure(getattr(value, one.name), f"{path}.{one.name}") for one in fields}
        case _ if hasattr(value, "model_dump"):
            return structure(value.model_dump(mode="json"), path)
        case _:
            items = _listed(value)
            if items is not None:
                return structure(items, path)
            if hasattr(value, "item"):
                return structure(value.item(), path)
            raise _refusal(path, value, "part of a structure")


def _enum(value: Any, kind: "types_pb2.LiteralType", path: str) -> "literals_pb2.Literal":
    from flyteidl.core import literals_pb2

    text = value.value if isinstance(value, Enum) else value
    if text not in kind.enum_type.values:
        raise ConversionError(f"{path}: {_shown(value)} is none of {', '.join(kind.enum_type.values)}")
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=text)))


def _union(value: Any, kind: "types_pb2.LiteralType", path: str) -> "literals_pb2.Literal":
    """The first variant that has just this type of value, else the first that takes it."""
    from flyteidl.core import literals_pb2

    variants = list(kind.union_type.variants)
    if _is_object(value):  # of several structures the one that is named as the value's class, or has its fields
        variants.sort(key=lambda one: not _describes(one, value))
    for exact in (True, False):
        for variant in variants:
            try:
                found = _encode(value, variant, path, exact=exact)
            except ConversionError:
                continue
            union = literals_pb2.Union(value=found, type=variant)
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(union=union))
    raise ConversionError(f"{path}: {_shown(value)} is of none of the {len(variants)} types of a union")


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping) or dataclasses.is_dataclass(value) or hasattr(value, "model_dump")


def _describes(kind: "types_pb2.LiteralType", value: Any) -> bool:
    fields = kind.metadata.fields
    if isinstance(value, Mapping):
        return "properties" in fields and set(fields["properties"].struct_value.fields) == set(value)
    return "title" in fields and fields["title"].string_value == type(value).__name__


def _blob(value: Any, kind: "types_pb2.LiteralType", path: str, *, exact: bool) -> "literals_pb2.Literal":
    from flyteidl.core import literals_pb2, types_pb2

    wanted = Directory if kind.blob.dimensionality == types_pb2.BlobType.MULTIPART else File
    if isinstance(value, str) and not exact:
        value = wanted(uri=value)
    if not isinstance(value, wanted):
        word = "folder" if wanted is Directory else "file"
        _refuse(path, value, f"{word} (wingbeat.{wanted.__name__}, a path, or the URI of one in the store)")
    metadata = literals_pb2.BlobMetadata(type=kind.blob)
    return literals_pb2.Literal(
        scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(metadata=metadata, uri=_uri(value, path)))
    )


def _table(value: Any, kind: "types_pb2.LiteralType", path: str, *, exact: bool) -> "literals_pb2.Literal":
    from flyteidl.core import literals_pb2

    if isinstance(value, str) and not exact:
        value = DataFrame(uri=value)
    if not isinstance(value, DataFrame):
        _refuse(path, value, "table (wingbeat.DataFrame, a DataFrame of pandas, or the URI of one in the store)")
    uri = _uri(value, path)
    if kind.WhichOneof("type") == "schema":
        return literals_pb2.Literal(scalar=literals_pb2.Scalar(schema=literals_pb2.Schema(uri=uri, type=kind.schema)))
    metadata = literals_pb2.StructuredDatasetMetadata(structured_dataset_type=kind.structured_dataset_type)
    metadata.structured_dataset_type.format = value.format or metadata.structured_dataset_type.format or "parquet"
    return literals_pb2.Literal(
        scalar=literals_pb2.Scalar(structured_dataset=literals_pb2.StructuredDataset(uri=uri, metadata=metadata))
    )


def _uri(handle: Handle, path: str) -> str:
    if handle.uri is None:
        raise ConversionError(f"{path}: {handle!r} has not been uploaded")
    return handle.uri


def _listed(value: Any) -> list[Any] | None:
    """Arrays, sets and tuples as lists; None for what is none of these."""
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if getattr(value, "ndim", 0) and hasattr(value, "tolist"):
        return value.tolist()
    return None


def _refuse(path: str, value: Any, wanted: str) -> NoReturn:
    raise _refusal(path, value, wanted)


def _refusal(path: str, value: Any, wanted: str) -> ConversionError:
    return ConversionError(f"{path}: {_shown(value)} is no {wanted}")


def _shown(value: Any) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    if isinstance(value, float) and not math.isfinite(value):
        shown = str(value)
    if isinstance(value, PurePath):
        shown = str(value)
    return shown
