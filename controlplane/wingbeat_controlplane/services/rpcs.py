"""Rpcs of a service, taken from its descriptor, bound to the methods of a servicer and guarded.

Both ways in use the same table: the gRPC server hands in bytes, the REST gateway hands in messages. So bytes that are
no message of the request's type give INVALID_ARGUMENT, an rpc that the servicer does not have gives UNIMPLEMENTED with
its name, and nothing but `ApiError` comes out.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
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


Handler: TypeAlias = Callable[[Message, CallContext], Awaitable[Message]]


class Rpc:
    """One unary rpc: its full name `/package.Service/Method`, its request type, and the way to answer it."""

    def __init__(self, method: MethodDescriptor, handler: Handler | None) -> None:
        self.service: str = method.containing_service.full_name
        self.name = f"/{self.service}/{method.name}"
        self.descriptor = method
        self.request_type: type[Message] = message_factory.GetMessageClass(method.input_type)
        self._handler = handler

    async def answer(self, request: Message, context: CallContext) -> Message:
        """Call the handler. Raises ApiError only."""
        handler = self._handler or self._refuse()
        return await guard(self.name, lambda: handler(request, context))

    async def answer_bytes(self, data: bytes, context: CallContext) -> Message:
        """As `answer`, for a serialized request."""
        if self._handler is None:
            self._refuse()
        try:
            request = self.request_type.FromString(data)
        except DecodeError as error:
            raise invalid_argument(
                f"malformed request: the bytes are no {self.request_type.DESCRIPTOR.full_name}"
            ) from error
        return await self.answer(request, context)

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

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, Message] | None":
        """The handler of a method, None when it is not of these services."""
        return self._handlers.get(handler_call_details.method)


def _method_handler(rpc: Rpc) -> "grpc.RpcMethodHandler[bytes, Message]":
    async def serve(data: bytes, context: "grpc.aio.ServicerContext[bytes, Message]") -> Message:
        try:
            return await rpc.answer_bytes(data, context)
        except ApiError as error:
            status = status_of(error)
            trailers = (("grpc-status-details-bin", status.SerializeToString()),) if status.details else ()
            await context.abort(error.code, status.message, trailers)

    return grpc.unary_unary_rpc_method_handler(serve, request_deserializer=None, response_serializer=_serialize)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
