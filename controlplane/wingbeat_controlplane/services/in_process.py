"""Rpcs called from within the server: the REST gateway reaches the servicers through the guards that gRPC uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from wingbeat_controlplane.errors import unimplemented
from wingbeat_controlplane.services.rpcs import Rpc


@dataclass(frozen=True, slots=True)
class _Context:
    """What a handler may know of a caller that came another way than gRPC; satisfies `CallContext`."""

    address: str
    metadata: Sequence[tuple[str, str]]

    def peer(self) -> str:
        """Address of the other end, in gRPC's form."""
        return self.address

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """Metadata of the call; keys in lower case."""
        return self.metadata


class InProcessRpc:
    """Calls the rpcs of a table; satisfies the gateway's `Rpc`."""

    def __init__(self, rpcs: Mapping[str, Rpc]) -> None:
        self._rpcs = rpcs

    async def call(self, rpc: str, request: Message, *, metadata: Sequence[tuple[str, str]], peer: str) -> Message:
        """The answer of `/package.Service/Method`. Raises ApiError, UNIMPLEMENTED for one that is not in the table."""
        found = self._rpcs.get(rpc)
        if found is None:
            raise unimplemented(rpc)
        return await found.answer(request, _Context(peer, metadata))
