"""Outputs about to become artifacts, and what their task declares of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from flyteidl.admin import task_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2, tasks_pb2

from wingbeat_catalog.artifacts.partitions import Inputs
from wingbeat_catalog.artifacts.store import Row, Transaction
from wingbeat_catalog.lineage.execution_graph import ExecutionGraph
from wingbeat_catalog.lineage.store import LineageStore
from wingbeat_propeller.core.plan import Target
from wingbeat_propeller.ports.blobs import Blobs

VALUES_BYTES_MAX = 64 << 20
"""Largest inputs and outputs that are read for partitions."""

Variables = Mapping[str, interface_pb2.Variable]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Outputs of one success: of an execution, a node or an element of a map."""

    declared: Variables
    """Those that are artifacts."""
    values: Mapping[str, literals_pb2.Literal]
    inputs: Inputs
    place: tuple[str, ...]
    """What versions begin with."""
    attempt: int
    entity: identifier_pb2.Identifier
    value_uri: str | None
    """Where the values stand, if they are too large for a row."""


def declared_in(interface: interface_pb2.TypedInterface) -> Variables:
    """Outputs that are declared to be artifacts."""
    variables = interface.outputs.variables
    return {var: variables[var] for var in sorted(variables) if variables[var].HasField("artifact_partial_id")}


def entity_of(output: Row, kind: identifier_pb2.ResourceType) -> identifier_pb2.Identifier:
    """The task or workflow that made outputs."""
    return identifier_pb2.Identifier(
        resource_type=kind,
        project=output["task_project"],
        domain=output["task_domain"],
        name=output["task_name"],
        version=output["task_version"],
    )


def template_of(closure: bytes) -> tasks_pb2.TaskTemplate:
    """Template of a registered task."""
    return task_pb2.TaskClosure.FromString(closure).compiled_task.template


async def read_values(blobs: Blobs, data: bytes | None, uri: str | None) -> Mapping[str, literals_pb2.Literal]:
    """Values as a row has them. Raises BlobNotFoundError, BlobTooLargeError, DecodeError, OSError."""
    if data is None and uri is not None:
        data = await blobs.get(uri, VALUES_BYTES_MAX)
    return literals_pb2.LiteralMap.FromString(data or b"").literals


class Targets:
    """What nodes run, as their workflows say, be they of workflows that dynamic tasks have made. For one batch."""

    def __init__(self, connection: Transaction, blobs: Blobs) -> None:
        self._store = LineageStore(connection, blobs)
        self._graphs: dict[int, ExecutionGraph] = {}

    async def find(self, execution: int, node_id: str) -> Target | None:
        """None when that cannot be told any more. Raises OSError."""
        graph = self._graphs.get(execution)
        if graph is None or node_id not in graph.rows:
            loaded = (await self._store.load([execution])).executions
            if execution not in loaded:
                return None
            graph = self._graphs[execution] = loaded[execution].graph
        return graph.target(node_id)
