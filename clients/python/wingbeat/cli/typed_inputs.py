"""Inputs as people type them: `name=value`, a file of JSON, or JSON on the command line.

A value is read by the type that is wanted: a text needs no quotes, a file is a path of this machine or a URI, all else
is JSON.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingbeat.errors import ConversionError

if TYPE_CHECKING:
    from flyteidl.core import types_pb2


def read_inputs(
    assignments: Sequence[str], file: str | None, types: "Mapping[str, types_pb2.LiteralType]"
) -> dict[str, Any]:
    """Values by name; `file` is a path, `-` the standard input, or a JSON object itself. Assignments go first.

    Raises ConversionError.
    """
    values: dict[str, Any] = {}
    if file is not None:
        values |= {name: _from_json(value, types.get(name)) for name, value in _read(file).items()}
    for assignment in assignments:
        name, sign, text = assignment.partition("=")
        if not sign or not name:
            raise ConversionError(f"'{assignment}' is no input; write NAME=VALUE")
        values[name] = parse_value(text, types.get(name))
    return values


def parse_value(text: str, kind: "types_pb2.LiteralType | None") -> Any:
    """A typed text as a value of the wanted type, or as JSON if it is none of the types that are texts."""
    if kind is not None and _takes_text(kind) and not (text == "null" and kind.HasField("union_type")):
        return _from_json(text, kind)
    try:
        return _from_json(json.loads(text), kind)
    except ValueError:
        return _from_json(text, kind)


def pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """`key=value` texts as a dict. Raises ConversionError."""
    found: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise ConversionError(f"'{text}' is no {what}; write KEY=VALUE")
        found[key] = value
    return found


def _takes_text(kind: "types_pb2.LiteralType") -> bool:
    from flyteidl.core import types_pb2

    match kind.WhichOneof("type"):
        case "simple":
            return kind.simple in (types_pb2.STRING, types_pb2.DATETIME, types_pb2.DURATION)
        case "enum_type" | "blob" | "structured_dataset_type" | "schema":
            return True
        case "union_type":
            return all(_is_none(variant) or _takes_text(variant) for variant in kind.union_type.variants)
        case _:
            return False


def _is_none(kind: "types_pb2.LiteralType") -> bool:
    from flyteidl.core import types_pb2

    return kind.WhichOneof("type") == "simple" and kind.simple == types_pb2.NONE


def _from_json(value: Any, kind: "types_pb2.LiteralType | None") -> Any:
    """Paths of this machine where files are wanted; bytes out of base64."""
    import base64
    import binascii

    from flyteidl.core import types_pb2

    if kind is None:
        return value
    match kind.WhichOneof("type"):
        case "blob" if isinstance(value, str) and "://" not in value and Path(value).exists():
            return Path(value)
        case "collection_type" if isinstance(value, list):
            return [_from_json(one, kind.collection_type) for one in value]  # pyright: ignore[reportUnknownVariableType]
        case "map_value_type" if isinstance(value, dict):
            return {key: _from_json(one, kind.map_value_type) for key, one in value.items()}  # pyright: ignore
        case "simple" if kind.simple == types_pb2.FLOAT and value in ("NaN", "Infinity", "-Infinity"):
            return float(value)
        case "simple" if kind.simple == types_pb2.BINARY and isinstance(value, str):
            try:
                return base64.b64decode(value, validate=True)
            except binascii.Error as error:
                raise ConversionError(f"{value!r} is no base64") from error
        case _:
            return value


def _read(file: str) -> dict[str, Any]:
    try:
        if file == "-":
            text = sys.stdin.read()
        elif file.lstrip().startswith("{"):
            text = file
        else:
            text = Path(file).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as error:
        raise ConversionError(f"{file} cannot be read: {error}") from error
    except ValueError as error:
        raise ConversionError(f"the inputs are no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConversionError("the inputs are no JSON object with a member for each input")
    return found  # pyright: ignore[reportUnknownVariableType]
