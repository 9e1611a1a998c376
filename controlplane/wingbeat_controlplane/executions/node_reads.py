"""GetNodeExecution, ListNodeExecutions, GetNodeExecutionData, GetDynamicNodeWorkflow."""

import asyncpg
import grpc
from flyteidl.admin import matchable_resource_pb2, node_execution_pb2
from flyteidl.core import compiler_pb2, identifier_pb2
from flyteidl.event import event_pb2

from wingbeat_controlplane.errors import ApiError, not_found
from wingbeat_controlplane.executions.data import DataReader, StoredValue
from wingbeat_controlplane.executions.element_reads import ElementReads
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_controlplane.executions.failures import listed_error, whole_error
from wingbeat_controlplane.executions.flyte_urls import node_urls
from wingbeat_controlplane.executions.identifiers import check_execution_id, check_node_id
from wingbeat_controlplane.executions.node_messages import node_message
from wingbeat_controlplane.executions.options import ExecutionOptions
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.listing.filters import parse_filters
from wingbeat_controlplane.listing.query import compile_list, parse_page, sort_of
from wingbeat_controlplane.listing.tables import NODE_EXECUTIONS
from wingbeat_propeller.compiler.dynamic import compiled_uri
from wingbeat_propeller.core.element_ids import stored_parent_id
from wingbeat_propeller.core.folders import RAW_DATA_FOLDER
from wingbeat_propeller.core.rows import FLAG_DYNAMIC
from wingbeat_propeller.ports.blobs import BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "node_reads.sql")


