"""SqlService: questions in SQL, answered row by row."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from decimal import Decimal

from wingbeat_controlplane.errors import invalid_argument
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeat_controlplane.sql.reader import Batch, ResultColumn, SqlReader
from wingbeatidl.sql.v1 import sql_pb2

MESSAGE_BYTES = 1 << 20
"""A message is sent once its rows have so many bytes; clients take 4 MiB."""
_INTEGER_MAX = 2**63
_JSON_TYPES = frozenset({"json", "jsonb"})


class SqlServicer:
    """Query."""

    def __init__(self, reader: SqlReader) -> None:
        self._reader = reader

    async def Query(self, request: sql_pb2.QueryRequest, context: CallContext) -> AsyncGenerator[sql_pb2.QueryResponse]:
        """Rows, and at last how it ended."""
        if request.row_limit < 0:
            raise invalid_argument(f"row_limit is {request.row_limit}: it is at least 0")
        batches = self._reader.ask(request.sql, projects=list(request.projects) or None, row_limit=request.row_limit)
        response = sql_pb2.QueryResponse()
        columns: Sequence[ResultColumn] = ()
        count = size = 0
        is_cut = False
        async with aclosing(batches):
            async for batch in batches:
                columns = batch.columns or columns
                response.columns.extend(sql_pb2.Column(name=column.name, type=column.type) for column in batch.columns)
                for row in _rows(batch, columns):
                    size += row.ByteSize()
                    count += 1
                    response.rows.append(row)
                    if size >= MESSAGE_BYTES:
                        yield response
                        response = sql_pb2.QueryResponse()
                        size = 0
                is_cut = batch.is_cut
        response.end.row_count = count
        response.end.is_cut = is_cut
        yield response


def _rows(batch: Batch, columns: Sequence[ResultColumn]) -> "Sequence[sql_pb2.Row]":
    json_places = frozenset(place for place, column in enumerate(columns) if column.type in _JSON_TYPES)
    return [
        sql_pb2.Row(
            values=[
                sql_pb2.Value(json=str(value)) if place in json_places and value is not None else message_of(value)
                for place, value in enumerate(row)
            ]
        )
        for row in batch.rows
    ]


def message_of(value: object) -> sql_pb2.Value:
    """A value as asyncpg decodes it. Types that have no field of their own become their text."""
    match value:
        case None:
            return sql_pb2.Value(null=True)
        case bool():
            return sql_pb2.Value(boolean=value)
        case int():
            if -_INTEGER_MAX <= value < _INTEGER_MAX:
                return sql_pb2.Value(integer=value)
            return sql_pb2.Value(decimal=str(value))
        case float():
            return sql_pb2.Value(real=value)
        case str():
            return sql_pb2.Value(text=value)
        case bytes():
            return sql_pb2.Value(bytes=value)
        case Decimal():
            return sql_pb2.Value(decimal=format(value, "f") if value.is_finite() else str(value))
        case datetime() if value.tzinfo is not None:
            message = sql_pb2.Value()
            message.timestamp.FromDatetime(value)
            return message
        case timedelta():
            message = sql_pb2.Value()
            message.duration.FromTimedelta(value)
            return message
        case list():
            return sql_pb2.Value(list=sql_pb2.List(values=[message_of(item) for item in value]))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case _:
            return sql_pb2.Value(text=str(value))
