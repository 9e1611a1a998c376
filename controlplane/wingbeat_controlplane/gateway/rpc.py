"""The seam between HTTP and the services."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from google.protobuf.message import Message

Metadata: TypeAlias = Sequence[tuple[str, str]]
"""Metadata of a call, keys in lower case; for HTTP its headers."""


class Rpc(Protocol):
    """Calls rpcs of this very process, through the same guards as gRPC."""

    async def call(self, rpc: str, request: Message, *, metadata: Metadata, peer: str) -> Message:
        """The answer to `request`. `rpc` is a full name, `/package.Service/Method`; `peer` the caller's address in
        gRPC's form. Raises ApiError, with UNIMPLEMENTED for an rpc that is not served."""
        ...
