"""GetExecution, ListExecutions, GetExecutionData."""

import asyncpg
from flyteidl.admin import common_pb2, execution_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import not_found
from wingbeat_controlplane.executions.data import DataReader, StoredValue
from wingbeat_controlplane.executions.execution_messages import execution_message
from wingbeat_controlplane.executions.failures import listed_error, whole_error
from wingbeat_controlplane.executions.identifiers import check_execution_id, check_text
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.listing.filters import Filter, Function, parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import EXECUTIONS
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "execution_reads.sql")
_ACTIVE = Filter(Function.EQ, "", "state", ("0",))


class ExecutionReads:
    """Reads of executions; each is one query, and a blob where a value is large."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs, data: DataReader, options: ExecutionOptions) -> None:
        self._pool = pool
        self._blobs = blobs
        self._data = data
        self._options = options

    async def get(self, request: execution_pb2.WorkflowExecutionGetRequest) -> execution_pb2.Execution:
        """One execution with the whole of its error. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        row = await self._row("get_execution", request.id, present=request.HasField("id"))
        error = await whole_error(
            self._blobs, row["error"], row["error_uri"], bytes_max=self._options.data_inline_bytes_max
        )
        return execution_message(row, error)

    async def list(self, request: common_pb2.ResourceListRequest) -> execution_pb2.ExecutionList:
        """One page; archived executions are hidden unless a filter speaks of the state."""
        check_text("project", request.id.project)
        check_text("domain", request.id.domain)
        page = parse_page("ListExecutions", request.limit, request.token)
        scope = {"project": request.id.project, "domain": request.id.domain}
        if request.id.name:
            scope["name"] = request.id.name
        filters = parse_filters(request.filters)
        if not any(entry.column == "state" and entry.entity in ("", EXECUTIONS.entity) for entry in filters):
            filters = (*filters, _ACTIVE)
        query = compile_list(
            EXECUTIONS,
            page=page,
            scope=scope,
            filters=filters,
            sort_by=sort_of(request.sort_by),
        )
        rows = await self._pool.fetch(query.sql(_SQL["list_executions"]), *query.args)
        return execution_pb2.ExecutionList(
            executions=[execution_message(row, listed_error(row["error"])) for row in rows],
            token=page.next_token(len(rows)),
        )

    async def data(self, request: execution_pb2.WorkflowExecutionGetDataRequest) -> bytes:
        """Inputs and outputs, as the serialized answer. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        row = await self._row("get_execution_data", request.id, present=request.HasField("id"))
        data = await self._data.read(
            inputs=StoredValue(row["inputs"], row["inputs_uri"]),
            outputs=StoredValue(row["outputs"], row["outputs_uri"]),
        )
        answer = execution_pb2.WorkflowExecutionGetDataResponse(
            inputs=data.inputs.link,
            outputs=data.outputs.link,
        )
        return answer.SerializeToString() + data.encode()

    async def _row(
        self, query: str, identifier: identifier_pb2.WorkflowExecutionIdentifier, *, present: bool
    ) -> asyncpg.Record:
        check_execution_id(identifier, present=present)
        row = await self._pool.fetchrow(_SQL[query], identifier.project, identifier.domain, identifier.name)
        if row is None:
            raise not_found("execution", identifier)
        return row
