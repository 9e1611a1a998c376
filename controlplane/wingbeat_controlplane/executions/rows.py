"""Rows as the pure row -> message functions see them, and the conversions that all of them need."""

from datetime import datetime, timedelta
from typing import Any, Protocol

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from wingbeat_controlplane.registry.times import timestamp


class Row(Protocol):
    """A row of a query by column name: an `asyncpg.Record`, or a dict in a test."""

    def __getitem__(self, key: str, /) -> Any:  # a record's columns have no static types
        ...

    def __contains__(self, key: object, /) -> bool: ...


def optional_timestamp(moment: datetime | None) -> Timestamp | None:
    """A `timestamptz` column's value as a message; None leaves a field of a message unset."""
    return None if moment is None else timestamp(moment)


def elapsed(started_at: datetime | None, ended_at: datetime | None) -> Duration | None:
    """How long something ran; None while it runs or when it never started. Never negative: clocks may step back."""
    if started_at is None or ended_at is None:
        return None
    message = Duration()
    message.FromTimedelta(max(ended_at - started_at, timedelta()))
    return message
