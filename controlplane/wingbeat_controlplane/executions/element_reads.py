"""Elements of arrays, read as nodes. They have no rows among the nodes and are not listed with them; but whoever asks
for one by its id (`element_ids`) is answered from the rows of its attempts.

An element whose turn has not come is unknown, as any node is then.
"""

import asyncio
from collections.abc import Sequence

import asyncpg
import structlog
from flyteidl.admin import common_pb2
from flyteidl.core import compiler_pb2, literals_pb2
from flyteidl.event import event_pb2
from google.protobuf.message import DecodeError

from wingbeat_controlplane.errors import ApiError
from wingbeat_controlplane.executions.array_inputs import find_array, inputs_of_element
from wingbeat_controlplane.executions.data import StoredValue
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.listing.filters import Filter
from wingbeat_controlplane.listing.query import Page, compile_list
from wingbeat_controlplane.listing.tables import ELEMENT_ATTEMPTS
from wingbeat_propeller.core.element_ids import ElementId, parse_element_id, stored_parent_id
from wingbeat_propeller.core.phases import NodePhase, TaskPhase
from wingbeat_propeller.core.plan import NodeKind
from wingbeat_propeller.core.rows import FLAG_DYNAMIC, FLAG_PARENT
from wingbeat_propeller.ports.blobs import BlobAccessError, BlobNotFoundError, Blobs, BlobTooLargeError
from wingbeat_propeller.postgres.queries import load_queries

INPUTS_BYTES_MAX = 64 << 20
"""Largest inputs of an array in which those of an element are looked for."""
INLINE_BYTES_MAX = 64 << 10
"""Larger ones are parsed beside the event loop, which serves others meanwhile."""

_SQL = load_queries("wingbeat_controlplane.executions", "element_reads.sql")
_PHASES = {
    TaskPhase.SUCCEEDED: NodePhase.SUCCEEDED,
    TaskPhase.FAILED: NodePhase.FAILED,
    TaskPhase.ABORTED: NodePhase.ABORTED,
}
"""Of elements that have ended; others run, or pause between two attempts."""

_log = structlog.get_logger(__name__)


class ElementReads:
    """Reads of elements by primary key, once the execution's row id is known."""

    def __init__(self, pool: asyncpg.Pool, blobs: Blobs) -> None:
        self._pool = pool
        self._blobs = blobs

    async def find(self, key: int, node_id: str, attempt: int | None = None) -> Row | None:
        """The element of that id with the columns that reads of nodes have, None if there is none. `key`: the
        execution's row; `attempt`: that one instead of the last. Its inputs are for `inputs` to find."""
        name = parse_element_id(node_id)
        if name is None:
            return None
        row = await self._pool.fetchrow(
            _SQL["element"], key, name.array_id, name.element, attempt, stored_parent_id(node_id)
        )
        return None if row is None else _as_node(row, node_id)

    async def attempts(
        self, key: int, element: ElementId, page: Page, filters: Sequence[Filter], sort_by: common_pb2.Sort | None
    ) -> Sequence[Row]:
        """A page of the element's attempts with the columns that those of nodes have; of elements that are no tasks,
        none. Raises ApiError INVALID_ARGUMENT."""
        query = compile_list(
            ELEMENT_ATTEMPTS,
            page=page,
            scope={"execution_id": key, "array_id": element.array_id, "element": element.element},
            filters=filters,
            sort_by=sort_by,
        )
        return await self._pool.fetch(query.sql(_SQL["attempts"]), *query.args)

    async def attempt(self, key: int, element: ElementId, attempt: int) -> Row | None:
        """One of them."""
        scope = {
            "execution_id": key,
            "array_id": element.array_id,
            "element": element.element,
            "retry_attempt": attempt,
        }
        query = compile_list(ELEMENT_ATTEMPTS, page=Page(1, 0), scope=scope)
        return await self._pool.fetchrow(query.sql(_SQL["attempts"]), *query.args)

    async def inputs(self, row: Row) -> StoredValue:
        """What the element in `row` is given; where that cannot be told, what its array was given."""
        of_array = StoredValue(row["inputs"], row["input_uri"])
        data = of_array.inline
        try:
            if data is None and of_array.uri is not None:
                data = await self._blobs.get(of_array.uri, INPUTS_BYTES_MAX)
            if data is None:
                return of_array
            closure = await self._pool.fetchval(_SQL["workflow"], row["execution_id"]) or b""
            picked = (closure, row["array_spec_id"], data, row["element"])
            if len(data) + len(closure) > INLINE_BYTES_MAX:
                return StoredValue(await asyncio.to_thread(_pick, *picked), None)
            return StoredValue(_pick(*picked), None)
        except (ApiError, BlobAccessError, BlobNotFoundError, BlobTooLargeError, DecodeError) as error:
            _log.info("inputs of an element cannot be told", node=row["node_id"], error=str(error))
            return of_array


def _pick(closure: bytes, spec_node_id: str, data: bytes, element: int) -> bytes:
    array = find_array(compiler_pb2.CompiledWorkflowClosure.FromString(closure), spec_node_id)
    return inputs_of_element(literals_pb2.LiteralMap.FromString(data), array, element).SerializeToString()


def _as_node(row: asyncpg.Record, node_id: str) -> Row:
    is_dynamic = row["futures_uri"] is not None
    phase = _PHASES.get(row["phase"], NodePhase.DYNAMIC_RUNNING if is_dynamic else NodePhase.RUNNING)
    details = event_pb2.NodeExecutionEvent()
    if is_dynamic:
        details.task_node_metadata.dynamic_workflow.dynamic_job_spec_uri = row["futures_uri"]
    is_frame = row["is_parent"] and not is_dynamic
    return {
        **row,
        "node_id": node_id,
        "spec_node_id": f"n{row['element']}",
        "parent_attempt": 0,
        "kind": NodeKind.WORKFLOW if is_frame else NodeKind.ARRAY,
        "flags": FLAG_DYNAMIC | FLAG_PARENT if is_dynamic else FLAG_PARENT if is_frame else 0,
        "phase": phase,
        "updated_at": row["ended_at"] or row["started_at"] or row["created_at"],
        "has_inputs": row["inputs"] is not None or row["input_uri"] is not None,
        "has_outputs": row["outputs"] is not None,
        "details": details.SerializeToString(),
    }
