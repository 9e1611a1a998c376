"""Plain values as classes of the caller: dataclasses, Enums, instants, and lists and maps of them.

Outputs that were dataclasses or models in the program that made them are dicts here; `shape(Parcel, outputs["o0"])`
makes one of the caller's dataclasses out of such a dict, by its annotations, at any depth.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# (values and classes of callers have any type)

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

from wingbeat.errors import ConversionError
from wingbeat.literals.handles import DataFrame, Directory, File, Handle, Reader

T = TypeVar("T")


def shape(kind: type[T], value: Any, path: str = "value", *, reader: Reader | None = None) -> T:
    """`value` as an instance of `kind`. Raises ConversionError with the way to what does not fit.

    `reader` is what files in it read with: `client.transfers`, or `client.shape(...)` from the start.
    """
    return typing.cast("T", _shape(kind, value, path, reader))


def _shape(kind: Any, value: Any, path: str, reader: Reader | None) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _shape(arguments[0], value, path, reader)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, value, path, reader)
    if kind is Any or kind is object:
        return value
    if origin is list or kind is list:
        return [
            _shape(arguments[0] if arguments else Any, one, f"{path}[{i}]", reader) for i, one in _items(value, path)
        ]
    if origin is tuple or kind is tuple:
        items = _items(value, path)
        kinds = arguments[:1] * len(items) if len(arguments) == 2 and arguments[1] is ... else arguments
        if len(kinds) not in (0, len(items)):
            raise ConversionError(f"{path}: {len(items)} values are no tuple of {len(kinds)}")
        return tuple(_shape(kinds[i] if kinds else Any, one, f"{path}[{i}]", reader) for i, one in items)
    if origin is dict or kind is dict or origin is Mapping:
        if not isinstance(value, Mapping):
            raise ConversionError(f"{path}: {value!r} is no map")
        keys, values = arguments or (Any, Any)
        return {
            _shape(keys, key, path, reader): _shape(values, one, f"{path}[{key!r}]", reader)
            for key, one in value.items()
        }
    return _single(kind, value, path, reader)


def _single(kind: Any, value: Any, path: str, reader: Reader | None) -> Any:
    if not isinstance(kind, type):
        return value
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        hints = typing.get_type_hints(kind, include_extras=True)
        names = {one.name for one in dataclasses.fields(kind) if one.init}
        found = {
            name: _shape(hints[name], one, f"{path}.{name}", reader) for name, one in value.items() if name in names
        }
        try:
            return kind(**found)
        except TypeError as error:
            raise ConversionError(f"{path}: {error}") from error
    if hasattr(kind, "model_validate") and isinstance(value, Mapping):
        return kind.model_validate(value)  # pyright: ignore[reportAttributeAccessIssue]  (pydantic)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    try:
        return _convert(kind, value, reader)
    except (TypeError, ValueError) as error:
        raise ConversionError(f"{path}: {value!r} is no {kind.__name__}") from error


def _convert(kind: type, value: Any, reader: Reader | None) -> Any:
    if issubclass(kind, Enum):
        return kind(value)
    if issubclass(kind, Handle) and isinstance(value, Mapping):
        uri = value.get("uri") or value.get("path")
        if kind is DataFrame:
            return DataFrame(uri=uri, format=value.get("file_format", "parquet"), reader=reader)
        return Directory(uri=uri, reader=reader) if kind is Directory else File(uri=uri, reader=reader)
    if kind is datetime and isinstance(value, str):
        return datetime.fromisoformat(value)
    if kind is timedelta and isinstance(value, int | float):
        return timedelta(seconds=value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)  # numbers of JSON structures are floats
    raise TypeError


def _union(kinds: tuple[Any, ...], value: Any, path: str, reader: Reader | None) -> Any:
    if value is None and type(None) in kinds:
        return None
    plain = [kind for kind in kinds if kind is not type(None)]
    for kind in plain:
        if isinstance(kind, type) and type(value) is kind:
            return value
    for kind in plain:
        try:
            return _shape(kind, value, path, reader)
        except ConversionError:
            continue
    raise ConversionError(f"{path}: {value!r} is none of {', '.join(map(str, plain))}")


def _items(value: Any, path: str) -> list[tuple[int, Any]]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ConversionError(f"{path}: {value!r} is no list")
    return list(enumerate(value))
