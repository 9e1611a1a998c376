"""A real gRPC server whose answers a test writes down beforehand, one after the other, by method."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2


class Fault:
    """An answer that is an error. `after_s`: with RetryInfo."""

    def __init__(self, code: grpc.StatusCode, message: str = "no", *, after_s: float | None = None) -> None:
        self.code = code
        self.message = message
        self.status = status_pb2.Status(code=code.value[0], message=message)
        if after_s is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(after_s * 1000))
            packed = any_pb2.Any()
            packed.Pack(retry)
            self.status.details.append(packed)


class Script(grpc.GenericRpcHandler):
    """Answers by the name of the method; `requests` is what came.

    A list is a stream, and a Fault in it breaks it; a function gets the request and answers.
    """

    def __init__(self) -> None:
        self.answers: dict[str, deque[Any]] = defaultdict(deque)
        self.requests: dict[str, list[bytes]] = defaultdict(list)

    def will(self, method: str, *answers: Any) -> None:
        """Add answers for a method."""
        self.answers[method].extend(answers)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method; one without answers left is UNIMPLEMENTED."""
        method = handler_call_details.method.rpartition("/")[2]
        if not self.answers[method]:
            return None
        if isinstance(self.answers[method][0], list):
            return grpc.unary_stream_rpc_method_handler(self._stream(method))
        return grpc.unary_unary_rpc_method_handler(self._unary(method))

    def _unary(self, method: str) -> Any:
        async def serve(request: bytes, context: Any) -> bytes:
            self.requests[method].append(request)
            answer = self.answers[method].popleft()
            if callable(answer):
                answer = answer(request)
            if isinstance(answer, Fault):
                await _abort(context, answer)
            assert isinstance(answer, Message)
            return answer.SerializeToString()

        return serve

    def _stream(self, method: str) -> Any:
        async def serve(request: bytes, context: Any) -> AsyncIterator[bytes]:
            self.requests[method].append(request)
            for answer in self.answers[method].popleft():
                if isinstance(answer, Fault):
                    await _abort(context, answer)
                if answer is None:  # the stream stays open until the caller goes
                    await asyncio.Event().wait()
                yield answer.SerializeToString()

        return serve


async def _abort(context: Any, fault: Fault) -> None:
    trailers = (("grpc-status-details-bin", fault.status.SerializeToString()),) if fault.status.details else ()
    await context.abort(fault.code, fault.message, trailers)
