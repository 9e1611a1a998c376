"""PURE: dataclasses and dictionaries in MessagePack, with their members in one order.

flytekit writes the members of a dataclass or dictionary as they come, so equal values may differ in bytes. Here each
map, at any depth, gets its members sorted by name; lists keep their order, and nothing else changes: numbers keep their
kind, and text is not normalised. Bytes that are no MessagePack, or whose maps have keys that cannot be compared, stay
as they are.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgpack

_pack = cast("Callable[..., bytes]", msgpack.packb)  # the package carries no types
_unpack = cast("Callable[..., object]", msgpack.unpackb)


def in_order(data: bytes) -> bytes:
    """The value with the members of its maps sorted; text keys by code points, all others by their encoded form."""
    try:
        value = _unpack(
            data, object_pairs_hook=_sorted, strict_map_key=False, unicode_errors="surrogateescape", timestamp=0
        )
        return _pack(value, unicode_errors="surrogateescape")
    except (ValueError, TypeError, OverflowError, RecursionError):  # msgpack's own errors derive from ValueError
        return data


def _sorted(pairs: Sequence[tuple[Any, object]]) -> dict[Any, object]:
    if all(isinstance(name, str) for name, _ in pairs):
        return dict(sorted(pairs, key=_name))
    return dict(sorted(pairs, key=_encoded))


def _name(pair: tuple[Any, object]) -> str:
    return pair[0]


def _encoded(pair: tuple[Any, object]) -> bytes:
    return _pack(pair[0], unicode_errors="surrogateescape")
