"""What nodes and elements of arrays leave behind: decks and values, for the data proxy."""

from typing import Literal

import asyncpg
from flyteidl.core import identifier_pb2

from wingbeat_controlplane.errors import not_found
from wingbeat_controlplane.executions.data import DataReader, StoredValue
from wingbeat_controlplane.executions.element_reads import ElementReads
from wingbeat_controlplane.executions.execution_keys import ExecutionKeys
from wingbeat_controlplane.executions.identifiers import check_node_id
from wingbeat_controlplane.executions.rows import Row
from wingbeat_controlplane.executions.task_reads import ATTEMPT_MAX
from wingbeat_propeller.postgres.queries import load_queries

_SQL = load_queries("wingbeat_controlplane.executions", "artifacts.sql")


class Artifacts:
    """Satisfies `services.dataproxy.ArtifactReader`."""

    def __init__(self, pool: asyncpg.Pool, keys: ExecutionKeys, data: DataReader, elements: ElementReads) -> None:
        self._pool = pool
        self._keys = keys
        self._data = data
        self._elements = elements

    async def deck_uri(self, node: identifier_pb2.NodeExecutionIdentifier) -> str | None:
        """URI of the node's deck, None when it has none. Raises ApiError INVALID_ARGUMENT, NOT_FOUND."""
        row = await self._row("node_artifacts", node)
        return row["deck_uri"]

    async def node_literals(
        self, node: identifier_pb2.NodeExecutionIdentifier, attempt: int | None, io: Literal["i", "o"]
    ) -> bytes:
        """Inputs or outputs of a node, or of one of its attempts: a serialized LiteralMap, empty when there are none.

        Raises ApiError INVALID_ARGUMENT, NOT_FOUND (node or attempt), and as `DataReader.literals`.
        """
        if attempt is None:
            row = await self._row("node_artifacts", node)
        elif attempt > ATTEMPT_MAX:
            raise not_found("node execution", node)
        else:
            row = await self._row("attempt_artifacts", node, attempt)
        if io == "i" and "element" in row:
            return await self._data.literals(await self._elements.inputs(row))
        if io == "i":
            return await self._data.literals(StoredValue(row["inputs"], row["input_uri"]))
        return await self._data.literals(StoredValue(row["outputs"], row["output_uri"]))

    async def _row(self, query: str, node: identifier_pb2.NodeExecutionIdentifier, *attempt: int) -> Row:
        check_node_id(node)
        key = await self._keys.find(node.execution_id)
        row: Row | None = None
        if key is not None:
            row = await self._pool.fetchrow(_SQL[query], key, node.node_id, *attempt)
            row = row or await self._elements.find(key, node.node_id, *attempt)
        if row is None:
            raise not_found("node execution", node)
        return row