class NodeReads:
    """Reads of node executions, by primary key once the execution's row id is known. Elements of arrays, which are not
    listed, can be asked for one by one."""

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

    async def get(self, request: node_execution_pb2.NodeExecutionGetRequest) -> node_execution_pb2.NodeExecution:
        """One node with the whole of its error. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        row = await self._row("get_node", request.id, present=request.HasField("id"))
        error = await whole_error(
            self._blobs, row["error"], row["error_uri"], bytes_max=self._options.data_inline_bytes_max
        )
        prefix = await self._raw_output_prefix(row["execution_id"])
        return node_message(row, request.id.execution_id, error, prefix)

    async def list(self, request: node_execution_pb2.NodeExecutionListRequest) -> node_execution_pb2.NodeExecutionList:
        """One page of the nodes at top level, or of the direct children of `unique_parent_id`, oldest first.

        An unknown execution has no nodes. Raises ApiError INVALID_ARGUMENT, and NOT_FOUND for an unknown parent.
        """
        execution = request.workflow_execution_id
        check_execution_id(execution, present=request.HasField("workflow_execution_id"))
        page = parse_page("ListNodeExecutions", request.limit, request.token)
        parent_id = request.unique_parent_id or None
        key = await self._keys.find(execution)
        query = compile_list(
            NODE_EXECUTIONS,
            page=page,
            scope={
                "execution_id": -1 if key is None else key,
                "parent_id": None if parent_id is None else stored_parent_id(parent_id),
            },
            filters=parse_filters(request.filters),
            sort_by=sort_of(request.sort_by),
        )
        rows: list[asyncpg.Record] = []
        if key is not None:
            rows = await self._pool.fetch(query.sql(_SQL["list_nodes"]), *query.args)
        if not rows and parent_id is not None:
            await self._require_node(execution, key, parent_id)
        prefix = await self._raw_output_prefix(key) if key is not None and rows else ""
        return node_execution_pb2.NodeExecutionList(
            node_executions=[node_message(row, execution, listed_error(row["error"]), prefix) for row in rows],
            token=page.next_token(len(rows)),
        )

    async def data(self, request: node_execution_pb2.NodeExecutionGetDataRequest) -> bytes:
        """Inputs, outputs and their addresses: the serialized answer. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        row = await self._row("get_node_data", request.id, present=request.HasField("id"))
        inputs = StoredValue(row["inputs"], row["input_uri"])
        if "element" in row:
            inputs = await self._elements.inputs(row)
        data = await self._data.read(inputs=inputs, outputs=StoredValue(row["outputs"], row["output_uri"]))
        answer = node_execution_pb2.NodeExecutionGetDataResponse(
            inputs=data.inputs.link,
            outputs=data.outputs.link,
            flyte_urls=node_urls(request.id, deck=bool(row["deck_uri"])),
        )
        if row["flags"] & FLAG_DYNAMIC:
            answer.dynamic_workflow.CopyFrom(await self._dynamic(row))
        return answer.SerializeToString() + data.encode()

    async def dynamic_workflow(
        self, request: node_execution_pb2.GetDynamicNodeWorkflowRequest
    ) -> node_execution_pb2.DynamicNodeWorkflowResponse:
        """The workflow that a dynamic node has made.

        Raises ApiError INVALID_ARGUMENT, and NOT_FOUND for nodes that have made none.
        """
        row = await self._row("get_dynamic", request.id, present=request.HasField("id"))
        if not row["flags"] & FLAG_DYNAMIC:
            raise ApiError(grpc.StatusCode.NOT_FOUND, "node does not contain dynamic workflow")
        dynamic = await self._dynamic(row)
        return node_execution_pb2.DynamicNodeWorkflowResponse(compiled_workflow=dynamic.compiled_workflow)

    async def _dynamic(self, row: Row) -> node_execution_pb2.DynamicWorkflowNodeMetadata:
        """What is kept of a dynamic workflow, with its compiled form, which was stored before the row said so."""
        event = event_pb2.NodeExecutionEvent.FromString(row["details"])
        stored = event.task_node_metadata.dynamic_workflow
        uri = compiled_uri(stored.dynamic_job_spec_uri)
        try:
            compiled = await self._blobs.get(uri, self._options.single_bytes_max)
        except BlobNotFoundError as error:
            raise ApiError(grpc.StatusCode.NOT_FOUND, f"the compiled workflow is gone: {error}") from error
        except BlobTooLargeError as error:
            text = f"the compiled workflow is too large for an answer; it is kept at {uri}"
            raise ApiError(grpc.StatusCode.OUT_OF_RANGE, text) from error
        workflow = compiler_pb2.CompiledWorkflowClosure.FromString(compiled)
        return node_execution_pb2.DynamicWorkflowNodeMetadata(
            id=workflow.primary.template.id,
            compiled_workflow=workflow,
            dynamic_job_spec_uri=stored.dynamic_job_spec_uri,
        )

    async def _raw_output_prefix(self, key: int) -> str:
        config = matchable_resource_pb2.WorkflowExecutionConfig.FromString(
            await self._pool.fetchval(_SQL["execution_config"], key) or b""
        )
        named = config.raw_output_data_config.output_location_prefix.rstrip("/")
        return named or f"{self._blobs.base}/{RAW_DATA_FOLDER}"

    async def _row(self, query: str, identifier: identifier_pb2.NodeExecutionIdentifier, *, present: bool) -> Row:
        check_node_id(identifier, present=present)
        key = await self._keys.find(identifier.execution_id)
        row: Row | None = None
        if key is not None:
            row = await self._pool.fetchrow(_SQL[query], key, identifier.node_id)
            row = row or await self._elements.find(key, identifier.node_id)
        if row is None:
            raise not_found("node execution", identifier)
        return row

    async def _require_node(
        self, execution: identifier_pb2.WorkflowExecutionIdentifier, key: int | None, node_id: str
    ) -> None:
        if key is not None and await self._pool.fetchval(_SQL["node_exists"], key, node_id):
            return
        if key is None or await self._elements.find(key, node_id) is None:
            raise not_found(
                "node execution", identifier_pb2.NodeExecutionIdentifier(execution_id=execution, node_id=node_id)
            )
