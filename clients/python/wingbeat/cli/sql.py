"""`wingbeat sql`: a read-only question in SQL over the views of an installation."""

import base64
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from wingbeat.cli.calls import calls_to
from wingbeat.cli.output import escape, say_table
from wingbeat.cli.session import DataDir, Endpoint
from wingbeatidl.sql.v1 import sql_pb2

if TYPE_CHECKING:
    import grpc

_METHOD = "/wingbeatidl.sql.v1.SqlService/Query"
_TIMEOUT_S = 600.0
"""More than the server permits: its answer tells why a question took too long."""
_TABLE_ROWS = 1_000


class RowFormat(Enum):
    """What `-o` chooses."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def sql(
    question: Annotated[
        str,
        typer.Argument(metavar="QUERY", help="One SELECT: 'select * from executions limit 5'; -: stdin."),
    ],
    project: Annotated[
        list[str] | None, typer.Option("-p", "--project", help="See rows of this project only; may be repeated.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most rows; 0: as many as the installation allows.")] = 0,
    output: Annotated[
        RowFormat, typer.Option("-o", "--output", help="A table, one JSON object a line, or CSV.")
    ] = RowFormat.TABLE,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
) -> None:
    """Ask in SQL: executions, nodes, attempts, cache_outcomes, resources, artifacts, labels."""
    text = sys.stdin.read() if question == "-" else question
    request = sql_pb2.QueryRequest(sql=text, projects=project or (), row_limit=limit)
    with calls_to(endpoint, data_dir) as channel:
        answers = _ask(channel, request)
        first = next(answers)
        columns = [column.name for column in first.columns]
        cut = _Printed(columns, output).all(_chain(first, answers))
    if cut:
        typer.echo(f"Only the first {cut} rows are shown: there are more.", err=True)


def _ask(channel: "grpc.Channel", request: sql_pb2.QueryRequest) -> Iterator[sql_pb2.QueryResponse]:
    call = channel.unary_stream(
        _METHOD,
        request_serializer=sql_pb2.QueryRequest.SerializeToString,
        response_deserializer=sql_pb2.QueryResponse.FromString,
    )
    return iter(call(request, timeout=_TIMEOUT_S))


def _chain(first: sql_pb2.QueryResponse, following: Iterator[sql_pb2.QueryResponse]) -> Iterator[sql_pb2.QueryResponse]:
    yield first
    yield from following


class _Printed:
    """Rows on the standard output as they come; a table needs them all, so it shows only so many."""

    def __init__(self, columns: Sequence[str], output: RowFormat) -> None:
        self._columns = columns
        self._output = output

    def all(self, responses: Iterator[sql_pb2.QueryResponse]) -> int:
        """Print; returns how many rows there were when others were left out, else 0."""
        rows = 0
        is_cut = False
        table: list[list[str]] = []
        writer = csv.writer(sys.stdout)
        if self._output is RowFormat.CSV:
            writer.writerow(self._columns)
        for response in responses:
            for row in response.rows:
                rows += 1
                if self._output is RowFormat.JSON:
                    values = [json_value(value) for value in row.values]
                    typer.echo(json.dumps(dict(zip(self._columns, values, strict=True)), ensure_ascii=False))
                elif self._output is RowFormat.CSV:
                    writer.writerow([text_of(value) for value in row.values])
                elif rows <= _TABLE_ROWS:
                    table.append([escape(_cell(value)) for value in row.values])
            is_cut = response.end.is_cut
        if self._output is RowFormat.TABLE:
            say_table(self._columns, table)
            is_cut = is_cut or rows > _TABLE_ROWS
            rows = min(rows, _TABLE_ROWS)
        return rows if is_cut else 0


def json_value(value: sql_pb2.Value) -> object:
    """A value for JSON; times as text, numbers with all their digits as text too."""
    match value.WhichOneof("kind"):
        case "boolean":
            return value.boolean
        case "integer":
            return value.integer
        case "real":
            return value.real if value.real - value.real == 0 else str(value.real)
        case "json":
            return json.loads(value.json)
        case "list":
            return [json_value(item) for item in value.list.values]
        case "null" | None:
            return None
        case _:
            return text_of(value)


def text_of(value: sql_pb2.Value) -> str:
    """A value as plain text; NULL is empty."""
    match value.WhichOneof("kind"):
        case "boolean":
            return "true" if value.boolean else "false"
        case "integer":
            return str(value.integer)
        case "real":
            return repr(value.real)
        case "text":
            return value.text
        case "json":
            return value.json
        case "decimal":
            return value.decimal
        case "bytes":
            return base64.b64encode(value.bytes).decode()
        case "timestamp":
            return value.timestamp.ToDatetime(tzinfo=UTC).isoformat()
        case "duration":
            return str(value.duration.ToTimedelta())
        case "list":
            return json.dumps(json_value(value), ensure_ascii=False)
        case _:
            return ""


def _cell(value: sql_pb2.Value) -> str:
    """One line of a table's cell."""
    lines = text_of(value).splitlines()
    return (lines[0] if lines else "") + (" ..." if len(lines) > 1 else "")
