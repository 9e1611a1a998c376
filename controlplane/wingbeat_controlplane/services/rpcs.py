"""Rpcs of a service, taken from its descriptor, bound to the methods of a servicer and guarded.

A method of the servicer has the rpc's name and the form of its streams: a coroutine answers once, an asynchronous
generator answers with a stream; either gets the request, or an iterator over a stream of requests. Streams are served
over gRPC alone, with its flow control: the next request is read when the handler asks for it, and the handler goes on
when the transport has taken its answer.

Both ways in use the same table: the gRPC server hands in and gets bytes, the REST gateway messages. So bytes that are
no message of the request's type give INVALID_ARGUMENT, an rpc that the servicer does not have gives UNIMPLEMENTED with
its name, and nothing but `ApiError` comes out. A handler that passes on values of many megabytes answers with bytes
(`Encoded`): to parse and serialize them would hold up everybody else for seconds.
"""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeAlias, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from wingbeat_controlplane.errors import ApiError, invalid_argument, unimplemented
from wingbeat_controlplane.services.errors import OWN_STATUS_BYTES_MAX, STATUS_BYTES_MAX, guard, status_of

_OWN_PREFIX = "wingbeatidl."


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
StreamHandler: TypeAlias = Callable[
    [Message | AsyncIterator[Message], CallContext], Awaitable[Message] | AsyncGenerator[Message | Encoded, None]
]


class Rpc:
    """One unary rpc: its full name `/package.Service/Method`, its request type, and the way to answer it."""

    def __init__(self, method: MethodDescriptor, handler: Handler | None) -> None:
        self.service: str = method.containing_service.full_name
        self.name = f"/{self.service}/{method.name}"
        self.descriptor = method
        self.request_type: type[Message] = message_factory.GetMessageClass(method.input_type)
        self.response_type: type[Message] = message_factory.GetMessageClass(method.output_type)
        self._handler = handler

    def method_handler(self) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """What a `grpc.aio` server calls."""
        return _method_handler(self)

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
        request = _decoded(self.request_type, data)

        async def call() -> bytes:
            answer = await handler(request, context)
            return answer.data if isinstance(answer, Encoded) else answer.SerializeToString()

        return await guard(self.name, call)

    def _refuse(self) -> NoReturn:
        raise unimplemented(self.name)


class StreamRpc:
    """One rpc with a stream in either direction or both."""

    def __init__(self, method: MethodDescriptor, handler: StreamHandler | None) -> None:
        self.service: str = method.containing_service.full_name
        self.name = f"/{self.service}/{method.name}"
        self.descriptor = method
        self.request_type: type[Message] = message_factory.GetMessageClass(method.input_type)
        self._handler = handler

    def method_handler(self) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """What a `grpc.aio` server calls."""
        method = self.descriptor
        if method.client_streaming and method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(self._serve_stream)
        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(self._serve_one)
        return grpc.unary_stream_rpc_method_handler(self._serve_stream)

    async def _serve_one(
        self, requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> bytes:
        async def call() -> bytes:
            answer = self._start(requests, context)
            assert isinstance(answer, Awaitable), "an rpc that answers once is a coroutine"
            return (await answer).SerializeToString()

        try:
            return await guard(self.name, call)
        except ApiError as error:
            await _abort(context, error, self.service)

    async def _serve_stream(
        self, requests: bytes | AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> AsyncIterator[bytes]:
        async def start() -> AsyncGenerator[Message | Encoded, None]:
            answers = self._start(requests, context)
            assert not isinstance(answers, Awaitable), "an rpc that answers with a stream is a generator"
            return answers

        try:
            async with aclosing(await guard(self.name, start)) as answers:
                while (answer := await guard(self.name, lambda: anext(answers, None))) is not None:
                    yield answer.data if isinstance(answer, Encoded) else answer.SerializeToString()
        except ApiError as error:
            await _abort(context, error, self.service)

    def _start(
        self, requests: bytes | AsyncIterator[bytes], context: CallContext
    ) -> Awaitable[Message] | AsyncGenerator[Message | Encoded, None]:
        if self._handler is None:
            raise unimplemented(self.name)
        if isinstance(requests, bytes):
            return self._handler(_decoded(self.request_type, requests), context)
        return self._handler(self._decode_all(requests), context)

    async def _decode_all(self, requests: AsyncIterator[bytes]) -> AsyncGenerator[Message, None]:
        async for data in requests:
            yield _decoded(self.request_type, data)


AnyRpc: TypeAlias = Rpc | StreamRpc


def rpcs_of(service: ServiceDescriptor, servicer: object) -> Mapping[str, AnyRpc]:
    """Every rpc of `service` by full name, answered by the method of `servicer` with the rpc's name, if any.

    Raises TypeError for a method that has not the form of its rpc.
    """
    rpcs: dict[str, AnyRpc] = {}
    for method in service.methods:
        found = getattr(servicer, method.name, None)
        has_form = inspect.isasyncgenfunction if method.server_streaming else inspect.iscoroutinefunction
        if found is not None and not has_form(found):
            form = "asynchronous generator" if method.server_streaming else "coroutine"
            raise TypeError(f"{type(servicer).__name__}.{method.name} is no {form} method")
        if method.client_streaming or method.server_streaming:
            rpc = StreamRpc(method, cast("StreamHandler | None", found))
        else:
            rpc = Rpc(method, cast("Handler | None", found))
        rpcs[rpc.name] = rpc
    return rpcs


class RpcHandler(grpc.GenericRpcHandler):
    """Serves a table of rpcs on a `grpc.aio` server."""

    def __init__(self, rpcs: Mapping[str, AnyRpc]) -> None:
        self._handlers = {name: rpc.method_handler() for name, rpc in rpcs.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The handler of a method, None when it is not of these services."""
        return self._handlers.get(handler_call_details.method)


def _method_handler(rpc: Rpc) -> "grpc.RpcMethodHandler[bytes, bytes]":
    async def serve(data: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        try:
            return await rpc.answer_bytes(data, context)
        except ApiError as error:
            await _abort(context, error, rpc.service)

    return grpc.unary_unary_rpc_method_handler(serve, request_deserializer=None, response_serializer=None)


async def _abort(context: "grpc.aio.ServicerContext[bytes, bytes]", error: ApiError, service: str) -> NoReturn:
    is_own = service.startswith(_OWN_PREFIX)
    status = status_of(error, OWN_STATUS_BYTES_MAX if is_own else STATUS_BYTES_MAX)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),) if status.details else ()
    await context.abort(error.code, status.message, trailers)


def _decoded(request_type: type[Message], data: bytes) -> Message:
    """Raises ApiError INVALID_ARGUMENT for bytes that are no such message."""
    try:
        return request_type.FromString(data)
    except DecodeError as error:
        raise invalid_argument(f"malformed request: the bytes are no {request_type.DESCRIPTOR.full_name}") from error
