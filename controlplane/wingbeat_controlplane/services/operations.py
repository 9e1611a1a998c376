"""OperationsService: how the installation is doing, for `wingbeat status` and probes."""

import asyncpg

from wingbeat_controlplane.registry.times import timestamp
from wingbeat_controlplane.services.rpcs import CallContext
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.operations.v1 import operations_pb2

_SQL = load_queries("wingbeat_controlplane.services", "operations.sql")


class OperationsServicer:
    """GetStatus."""

    def __init__(self, pool: asyncpg.Pool, *, version: str) -> None:
        self._pool = pool
        self._version = version

    async def GetStatus(
        self, request: operations_pb2.GetStatusRequest, context: CallContext
    ) -> operations_pb2.GetStatusResponse:
        """Live engine processes and executions under way, in one snapshot of the database."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            status = await connection.fetchrow(_SQL["status"])
            propellers = await connection.fetch(_SQL["propellers"])
        assert status is not None, "an aggregate always has one row"
        return operations_pb2.GetStatusResponse(
            version=self._version,
            live_executions=status["live_executions"],
            schema_version=status["schema_version"] or 0,
            propellers=[
                operations_pb2.Propeller(
                    term=row["term"],
                    name=row["name"],
                    shards=row["shards"],
                    lease_expires_at=timestamp(row["lease_expires_at"]),
                )
                for row in propellers
            ],
        )
