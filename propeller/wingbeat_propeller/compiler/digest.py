"""Whether two registrations of one id mean the same: a digest of the structure, and the difference in words."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from wingbeat_propeller.compiler.errors import shorten

_CHANGES_MAX = 50
"""Changed paths that a difference lists."""

_VALUE_CHARACTERS_MAX = 300

_Plain: TypeAlias = "str | Mapping[str, _Plain] | Sequence[_Plain]"
_Maybe: TypeAlias = "_Plain | None"


def structure_digest(message: Message) -> bytes:
    """SHA-256 of a message, 32 bytes, the same for equal messages in whatever order their maps were filled.

    It rests on protobuf's deterministic serialization, which holds within one protobuf release. After an upgrade a
    stored digest may differ for an equal message, so compare the messages themselves before calling them different.
    """
    return hashlib.sha256(message.SerializeToString(deterministic=True)).digest()


def structure_diff(old: Message, new: Message) -> str:
    """What changed, by path: `<path>:`, then `- <old>` and `+ <new>`; empty when nothing did.

    Elements of lists that have ids are compared by id, others by position. Long texts are shortened, and only the first
    changes are listed.
    """
    lines: list[str] = []
    for position, (path, before, after) in enumerate(_changes("", _plain(old), _plain(new))):
        if position == _CHANGES_MAX:
            lines.append("... and more")
            break
        lines.append(f"{path}:")
        lines += [f"\t- {_shown(before)}"] if before is not None else []
        lines += [f"\t+ {_shown(after)}"] if after is not None else []
    return "\n".join(lines)


def _changes(path: str, old: _Maybe, new: _Maybe) -> Iterator[tuple[str, _Maybe, _Maybe]]:
    if old == new:
        return
    before = _members(old)
    after = _members(new)
    if before is None or after is None:
        yield path or "/", old, new
        return
    common = [name for name in before if name in after]
    for name in [*before, *(name for name in after if name not in before)]:
        yield from _changes(f"{path}/{name}", before.get(name), after.get(name))
    if isinstance(old, Sequence) and common != [name for name in after if name in before]:
        yield f"{path} (order)", ", ".join(before), ", ".join(after)


def _members(value: _Maybe) -> dict[str, _Plain] | None:
    """Members of an object or list by name; None for a value without members."""
    match value:
        case None | str():
            return None
        case Mapping():
            return dict(value)
        case _:
            ids = [element.get("id") if isinstance(element, Mapping) else None for element in value]
            names = [name for name in ids if isinstance(name, str)]
            if len(names) == len(value) == len(set(names)):
                return dict(zip(names, value, strict=True))
            return {str(position): element for position, element in enumerate(value)}


def _plain(message: Message) -> dict[str, _Plain]:
    """Fields that are set, by name."""
    return {field.name: _plain_field(field, cast("object", value)) for field, value in message.ListFields()}


def _plain_field(field: FieldDescriptor, value: object) -> _Plain:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entries = cast("Mapping[object, object]", value)
        value_field = field.message_type.fields_by_name["value"]
        return {str(key): _plain_value(value_field, entries[key]) for key in sorted(entries, key=str)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain_value(field, element) for element in cast("Sequence[object]", value)]
    return _plain_value(field, value)


def _plain_value(field: FieldDescriptor, value: object) -> _Plain:
    if isinstance(value, Message):
        return _plain(value)
    if field.enum_type is not None and isinstance(value, int):
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    return value.hex() if isinstance(value, bytes) else str(value)


def _shown(value: _Plain) -> str:
    text = value if isinstance(value, str) else str(value)
    if len(text) > _VALUE_CHARACTERS_MAX:
        return f"{text[:_VALUE_CHARACTERS_MAX]} ... ({len(text)} characters)"
    return shorten(text)
