"""Calls of our own rpcs from within the process, for the REST gateway: the same table and guards as gRPC."""

from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.message import Message

from wingbeat_controlplane.errors import unimplemented
from wingbeat_controlplane.services.rpcs import AnyRpc, Rpc


class _LocalContext:
    """What handlers may know of a caller that did not come over gRPC."""

    __slots__ = ("_metadata", "_peer")

    def __init__(self, metadata: Sequence[tuple[str, str]], peer: str) -> None:
        self._metadata = metadata
        self._peer = peer

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        return self._metadata


class LocalCalls:
    """Rpcs by full name, called with messages."""

    def __init__(self, rpcs: Mapping[str, AnyRpc]) -> None:
        self._rpcs = rpcs

    async def call(self, rpc: str, request: Message, *, metadata: Sequence[tuple[str, str]], peer: str) -> Message:
        """The answer to `request`; `rpc` is `/package.Service/Method`. Raises ApiError only:
        UNIMPLEMENTED also for streams, which are gRPC's alone."""
        found = self._rpcs.get(rpc)
        if not isinstance(found, Rpc):
            raise unimplemented(rpc)
        return await found.answer(request, _LocalContext(metadata, peer))
