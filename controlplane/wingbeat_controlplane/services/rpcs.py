"""Rpcs of a service, taken from its descriptor, bound to the methods of a servicer and guarded.

Both ways in use the same table: the gRPC server hands in and gets bytes, the REST gateway messages. So bytes that are
no message of the request's type give INVALID_ARGUMENT, an rpc that the servicer does not have gives UNIMPLEMENTED with
its name, and nothing but `ApiError` comes out. A handler that passes on values of many megabytes answers with bytes
(`Encoded`): to parse and serialize them would hold up everybody else for seconds.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeAlias, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from wingbeat_controlplane.errors import ApiError, invalid_argument, unimplemented
from wingbeat_controlplane.services.errors import guard, status_of


class CallContext(Protocol):
    """What a handler may know of its caller; `grpc.aio.ServicerContext` satisfies it, and so does the gateway's."""

    def peer(self) -> str:
        """Address of the other end of the connection, for instance `ipv4:127.0.0.1:53210`."""
        ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Metadata (REST: headers) of the call; keys in lower case."""
        ...


@dataclass(frozen=True, slots=True)
class Encoded:
    """An answer as the serialized message."""

    data: bytes


Handler: TypeAlias = Callable[[Message, CallContext], Awaitable[Message | Encoded]]


class Rpc:
    """One unary rpc: its full name `/package.Service/Method`, its request type, and the way to answer it."""

    def __init__(self, method: MethodDescriptor, handler: Handler | None) -> None:
        self.service: str = method.containing_service.full_name
        self.name = f"/{self.service}/{method.name}"
        self.descriptor = method
        self.request_type: type[Message] = message_factory.GetMessageClass(method.input_type)
        self.response_type: type[Message] = message_factory.GetMessageClass(method.output_type)
        self._handler = handler

    async def answer(self, request: Message, context: CallContext) -> Message:
        """Call the handler. Raises ApiError only."""
        handler = self._handler or self._refuse()

        async def call() -> Message:
            answer = await handler(request, context)
            return self.response_type.FromString(answer.data) if isinstance(answer, Encoded) else answer

        return await guard(self.name, call)

    async def answer_bytes(self, data: bytes, context: CallContext) -> bytes:
        """As `answer`, from a serialized request to a serialized answer."""
        handler = self._handler or self._refuse()
        try:
            request = self.request_type.FromString(data)
        except DecodeError as error:
            raise invalid_argument(
                f"malformed request: the bytes are no {self.request_type.DESCRIPTOR.full_name}"
            ) from error

        async def call() -> bytes:
            answer = await handler(request, context)
            return answer.data if isinstance(answer, Encoded) else answer.SerializeToString()

        return await guard(self.name, call)

    def _refuse(self) -> NoReturn:
        raise unimplemented(self.name)


def rpcs_of(service: ServiceDescriptor, servicer: object) -> Mapping[str, Rpc]:
    """Every rpc of `service` by full name, answered by the coroutine method of `servicer` with the rpc's name, if any.

    Raises TypeError for a streaming rpc, which needs a handler of its own.
    """
    rpcs: dict[str, Rpc] = {}
    for method in service.methods:
        if method.client_streaming or method.server_streaming:
            raise TypeError(f"{method.full_name} is a stream")
        found = getattr(servicer, method.name, None)
        if found is not None and not inspect.iscoroutinefunction(found):
            raise TypeError(f"{type(servicer).__name__}.{method.name} is no coroutine method")
        rpc = Rpc(method, cast("Handler | None", found))
        rpcs[rpc.name] = rpc
    return rpcs


class RpcHandler(grpc.GenericRpcHandler):
    """Serves a table of rpcs on a `grpc.aio` server."""

    def __init__(self, rpcs: Mapping[str, Rpc]) -> None:
        self._handlers = {name: _method_handler(rpc) for name, rpc in rpcs.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The handler of a method, None when it is not of these services."""
        return self._handlers.get(handler_call_details.method)


def _method_handler(rpc: Rpc) -> "grpc.RpcMethodHandler[bytes, bytes]":
    async def serve(data: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        try:
            return await rpc.answer_bytes(data, context)
        except ApiError as error:
            status = status_of(error)
            trailers = (("grpc-status-details-bin", status.SerializeToString()),) if status.details else ()
            await context.abort(error.code, status.message, trailers)

    return grpc.unary_unary_rpc_method_handler(serve, request_deserializer=None, response_serializer=None)
