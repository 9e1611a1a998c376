"""Asking the engine process that drives an execution.

Processes come and go, each with an address of its own; a few channels are kept, the least recently used is closed. An
engine that does not answer within the timeout is no error: its silence is told to the caller, who reads the rows.
"""

from collections import OrderedDict
from dataclasses import dataclass

import grpc
import structlog

from wingbeat_propeller.engine.answering import EXPLAIN, SECURE
from wingbeatidl.engine.v1 import engine_pb2

_log = structlog.get_logger(__name__)

CHANNELS_MAX = 64


@dataclass(frozen=True, slots=True)
class EngineTls:
    """How certificates of engines are checked that speak TLS."""

    ca: bytes | None = None
    """Authorities as PEM; None: those of the machine."""
    name: str = ""
    """Host name that they must have; empty: the one of the address."""


class EngineSilentError(Exception):
    """The process is gone, paused, cut off, or too busy to answer."""


class Owners:
    """Channels to engine processes. Use inside one running event loop, and `close` at the end."""

    def __init__(self, timeout_s: float, tls: EngineTls = EngineTls()) -> None:
        self._timeout_s = timeout_s
        self._tls = tls
        self._channels: OrderedDict[str, grpc.aio.Channel] = OrderedDict()

    async def explain(self, address: str, request: engine_pb2.ExplainRequest) -> engine_pb2.ExplainResponse:
        """The engine's answer. Raises EngineSilentError."""
        call = (await self._channel(address)).unary_unary(
            EXPLAIN,
            request_serializer=engine_pb2.ExplainRequest.SerializeToString,
            response_deserializer=engine_pb2.ExplainResponse.FromString,
        )
        try:
            return await call(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            _log.warning("engine does not answer", address=address, code=error.code().name, details=error.details())
            raise EngineSilentError(error.details() or error.code().name) from error

    async def close(self) -> None:
        """Let go of all channels."""
        while self._channels:
            await self._channels.popitem()[1].close()

    async def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            # No proxy of the environment stands between processes of one installation.
            options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
            if not address.startswith(SECURE):
                channel = grpc.aio.insecure_channel(address, options=options)
            else:
                if self._tls.name:
                    options.append(("grpc.ssl_target_name_override", self._tls.name))
                credentials = grpc.ssl_channel_credentials(self._tls.ca)
                channel = grpc.aio.secure_channel(address.removeprefix(SECURE), credentials, options=options)
            self._channels[address] = channel
            while len(self._channels) > CHANNELS_MAX:
                await self._channels.popitem(last=False)[1].close()
        self._channels.move_to_end(address)
        return channel
