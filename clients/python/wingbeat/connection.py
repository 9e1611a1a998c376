"""One channel to a server, for one event loop: calls, and when they are tried again.

A call has a deadline for all its tries together. It is repeated when the server is not reached (only calls that may
arrive twice without harm), and when the server says that it has too much to do, after the delay it asks for. Errors of
grpc become those of `wingbeat.errors`.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from wingbeat.endpoint import Endpoint, channel_options
from wingbeat.errors import ResourceExhaustedError, ServerError, UnavailableError, error_of

if TYPE_CHECKING:
    import grpc.aio
    from google.protobuf.message import Message

A = TypeVar("A", bound="Message")

_PAUSE_S = 0.1
_PAUSE_S_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client tries. `call_s` bounds a call with all its repetitions, unless the caller says otherwise;
    `unreachable_s` how long of that a server that cannot be reached is tried again."""

    call_s: float = 60.0
    unreachable_s: float = 15.0
    stream_s: float = 120.0
    """How long a stream that broke (a watch, a wait) looks for a server before it gives up."""


class Connection:
    """Calls by full method name. Belongs to the event loop it is first used in."""

    def __init__(self, endpoint: Endpoint, patience: Patience = Patience()) -> None:
        self.endpoint = endpoint
        self.patience = patience
        self._open: grpc.aio.Channel | None = None
        self._calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[Message, Message]] = {}

    @property
    def channel(self) -> "grpc.aio.Channel":
        """The channel, made when it is first needed. Raises EndpointError for certificates that are not there."""
        if self._open is None:
            self._open = self.endpoint.connect_async(channel_options())
        return self._open

    async def close(self) -> None:
        """Let go of the channel; calls under way are cancelled."""
        channel, self._open = self._open, None
        self._calls.clear()
        if channel is not None:
            await channel.close()

    async def unary(
        self,
        method: str,
        request: "Message",
        answer: type[A],
        *,
        timeout_s: float | None = None,
        repeatable: bool = True,
    ) -> A:
        """Call `/package.Service/Method`. `repeatable`: it does no harm if the server gets it twice.

        Raises ServerError, of the class that belongs to the code.
        """
        import grpc

        loop = asyncio.get_running_loop()
        begin = loop.time()
        deadline = begin + (timeout_s or self.patience.call_s)
        call = self._calls.get(method)
        if call is None:
            call = self._calls[method] = self.channel.unary_unary(
                method,
                request_serializer=type(request).SerializeToString,
                response_deserializer=answer.FromString,
            )
        tries = 0
        while True:
            try:
                return cast("A", await call(request, timeout=max(deadline - loop.time(), 0.001)))
            except grpc.RpcError as error:
                failure = error_of(error, method=method)
            tries += 1
            pause_s = pause_before(failure, tries, repeatable=repeatable)
            unreachable = isinstance(failure, UnavailableError)
            end = min(deadline, begin + self.patience.unreachable_s) if unreachable else deadline
            if pause_s is None or loop.time() + pause_s >= end:
                raise failure
            await asyncio.sleep(pause_s)

    async def stream(
        self, method: str, request: "Message", answer: type[A], *, silence_s_max: float | None = None
    ) -> AsyncIterator[A]:
        """Messages of a server's stream until it ends. Raises ServerError; repeats nothing. No deadline.

        A stream on which nothing arrives for `silence_s_max` counts as broken, with UnavailableError.
        """
        import grpc

        call = self.channel.unary_stream(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )(request)
        try:
            while True:
                try:
                    async with asyncio.timeout(silence_s_max):
                        message = await call.read()
                except TimeoutError:
                    raise UnavailableError(
                        "UNAVAILABLE", f"nothing arrived for {silence_s_max:g} seconds", method=method
                    ) from None
                if message is grpc.aio.EOF:
                    return
                yield cast("A", message)
        except grpc.RpcError as error:
            raise error_of(error, method=method) from error
        finally:
            call.cancel()


class Resumption:
    """When a stream that broke is begun again. Forgets its failures as soon as something arrives (`lived`)."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._tries = 0
        self._since = 0.0

    def lived(self) -> None:
        """Something has arrived."""
        self._tries = 0

    async def pause(self, failure: ServerError) -> None:
        """Wait for the time to try again. Raises `failure` when that makes no sense, or after too long a time."""
        now = asyncio.get_running_loop().time()
        if not self._tries:
            self._since = now
        self._tries += 1
        pause_s = pause_before(failure, self._tries)
        if pause_s is None or now + pause_s - self._since > self._patience_s:
            raise failure
        await asyncio.sleep(pause_s)


def pause_before(failure: ServerError, tries: int, *, repeatable: bool = True) -> float | None:
    """Seconds to wait before a call is tried again after it failed for the `tries`th time; None: it is not."""
    backoff_s = min(_PAUSE_S * 2 ** min(tries - 1, 10), _PAUSE_S_MAX) * random.uniform(0.75, 1.25)  # noqa: S311
    if isinstance(failure, ResourceExhaustedError):
        if failure.retry_delay_s is None:
            return backoff_s if "message larger" not in failure.message else None
        return failure.retry_delay_s * random.uniform(1.0, 1.25)  # noqa: S311  (not all at once)
    if isinstance(failure, UnavailableError) and repeatable:
        return max(backoff_s, failure.retry_delay_s or 0.0)
    return None
