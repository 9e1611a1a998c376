"""A row of a manifest as an item to launch: its key, and what it says of inputs and execution. Pure."""

from dataclasses import dataclass
from typing import cast

import orjson
from flyteidl.core import interface_pb2, types_pb2

from wingbeat_controlplane.batches.manifest_rows import ManifestRow, map_member, text_member
from wingbeat_controlplane.launching.item_inputs import json_text
from wingbeat_controlplane.launching.json_literals import Json
from wingbeat_controlplane.launching.refusals import RefusedError, invalid_field
from wingbeatidl.launch.v1 import item_pb2

KEY, NAME, LABELS, ANNOTATIONS, PRIORITY = "@key", "@name", "@labels", "@annotations", "@priority"
_KNOWN = frozenset({KEY, NAME, LABELS, ANNOTATIONS, PRIORITY})
KEY_LENGTH_MAX = 1024


@dataclass(frozen=True, slots=True)
class RowItem:
    """A row with its key; `refusal` says why it cannot be launched, and then `item` is none."""

    key: str
    item: item_pb2.LaunchItem | None
    refusal: str = ""


def row_item(
    row: ManifestRow, number: int, key_column: str, expected: interface_pb2.ParameterMap, *, is_text: bool
) -> RowItem:
    """What row `number` is for a target with inputs `expected`; `is_text`: members are texts that stand for values."""
    if row.error is not None:
        return RowItem(str(number), None, row.error)
    if row.item is not None:
        item = item_pb2.LaunchItem()
        item.CopyFrom(row.item)
        key = item.idempotency_key or str(number)
        for field in ("idempotency_key", "target", "project", "domain"):
            item.ClearField(field)
        return RowItem(_storable(key), item)
    members = dict(row.members or {})
    key = str(number)
    try:
        said = text_member(members, KEY) or (text_member(members, key_column) if key_column else "")
        key = _storable(said or key)
        members.pop(key_column, None)
        unknown = [name for name in members if name.startswith("@") and name not in _KNOWN]
        if unknown:
            raise invalid_field(unknown[0], f"a row may have {', '.join(sorted(_KNOWN))} and inputs")
        inputs = {name: value for name, value in members.items() if not name.startswith("@")}
        if is_text:
            inputs = {
                name: cell_value(cast("str", text), expected.parameters[name].var.type)
                if name in expected.parameters
                else text
                for name, text in inputs.items()
                if text != "" or _is_required_text(expected, name)
            }
        item = item_pb2.LaunchItem(
            name=text_member(members, NAME),
            labels=map_member(members, LABELS),
            annotations=map_member(members, ANNOTATIONS),
            inputs=item_pb2.Inputs(json=json_text(inputs).decode()),
        )
        priority = text_member(members, PRIORITY)
        if priority:
            try:
                item.priority = int(priority)
            except ValueError:
                raise invalid_field(PRIORITY, "a whole number is expected") from None
    except RefusedError as error:
        return RowItem(key, None, f"line {row.place.line}: {error.message}")
    return RowItem(key, item)


def _storable(key: str) -> str:
    return key.replace("\0", "")[:KEY_LENGTH_MAX]


def _is_required_text(expected: interface_pb2.ParameterMap, name: str) -> bool:
    """Whether an empty cell is the empty text: of inputs that are text and have no default."""
    if name not in expected.parameters:
        return False
    parameter = expected.parameters[name]
    wanted = parameter.var.type
    is_text = wanted.WhichOneof("type") == "simple" and wanted.simple == types_pb2.STRING
    return is_text and parameter.WhichOneof("behavior") != "default"


def cell_value(text: str, wanted: types_pb2.LiteralType) -> Json:
    """What a cell stands for, as JSON; text that stands for nothing of the type stays text, and is refused later."""
    kind = wanted.WhichOneof("type")
    if kind == "union_type":
        for variant in wanted.union_type.variants:
            value = cell_value(text, variant)
            if not isinstance(value, str) or _is_written_as_text(variant):
                return value
        return text
    if kind == "simple" and wanted.simple == types_pb2.BOOLEAN:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind == "simple" and wanted.simple == types_pb2.DURATION:
        try:
            return float(text)
        except ValueError:
            return text
    if _is_written_as_text(wanted):
        return text
    try:
        return cast("Json", orjson.loads(text))
    except orjson.JSONDecodeError:
        return text


def _is_written_as_text(wanted: types_pb2.LiteralType) -> bool:
    match wanted.WhichOneof("type"):
        case "simple":
            return wanted.simple in (types_pb2.STRING, types_pb2.DATETIME, types_pb2.DURATION, types_pb2.BINARY)
        case "enum_type" | "blob" | "schema" | "structured_dataset_type":
            return True
        case _:
            return False
