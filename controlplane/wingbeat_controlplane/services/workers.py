"""WorkerDirectoryService: which engines a worker should hold a stream to."""

import asyncpg

from wingbeat_controlplane.services.rpcs import CallContext
from wingbeat_propeller.postgres.queries import load_queries
from wingbeatidl.worker.v1 import worker_pb2

_SQL = load_queries("wingbeat_controlplane.services", "workers.sql")


class WorkerDirectoryServicer:
    """ListEngines."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def ListEngines(
        self, request: worker_pb2.ListEnginesRequest, context: CallContext
    ) -> worker_pb2.ListEnginesResponse:
        """Engine processes that are alive and have said where they can be reached."""
        rows = await self._pool.fetch(_SQL["engines"])
        engines = [worker_pb2.Engine(term=row["term"], address=row["address"]) for row in rows]
        return worker_pb2.ListEnginesResponse(engines=engines)
