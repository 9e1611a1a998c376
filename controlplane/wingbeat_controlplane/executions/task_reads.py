"""GetTaskExecution, ListTaskExecutions, GetTaskExecutionData, and the nodes that an attempt made."""

from collections.abc import Sequence

import asyncpg
from flyteidl.admin import node_execution_pb2, task_execution_pb2
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import not_found
from wingbeat_controlplane.executions.array_reads import LISTED_MAX, SHOWN_MAX, ArrayReads
from wingbeat_controlplane.executions.data import DataReader, StoredValue
from wingbeat_controlplane.executions.element_reads import ElementReads
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_controlplane.executions.failures import stored_error, whole_error
from wingbeat_controlplane.executions.flyte_urls import task_urls
from wingbeat_controlplane.executions.identifiers import check_node_id, check_task_id
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.task_messages import task_message
from wingbeat_controlplane.listing.filters import parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import NODE_EXECUTIONS, TASK_EXECUTIONS
from wingbeat_propeller.core.element_ids import parse_element_id
from wingbeat_propeller.ports.blobs import Blobs
from wingbeat_propeller.postgres.queries import load_queries

ATTEMPT_MAX = 2**15 - 1
"""Largest attempt a row can hold."""

_SQL = load_queries("wingbeat_controlplane.executions", "task_reads.sql")
_TASK_ID = ("project", "domain", "name", "version")


class TaskReads:
    """Reads of task executions, by primary key once the execution's row id is known."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        keys: ExecutionKeys,
        blobs: Blobs,
        data: DataReader,
        elements: ElementReads,
        options: ExecutionOptions,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._blobs = blobs
        self._data = data
        self._elements = elements
        self._options = options
        self._arrays = ArrayReads(pool)

    async def get(self, request: task_execution_pb2.TaskExecutionGetRequest) -> task_execution_pb2.TaskExecution:
        """One attempt with the whole of its error. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        row = await self._row("get_task", request.id, present=request.HasField("id"))
        error = await whole_error(
            self._blobs, row["error"], row["error_uri"], bytes_max=self._options.data_inline_bytes_max
        )
        message = task_message(row, request.id.node_execution_id, error)
        await self._arrays.complete(row["execution_id"], message, entries_max=SHOWN_MAX)
        return message

    async def list(self, request: task_execution_pb2.TaskExecutionListRequest) -> task_execution_pb2.TaskExecutionList:
        """One page of the attempts of a node, or of an element of an array; an unknown one has none. Errors are as long
        as rows keep them.

        Raises ApiError INVALID_ARGUMENT.
        """
        node = request.node_execution_id
        check_node_id(node, present=request.HasField("node_execution_id"))
        page = parse_page("ListTaskExecutions", request.limit, request.token)
        key = await self._keys.find(node.execution_id)
        filters, sort_by = parse_filters(request.filters), sort_of(request.sort_by)
        query = compile_list(
            TASK_EXECUTIONS,
            page=page,
            scope={"execution_id": -1 if key is None else key, "node_id": node.node_id},
            filters=filters,
            sort_by=sort_by,
        )
        rows: Sequence[Row] = []
        if key is not None:
            rows = await self._pool.fetch(query.sql(_SQL["list_tasks"]), *query.args)
            if not rows and (element := parse_element_id(node.node_id)) is not None:
                rows = await self._elements.attempts(key, element, page, filters, sort_by)
        messages = [task_message(row, node, stored_error(row["error"])) for row in rows]
        for message in messages:
            await self._arrays.complete(key or -1, message, entries_max=LISTED_MAX)
        return task_execution_pb2.TaskExecutionList(task_executions=messages, token=page.next_token(len(rows)))

    async def data(self, request: task_execution_pb2.TaskExecutionGetDataRequest) -> bytes:
        """Inputs, outputs and their addresses: the serialized answer. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        row = await self._row("get_task_data", request.id, present=request.HasField("id"))
        inputs = StoredValue(row["inputs"], row["input_uri"])
        if "element" in row:
            inputs = await self._elements.inputs(row)
        data = await self._data.read(inputs=inputs, outputs=StoredValue(row["outputs"], row["output_uri"]))
        answer = task_execution_pb2.TaskExecutionGetDataResponse(
            inputs=data.inputs.link,
            outputs=data.outputs.link,
            flyte_urls=task_urls(request.id),
        )
        return answer.SerializeToString() + data.encode()

    async def list_children(
        self, request: node_execution_pb2.NodeExecutionForTaskListRequest
    ) -> node_execution_pb2.NodeExecutionList:
        """The nodes an attempt made: none, since nodes belong to nodes (very old engines had it otherwise).

        Raises ApiError INVALID_ARGUMENT, and NOT_FOUND for an unknown attempt.
        """
        page = parse_page("ListNodeExecutionsForTask", request.limit, request.token)
        await self._row("get_task", request.task_execution_id, present=request.HasField("task_execution_id"))
        sort_by = sort_of(request.sort_by)
        compile_list(NODE_EXECUTIONS, page=page, scope={}, filters=parse_filters(request.filters), sort_by=sort_by)
        return node_execution_pb2.NodeExecutionList()

    async def _row(self, query: str, identifier: identifier_pb2.TaskExecutionIdentifier, *, present: bool) -> Row:
        check_task_id(identifier, present=present)
        node, task, attempt = identifier.node_execution_id, identifier.task_id, identifier.retry_attempt
        key = await self._keys.find(node.execution_id)
        row: Row | None = None
        if key is not None and attempt <= ATTEMPT_MAX:
            names = (task.project, task.domain, task.name, task.version)
            row = await self._pool.fetchrow(_SQL[query], key, node.node_id, attempt, *names)
            if row is None and (element := parse_element_id(node.node_id)) is not None:
                row = await self._elements.attempt(key, element, attempt)
                if row is not None and names != tuple(row[f"task_{part}"] for part in _TASK_ID):
                    row = None
        if row is None:
            raise not_found("task execution", identifier)
        return row
