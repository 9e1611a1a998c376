"""The part of the control plane that engines call: launching and terminating executions of launch plan nodes.

The real ChildExecutions runs over these two; each does at one instant what the real ones do in a transaction.
"""

import asyncio
from collections.abc import Callable

import grpc
from flyteidl.admin import execution_pb2

from tests.simulation.database import SimulatedDatabase
from tests.simulation.server import Client, SimulatedServer
from wingbeat_controlplane.errors import ApiError
from wingbeat_propeller.core.ids import ExecutionKey
from wingbeatidl.recovery.v1 import recovery_pb2

LAUNCH_S_MAX = 1.0
"""The real one reads what it launches first."""
Insert = Callable[[execution_pb2.ExecutionCreateRequest], None]
"""Inserts the row of a child."""


class SimulatedLauncher:
    """What ChildExecutions needs of executions.launch.Launcher."""

    def __init__(self, server: SimulatedServer, client: Client, insert: Insert) -> None:
        self._server = server
        self._client = client
        self._insert = insert

    async def create(
        self,
        request: execution_pb2.ExecutionCreateRequest,
        _caller: object,
        *,
        source_execution_id: int | None = None,
        recovery: recovery_pb2.Recovery | None = None,
    ) -> None:
        """Launch, once a name."""

        def effect() -> None:
            if find(self._server.database, request.name) is not None:
                raise ApiError(grpc.StatusCode.ALREADY_EXISTS, f"{request.name} exists")
            self._insert(request)

        await asyncio.sleep(self._server.faults.uniform(0.01, LAUNCH_S_MAX))
        await self._server.perform(self._client, effect)


class SimulatedTerminator:
    """What ChildExecutions needs of executions.terminate.Terminator."""

    def __init__(self, server: SimulatedServer, client: Client) -> None:
        self._server = server
        self._client = client

    async def terminate(self, request: execution_pb2.ExecutionTerminateRequest, *, principal: str) -> None:
        """Ask for an abort."""

        def effect() -> None:
            database = self._server.database
            execution = find(database, request.id.name)
            if execution is None:
                raise ApiError(grpc.StatusCode.NOT_FOUND, f"no execution {request.id.name}")
            if not database.request_abort(execution, request.cause):
                raise ApiError(grpc.StatusCode.FAILED_PRECONDITION, f"{request.id.name} has ended")

        await self._server.perform(self._client, effect)


def find(database: SimulatedDatabase, name: str) -> ExecutionKey | None:
    """Row id of an execution by its name."""
    for key, row in database.executions.items():
        if row["name"] == name:
            return ExecutionKey(key)
    return None
