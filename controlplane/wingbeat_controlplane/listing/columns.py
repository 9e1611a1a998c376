"""Columns that filters and sort keys may name: where they lie and how text becomes a typed value."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from wingbeat_controlplane.listing.durations import go_duration_s

_BIGINT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """A Postgres type and the reader of its values in filters; the reader raises ValueError or OverflowError."""

    postgres_type: str
    parse: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Column:
    """An SQL expression over the listed table's alias, and its kind."""

    sql: str
    kind: Kind


def _integer(text: str) -> int:
    value = int(text)
    if abs(value) > _BIGINT_MAX:
        raise ValueError("out of range")
    return value


def _time(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _duration(text: str) -> timedelta:
    """Seconds (`90`, `1.5`) or a Go duration (`1h5m`); rounded to microseconds, as the column is."""
    seconds = go_duration_s(text)
    return timedelta(seconds=float(text) if seconds is None else seconds)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


TEXT = Kind("text", str)
INTEGER = Kind("bigint", _integer)
TIME = Kind("timestamptz", _time)
DURATION = Kind("interval", _duration)
BYTES = Kind("bytea", _bytes)


def enum_kind(enum: EnumTypeWrapper) -> Kind:
    """A column that holds the numbers of a protobuf enum; filters give its names or numbers."""
    numbers = dict(enum.items())

    def parse(text: str) -> int:
        if text in numbers:
            return numbers[text]
        value = int(text)
        if value not in numbers.values():
            raise ValueError(f"one of {', '.join(numbers)} is expected")
        return value

    return Kind("smallint", parse)
