"""A server that answers CreateExecution with nothing: what the harness itself can do. Prints its port."""

import asyncio

import grpc
from flyteidl.admin import execution_pb2

_METHOD = "/flyteidl.service.AdminService/CreateExecution"
_CURSOR = "/wingbeatidl.watch.v1.WatchService/GetCursor"
_ANSWER = execution_pb2.ExecutionCreateResponse().SerializeToString()


class _Floor(grpc.GenericRpcHandler):
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        if handler_call_details.method not in (_METHOD, _CURSOR):
            return None
        return grpc.unary_unary_rpc_method_handler(_answer)


async def _answer(_request: bytes, _context: object) -> bytes:
    return _ANSWER


async def serve() -> None:
    """Serve until the process is ended."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Floor(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
