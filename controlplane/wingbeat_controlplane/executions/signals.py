"""Signals: values that people and programs hand to waiting gate nodes.

The engine makes a signal when a gate begins to wait; a client sets its value, again if it likes: the last value before
the gate reads it counts. Nothing here looks at executions, as a gate of a foreign engine may wait as well.
"""

from collections.abc import Sequence

import asyncpg
from flyteidl.admin import signal_pb2
from flyteidl.core import identifier_pb2, literals_pb2, types_pb2

from wingbeat_controlplane.errors import already_exists, invalid_argument, missing, shown
from wingbeat_controlplane.listing.query import ListQuery
from wingbeat_controlplane.registry.identifiers import check_name, check_text
from wingbeat_propeller.compiler.castability import is_castable
from wingbeat_propeller.compiler.literal_types import UnknownLiteralError, literal_type_of
from wingbeat_propeller.compiler.type_text import type_text
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "signals.sql")


class SignalStore:
    """The signals of an installation."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def get_or_create(
        self, identifier: identifier_pb2.SignalIdentifier, literal_type: types_pb2.LiteralType
    ) -> signal_pb2.Signal:
        """The signal of that id, made now unless it is there.

        Raises ApiError ALREADY_EXISTS when it is there with another type.
        """
        key = _key(identifier)
        if literal_type.WhichOneof("type") is None:
            raise missing("type")
        await self._pool.execute(_SQL["create_signal"], *key, literal_type.SerializeToString(deterministic=True))
        row = await self._pool.fetchrow(_SQL["get_signal"], *key)
        assert row is not None, "signals are never deleted"
        signal = _message(row)
        if signal.type != literal_type:
            raise already_exists(
                f"signal [{shown(identifier)}] already exists with type {type_text(signal.type)},"
                f" asked for {type_text(literal_type)}"
            )
        return signal

    async def set(self, identifier: identifier_pb2.SignalIdentifier, value: literals_pb2.Literal) -> None:
        """Give the signal a value.

        Raises ApiError INVALID_ARGUMENT when there is no such signal (clients that come too early try again) or the
        value is not of its type.
        """
        key = _key(identifier)
        row = await self._pool.fetchrow(_SQL["get_signal"], *key)
        if row is None:
            raise invalid_argument(
                f"failed to validate that signal [{shown(identifier)}] exists,"
                f" err: missing entity of type signal with identifier {shown(identifier)}"
            )
        expected = types_pb2.LiteralType.FromString(row["type"])
        try:
            given = literal_type_of(value)
        except UnknownLiteralError as error:
            raise invalid_argument(f"invalid value for signal {identifier.signal_id}: {error}") from error
        if not is_castable(given, expected):
            raise invalid_argument(
                f"invalid value for signal {identifier.signal_id}: wrong type."
                f" Expected {type_text(expected)}, but got {type_text(given)}"
            )
        await self._pool.execute(_SQL["set_signal"], *key, value.SerializeToString())

    async def list(self, query: ListQuery) -> Sequence[signal_pb2.Signal]:
        """One page of signals."""
        return [_message(row) for row in await self._pool.fetch(query.sql(_SQL["list_signals"]), *query.args)]


def _key(identifier: identifier_pb2.SignalIdentifier) -> tuple[str, str, str, str]:
    if not identifier.HasField("execution_id"):
        raise missing("execution_id")
    execution = identifier.execution_id
    check_name(execution, execution.name)
    check_text("signal_id", identifier.signal_id)
    return execution.project, execution.domain, execution.name, identifier.signal_id


def _message(row: asyncpg.Record) -> signal_pb2.Signal:
    signal = signal_pb2.Signal(
        id=identifier_pb2.SignalIdentifier(
            signal_id=row["signal_id"],
            execution_id=identifier_pb2.WorkflowExecutionIdentifier(
                project=row["execution_project"], domain=row["execution_domain"], name=row["execution_name"]
            ),
        ),
        type=types_pb2.LiteralType.FromString(row["type"]),
    )
    if row["value"] is not None:
        signal.value.ParseFromString(row["value"])
    return signal
