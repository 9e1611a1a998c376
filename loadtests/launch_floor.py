"""The least that a durable launch can cost here: a grpc.aio server whose one method inserts a row and commits.

Run by `loadtests.launch` as a process of its own: `python -m loadtests.launch_floor DSN`. Prints its port.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import asyncpg
import grpc

METHOD = "/loadtests.Floor/Insert"


class _Floor(grpc.GenericRpcHandler):
    """Answers METHOD with its own request."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The handler of METHOD."""
        if handler_call_details.method != METHOD:
            return None
        # The stub of this function knows only handlers that are no coroutines.
        insert = cast("Callable[[bytes, grpc.ServicerContext], bytes]", self._insert)
        return grpc.unary_unary_rpc_method_handler(insert)

    async def _insert(self, request: bytes, _context: object) -> bytes:
        await self._pool.execute("INSERT INTO loadtest_floor (data) VALUES ($1)", request)
        return request


async def serve(dsn: str) -> None:
    """Serve until the process is ended."""
    async with asyncpg.create_pool(dsn, min_size=8, max_size=8) as pool:
        await pool.execute(
            "CREATE TABLE IF NOT EXISTS loadtest_floor (id bigint GENERATED ALWAYS AS IDENTITY, data bytea)"
        )
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Floor(pool),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        print(port, flush=True)
        await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
